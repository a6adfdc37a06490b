"""Draw which part of the package stands on which, from its imports; the documentation does when it is built.

    python scripts/draw_layers.py > layers.svg

A part is a folder, or a module beside the folders. Each stands above all that it imports, so the drawing has no arrow
that points up; parts that import each other stand together. An arrow is left out where a longer way says as much.
"""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Final, TypeAlias

from drawing import Point, box, descent, document, region

import mvsep_async

PACKAGE: Final = "mvsep_async"
FOLDER: Final = Path(mvsep_async.__file__).parent

_PRIVATE: Final = "_"
"""Parts whose names begin so are not drawn: they only help to name what is elsewhere."""

_WIDTH: Final = 870
_ROW: Final = 74
_HEIGHT: Final = 34
_GAP: Final = 22
_LETTER: Final = 7.6
_BEND: Final = 6.0

Node: TypeAlias = tuple[str, ...]
"""Parts that import each other; nearly always one. A bend of a long arrow has an empty name, and who it is for."""


def drawing() -> str:
    """Return the drawing as SVG."""
    below = _reduced(_condensed(imports()))
    rows, ways = _bent(_levels(below), below)
    places = _placed(_ordered(rows, ways))
    shapes = [descent(_points(way, places)) for way in ways]
    shapes += [_drawn(node, *places[node]) for node in below]
    return document(_WIDTH, len(rows) * _ROW - 2, "What stands on what", shapes)


def parts() -> list[str]:
    """Return all parts, those that stand higher first."""
    levels = _levels(_reduced(_condensed(imports())))
    return [name for node in sorted(levels, key=lambda node: (levels[node], node)) for name in node]


def _drawn(node: Node, x: float, y: float, width: float) -> str:
    parts = []
    if len(node) > 1:
        left, right = x - width / 2 - 7, x + width / 2 + 7
        parts.append(region(((left, y - 25), (right, y - 25), (right, y + 25), (left, y + 25)), "working"))
    at = x - width / 2
    for name in node:
        kinds = ("slot",) if (FOLDER / name).is_dir() else ()
        parts.append(box((at + _wide(name) / 2, y), (_wide(name), _HEIGHT), name, *kinds))
        at += _wide(name) + 8
    return "\n".join(parts)


def _points(way: Sequence[Node], places: Mapping[Node, tuple[float, float, float]]) -> list[Point]:
    """Return where an arrow passes: from the lower edge of the first, by its bends, to the upper edge of the last."""
    points: list[Point] = []
    for node in way:
        x, y, _ = places[node]
        points += [(x, y - _HEIGHT / 2), (x, y + _HEIGHT / 2)]
    return points[1:-1]


def imports() -> dict[str, set[str]]:
    """Return each part with those that it imports when it runs, not only for type checkers."""
    found: dict[str, set[str]] = {}
    for path in sorted(FOLDER.rglob("*.py")):
        own = path.relative_to(FOLDER).with_suffix("").parts[0]
        if not own.startswith(_PRIVATE):
            named = {name for name in _imported(ast.parse(path.read_text("utf-8"))) if not name.startswith(_PRIVATE)}
            found.setdefault(own, set()).update(named - {own})
    return found


def _imported(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
        return
    if isinstance(node, ast.ImportFrom) and node.level == 0 and (node.module or "").startswith(f"{PACKAGE}."):
        yield (node.module or "").split(".")[1]
    for child in ast.iter_child_nodes(node):
        yield from _imported(child)


def _condensed(graph: Mapping[str, set[str]]) -> dict[Node, set[Node]]:
    reach = {part: _reachable(part, graph) for part in graph}
    node_of = {part: tuple(sorted({part} | {other for other in reach[part] if part in reach[other]})) for part in graph}
    below: dict[Node, set[Node]] = defaultdict(set)
    for part, lower in graph.items():
        below[node_of[part]] |= {node_of[other] for other in lower} - {node_of[part]}
    return dict(below)


def _reachable(part: str, graph: Mapping[str, set[str]]) -> set[str]:
    seen: set[str] = set()
    waiting = [part]
    while waiting:
        new = graph.get(waiting.pop(), set()) - seen
        seen |= new
        waiting += new
    return seen


def _reduced(below: Mapping[Node, set[Node]]) -> dict[Node, set[Node]]:
    @cache
    def all_below(node: Node) -> set[Node]:
        return below[node].union(*(all_below(lower) for lower in below[node]))

    return {
        node: {one for one in lower if not any(one in all_below(other) for other in lower)}
        for node, lower in below.items()
    }


def _levels(below: Mapping[Node, set[Node]]) -> dict[Node, int]:
    """Return how far down each part stands: right below the lowest of those that import it."""
    above: dict[Node, set[Node]] = {node: set() for node in below}
    for node, lower in below.items():
        for one in lower:
            above[one].add(node)

    @cache
    def level(node: Node) -> int:
        return 1 + max((level(user) for user in above[node]), default=-1)

    levels = {node: level(node) for node in below}
    # What nothing imports would all be at the top: it belongs right above the highest that it imports.
    return {
        node: min(levels[one] for one in below[node]) - 1 if not above[node] and below[node] else own
        for node, own in levels.items()
    }


def _bent(levels: Mapping[Node, int], below: Mapping[Node, set[Node]]) -> tuple[list[list[Node]], list[list[Node]]]:
    """Return the rows from the top, and the ways of the arrows, with a bend in each row that an arrow passes."""
    rows: list[list[Node]] = [[] for _ in range(max(levels.values()) + 1)]
    for node in sorted(levels):
        rows[levels[node]].append(node)
    ways = []
    for node, lower in below.items():
        for one in sorted(lower):
            bends = [("", *one, str(row)) for row in range(levels[node] + 1, levels[one])]
            for row, bend in enumerate(bends, levels[node] + 1):
                if bend not in rows[row]:
                    rows[row].append(bend)
            ways.append([node, *bends, one])
    return rows, ways


def _ordered(rows: list[list[Node]], ways: Sequence[Sequence[Node]]) -> list[list[Node]]:
    """Return the rows with their parts next to what they are joined to: the mean of the neighbours, again and again."""
    at = {node: index - len(row) / 2 for row in rows for index, node in enumerate(row)}
    near: dict[Node, set[Node]] = {node: set() for node in at}
    for upper, lower in (pair for way in ways for pair in pairwise(way)):
        near[upper].add(lower)
        near[lower].add(upper)
    for _ in range(40):
        for row in rows:
            row.sort(key=lambda node: (sum(at[one] for one in near[node]) / (len(near[node]) or 1), node))
            at |= {node: (index + 0.5) - len(row) / 2 for index, node in enumerate(row)}
    return rows


def _placed(rows: list[list[Node]]) -> dict[Node, tuple[float, float, float]]:
    """Return with each node its middle and its width."""
    places: dict[Node, tuple[float, float, float]] = {}
    for number, row in enumerate(rows):
        widths = [_BEND if not node[0] else sum(map(_wide, node)) + 8 * (len(node) - 1) for node in row]
        gap = max(_GAP, (_WIDTH - 60 - sum(widths)) / (len(row) + 1))
        at = (_WIDTH - sum(widths) - gap * (len(row) - 1)) / 2
        for node, width in zip(row, widths, strict=True):
            places[node] = (at + width / 2, 36 + number * _ROW, width)
            at += width + gap
    return places


def _wide(name: str) -> float:
    return 24 + _LETTER * len(name)


if __name__ == "__main__":
    sys.stdout.write(drawing())
