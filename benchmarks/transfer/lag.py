"""How late the event loop is while ten uploads and ten downloads run on it.

Beside it, how late an idle loop is while as many curls do the same: what the machine itself adds, where the servers
and the transfers have two processors between them.
"""

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
            figures: dict[str, list[float]] = {"ours": [], "curl": []}
            for _ in range(rounds):
                for by, lags in figures.items():
                    bench.clear()
                    lags.append(crowd(bench, scheme, uploads=10, downloads=10, by=by).lag)
            name = f"event loop lag p99, 10 uploads and 10 downloads, {scheme}"
            rows.append(
                Row(name=name, unit="ms", ours=middle(figures["ours"]), goal=goal, spread=spread(figures["ours"]))
            )
            name = f"the same, an idle loop beside 20 curls, {scheme}"
            rows.append(Row(name=name, unit="ms", ours=middle(figures["curl"]), spread=spread(figures["curl"])))
    return rows
