"""The memory of uploads and downloads of 1 GiB, one and ten at a time."""

from __future__ import annotations

from benchmarks.report import Row, middle, spread
from benchmarks.transfer.bench import MIB, Bench
from benchmarks.transfer.child import crowd

GOALS = {1: 8.0, 10: 60.0}


def measure(quick: bool) -> list[Row]:
    """Measure uploads and downloads over TLS, which needs more memory."""
    size = (4 if quick else 1024) * MIB
    rows = []
    with Bench.opened(size) as bench:
        for count, goal in GOALS.items():
            for name, uploads, downloads in (("upload", count, 0), ("download", 0, count)):
                figures = []
                for _ in range(1 if quick or count > 1 else 3):
                    bench.clear()
                    figures.append(crowd(bench, "TLS", uploads=uploads, downloads=downloads).memory)
                rows.append(
                    Row(
                        name=f"memory above idle, {count} {name}{'s' * (count > 1)} of {size // MIB} MiB",
                        unit="MiB",
                        ours=middle(figures),
                        goal=goal,
                        spread=spread(figures),
                    )
                )
    return rows
