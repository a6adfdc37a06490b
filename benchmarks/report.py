"""The results of benchmarks as values, tables and files."""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from attrs import asdict, field, frozen
from rich.console import Console
from rich.table import Table

__all__ = ["Row", "machine", "markdown", "middle", "show", "spread", "write"]


_REACHED: Final = {True: "yes", False: "**no**", None: ""}


@frozen(kw_only=True)
class Row:
    """One result: ours and that of a peer in the same rounds, or ours alone.

    `goal` bounds the ratio where there is a peer, else our figure: from above, or with `at_least` from below.
    `ratio` is the median of the ratios of the rounds, since disturbances of a round affect both; `spread` is (largest -
    smallest) / median, of the ratios if there are any, else of our figures.
    """

    name: str
    unit: str
    ours: float
    peer: float | None = None
    peer_name: str = ""
    goal: float | None = None
    at_least: bool = False
    spread: float | None = None
    note: str = ""
    ratio: float | None = field()

    @ratio.default
    def _ratio(self) -> float | None:
        return self.ours / self.peer if self.peer else None

    @classmethod
    def beside(
        cls, name: str, unit: str, ours: Sequence[float], peer: Sequence[float], peer_name: str, *, goal: float | None
    ) -> Row:
        """Compare two contestants that ran alternately."""
        ratios = [mine / other for mine, other in zip(ours, peer, strict=True)]
        return cls(
            name=name,
            unit=unit,
            ours=middle(ours),
            peer=middle(peer),
            peer_name=peer_name,
            goal=goal,
            ratio=middle(ratios),
            spread=spread(ratios),
        )

    @property
    def judged(self) -> float:
        """The figure that the goal is about."""
        return self.ours if self.ratio is None else self.ratio

    @property
    def met(self) -> bool | None:
        """Whether the goal is reached, `None` where there is none."""
        if self.goal is None:
            return None
        return self.judged >= self.goal if self.at_least else self.judged <= self.goal


def markdown(rows: Sequence[Row]) -> str:
    """Return the table for a page."""
    lines = ["| measurement | result | goal | reached |", "|---|---|---|---|"]
    for row in rows:
        result = f"{row.ours:.3g} {row.unit}".rstrip() if row.ratio is None else f"{row.ratio:.3g} × {row.peer_name}"
        goal = "" if row.goal is None else f"{'≥' if row.at_least else '≤'} {row.goal:g}"
        lines.append(f"| {row.name} | {result} | {goal} | {_REACHED[row.met]} |")
    return "\n".join(lines) + "\n"


def middle(values: Sequence[float]) -> float:
    """Return the median."""
    return statistics.median(values)


def spread(values: Sequence[float]) -> float:
    """Return (largest - smallest) / median."""
    return (max(values) - min(values)) / statistics.median(values)


def machine() -> dict[str, Any]:
    """Describe the machine."""
    return {
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cpus": os.cpu_count(),
        "load": os.getloadavg() if hasattr(os, "getloadavg") else None,
        "python": sys.version.split()[0],
    }


def show(rows: Sequence[Row], console: Console | None = None) -> None:
    """Print results and goals."""
    table = Table(title="{system}, {cpus} cpus, load {load[0]:.1f}, Python {python}".format(**machine()))
    table.add_column("measurement")
    for title in ("ours", "peer", "ratio", "spread", "goal"):
        table.add_column(title, justify="right")
    table.add_column("")
    for row in rows:
        sign = "≥" if row.at_least else "≤"
        table.add_row(
            row.name,
            f"{row.ours:.4g} {row.unit}",
            "" if row.peer is None else f"{row.peer_name} {row.peer:.4g} {row.unit}",
            "" if row.ratio is None else f"{row.ratio:.2f}",
            "" if row.spread is None else f"{row.spread:.0%}",
            "" if row.goal is None else f"{sign} {row.goal:g}",
            {True: "[green]met[/]", False: "[red]missed[/]", None: ""}[row.met] + (f" {row.note}" if row.note else ""),
        )
    (console or Console()).print(table)


def write(rows: Sequence[Row], path: Path) -> None:
    """Write the results and the machine as JSON."""
    figures = [asdict(row) | {"met": row.met} for row in rows]
    path.write_text(json.dumps({"machine": machine(), "rows": figures}, indent=1) + "\n")
