"""The delay of the event loop while ten uploads and ten downloads run on it.

What a program of ours can do about it is how long the loop's thread works in one go, in processor time. How late timers
are depends on the machine as well, whose two processors the servers, the transfers and everything else share: so an
idle loop in another process is measured at the same time, and the bound is relative to it. The system wakes a thread
that sleeps before one that works, so the idle loop has the better of it.
"""

from __future__ import annotations

from benchmarks.report import Row, middle, spread
from benchmarks.transfer.bench import MIB, Bench, Scheme
from benchmarks.transfer.child import crowd

SCHEMES: tuple[Scheme, ...] = ("plain", "TLS")
WORK_GOAL = 5.0
LAG_GOAL = 3.0


def measure(quick: bool) -> list[Row]:
    """Measure both schemes, plain and TLS."""
    size, rounds = (4 * MIB, 1) if quick else (256 * MIB, 3)
    rows = []
    with Bench.opened(size) as bench:
        for scheme in SCHEMES:
            found = []
            for _ in range(rounds):
                bench.clear()
                found.append(crowd(bench, scheme, uploads=10, downloads=10))
            work = [each.work for each in found]
            name = f"event loop, 10 uploads and 10 downloads, {scheme}"
            rows += [
                Row(
                    name=f"{name}: processor time in one go, p99",
                    unit="ms",
                    ours=middle(work),
                    goal=WORK_GOAL,
                    spread=spread(work),
                ),
                Row.beside(
                    f"{name}: timers late, p99",
                    "ms",
                    [each.lag for each in found],
                    [each.idle_lag for each in found],
                    "an idle loop",
                    goal=LAG_GOAL,
                ),
            ]
    return rows
