"""How late the event loop is while ten uploads and ten downloads run on it."""

from __future__ import annotations

from benchmarks.report import Row, middle, spread
from benchmarks.transfer.bench import MIB, Bench, Scheme
from benchmarks.transfer.child import crowd

GOALS: dict[Scheme, float] = {"plain": 5.0, "TLS": 10.0}


def measure(quick: bool) -> list[Row]:
    """Measure the 99th percentile of the delay of a timer of 2 ms."""
    size, rounds = (4 * MIB, 1) if quick else (256 * MIB, 3)
    rows = []
    with Bench.opened(size) as bench:
        for scheme, goal in GOALS.items():
            figures = []
            for _ in range(rounds):
                bench.clear()
                figures.append(crowd(bench, scheme, uploads=10, downloads=10).lag)
            rows.append(
                Row(
                    name=f"event loop lag p99, 10 uploads and 10 downloads, {scheme}",
                    unit="ms",
                    ours=middle(figures),
                    goal=goal,
                    spread=spread(figures),
                )
            )
    return rows
