"""Draw results and goals as SVG: each bar is a result relative to its goal, which is at 1."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Final

from benchmarks.report import Row, machine

__all__ = ["draw"]

_LINE: Final = 26
_LABEL: Final = 520
_WIDTH: Final = 460
_FIGURES: Final = _LABEL + _WIDTH + 12
"""The figures have a column of their own, where neither bars nor the line of the goals cross them."""
_MOST: Final = 2.0
"""A bar ends here, in parts of the goal, however bad the result: the number stands beside it."""

_STYLE: Final = (
    "text{font:13px system-ui,sans-serif;fill:#1f2937}.small{font-size:11px;fill:#6b7280}"
    ".met{fill:#2a9d6f}.missed{fill:#d1495b}.goal{stroke:#1f2937;stroke-dasharray:3 3}"
    "@media(prefers-color-scheme:dark){text{fill:#e5e7eb}.small{fill:#9ca3af}.goal{stroke:#e5e7eb}}"
)


def draw(rows: Sequence[Row], path: Path, command: str) -> None:
    """Write the picture of all rows that have a goal, with the command and the machine that made it."""
    judged = [row for row in rows if row.goal]
    height = 60 + _LINE * len(judged)
    goal_at = _LABEL + _WIDTH / _MOST
    body = [_bar(row, 44 + _LINE * place) for place, row in enumerate(judged)]
    about = "{system}, {cpus} cpus, Python {python}".format(**machine())
    path.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_FIGURES + 160} {height}" '
        f'role="img" aria-label="results beside their goals"><style>{_STYLE}</style>'
        f'<text x="8" y="18">Results beside their goals: left of the line is reached</text>'
        f'<text class="small" x="8" y="34">{escape(command)} · {escape(about)}</text>'
        f'<line class="goal" x1="{goal_at}" x2="{goal_at}" y1="40" y2="{height - 8}"/>' + "".join(body) + "</svg>\n"
    )


def _bar(row: Row, y: float) -> str:
    assert row.goal
    part = row.goal / row.judged if row.at_least else row.judged / row.goal
    width = max(2.0, min(part, _MOST) / _MOST * _WIDTH)
    unit = "×" if row.ratio is not None else row.unit
    sign = "≥" if row.at_least else "≤"
    figures = f"{row.judged:.3g} {unit} (goal {sign} {row.goal:.3g})"
    name = f"{row.name} ÷ {row.peer_name}" if row.peer_name else row.name
    kind = "met" if row.met else "missed"
    return (
        f'<text x="8" y="{y + 13}">{escape(name)}</text>'
        f'<rect class="{kind}" x="{_LABEL}" y="{y}" width="{width:.1f}" height="17" rx="3"/>'
        f'<text class="small" x="{_FIGURES}" y="{y + 12}">{escape(figures)}</text>'
    )
