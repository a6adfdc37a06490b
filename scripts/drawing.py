"""The few shapes that the drawings of the documentation are made of, as SVG.

Colours are those of the page that the drawing stands in, or, on its own, those that the viewer prefers.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import pairwise
from math import hypot
from typing import Final, Literal, TypeAlias

__all__ = ["Anchor", "Point", "arrow", "box", "descent", "document", "region", "text"]

Anchor: TypeAlias = Literal["start", "middle", "end"]
Point: TypeAlias = tuple[float, float]

_LINE: Final = 14
_CORNER: Final = 8.0

_STYLE: Final = """\
.drawing { --ink: var(--md-default-fg-color, #1f2430); --paper: var(--md-default-bg-color, #fff);
  --faint: var(--md-default-fg-color--lighter, #aab); --soft: var(--md-default-fg-color--light, #778);
  --accent: var(--md-accent-fg-color, #4051b5);
  font: 11px ui-sans-serif, system-ui, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
@media (prefers-color-scheme: dark) { .drawing { --ink: var(--md-default-fg-color, #e4e6ee);
  --paper: var(--md-default-bg-color, #1e2129); --faint: var(--md-default-fg-color--lighter, #667); } }
.drawing text { fill: var(--ink); }
.drawing .halo { paint-order: stroke; stroke: var(--paper); stroke-width: 3px; stroke-linejoin: round; }
.drawing .name { font-size: 13px; font-weight: 600; }
.drawing .box { fill: var(--paper); stroke: var(--ink); stroke-width: 1.2; }
.drawing .slot { stroke: var(--accent); stroke-width: 2; fill: color-mix(in srgb, var(--accent) 14%, var(--paper)); }
.drawing .inner { fill: none; stroke: var(--ink); stroke-width: 1; }
.drawing .arrow { fill: none; stroke: var(--ink); stroke-width: 1.2; }
.drawing .head { fill: var(--ink); }
.drawing .light { stroke: var(--soft); }
.drawing .region { stroke: var(--faint); stroke-width: 1.2; stroke-dasharray: 5 4; fill: none; }
.drawing .region.working { stroke: var(--accent); }"""


def document(width: int, height: int, title: str, parts: Sequence[str]) -> str:
    """Return a whole drawing; no line of it is empty, so that it can stand in a page of Markdown."""
    head = f'<svg class="drawing" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">'
    body = "\n".join(part for part in parts if part)
    return f"{head}\n<title>{escape(title)}</title>\n<style>\n{_STYLE}\n</style>\n{body}\n</svg>\n"


def box(at: Point, size: tuple[float, float], name: str, *kinds: str) -> str:
    """Return a box around `at`; `over` among its kinds gives it a second border."""
    (x, y), (width, height) = at, size
    classes = " ".join(("box", *(kind for kind in kinds if kind != "over")))
    parts = [_rect(x, y, width, height, classes)]
    if "over" in kinds:
        parts.append(_rect(x, y, width - 6, height - 6, "inner"))
    if name:
        parts.append(f'<text class="name" x="{_n(x)}" y="{_n(y + 4.5)}" text-anchor="middle">{escape(name)}</text>')
    return "\n".join(parts)


def text(
    at: Point,
    lines: Sequence[str],
    *,
    anchor: Anchor = "middle",
    halo: bool = False,
) -> str:
    """Return lines of text whose middle is at `at`; `halo` keeps what is behind them off."""
    x, y = at
    top = y - (len(lines) - 1) * _LINE / 2
    kind = ' class="halo"' if halo else ""
    return "\n".join(
        f'<text{kind} x="{_n(x)}" y="{_n(top + row * _LINE)}" text-anchor="{anchor}">{escape(line)}</text>'
        for row, line in enumerate(lines)
    )


def region(corners: Sequence[Point], kind: str) -> str:
    """Return the outline of an area."""
    return f'<path class="region {kind}" d="{_path([*corners, corners[0], corners[1]], closed=True)}"/>'


def descent(way: Sequence[Point]) -> str:
    """Return a light arrow that falls through these points, upright in each: those side by side never merge."""
    x, y = way[0]
    parts = [f"M{_n(x)} {_n(y)}"]
    for (x1, y1), (x2, y2) in pairwise((*way[:-1], (way[-1][0], way[-1][1] - 6))):
        middle = _n((y1 + y2) / 2)
        parts.append(f"C{_n(x1)} {middle} {_n(x2)} {middle} {_n(x2)} {_n(y2)}")
    x, y = way[-1]
    head = f"{_n(x)},{_n(y)} {_n(x - 3.6)},{_n(y - 8)} {_n(x + 3.6)},{_n(y - 8)}"
    return f'<path class="arrow light" d="{"".join(parts)}"/>\n<polygon class="head" points="{head}"/>'


def arrow(way: Sequence[Point]) -> str:
    """Return an arrow along these points, its corners rounded."""
    (x1, y1), (x2, y2) = way[-2:]
    length = hypot(x2 - x1, y2 - y1) or 1
    dx, dy = (x2 - x1) / length, (y2 - y1) / length
    ends = [(x2 - 8 * dx + side * 3.6 * dy, y2 - 8 * dy - side * 3.6 * dx) for side in (1, -1)]
    head = " ".join(f"{_n(x)},{_n(y)}" for x, y in [(x2, y2), *ends])
    line = [*way[:-1], (x2 - 6 * dx, y2 - 6 * dy)]
    return f'<path class="arrow" d="{_path(line)}"/>\n<polygon class="head" points="{head}"/>'


def _path(points: Sequence[Point], *, closed: bool = False) -> str:
    """Return a path through these points; a closed one names its first two again at its end."""
    start = _towards(points[0], points[1], _CORNER) if closed else points[0]
    parts = [f"M{_n(start[0])} {_n(start[1])}"]
    for before, corner, after in zip(points, points[1:], points[2:], strict=False):
        into, out = _towards(corner, before, _CORNER), _towards(corner, after, _CORNER)
        parts.append(f"L{_n(into[0])} {_n(into[1])}Q{_n(corner[0])} {_n(corner[1])} {_n(out[0])} {_n(out[1])}")
    parts.append("Z" if closed else f"L{_n(points[-1][0])} {_n(points[-1][1])}")
    return "".join(parts)


def _towards(start: Point, end: Point, distance: float) -> Point:
    length = hypot(end[0] - start[0], end[1] - start[1]) or 1
    share = min(distance / length, 0.5)
    return start[0] + (end[0] - start[0]) * share, start[1] + (end[1] - start[1]) * share


def _rect(x: float, y: float, width: float, height: float, classes: str) -> str:
    return (
        f'<rect class="{classes}" x="{_n(x - width / 2)}" y="{_n(y - height / 2)}" width="{_n(width)}" '
        f'height="{_n(height)}" rx="7"/>'
    )


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
