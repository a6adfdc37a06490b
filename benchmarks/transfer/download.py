"""Download a stem of 512 MiB to disk, compared with curl.

curl leaves the file in the system's cache; ours is synced before it is renamed. So curl followed by a sync is shown
too: that is the same work.
"""

from __future__ import annotations

from benchmarks.report import Row
from benchmarks.transfer.bench import (
    MIB,
    Bench,
    Scheme,
    curl_download,
    curl_download_synced,
    interleaved,
    our_download,
    running,
)

GOALS: dict[Scheme, float] = {"plain": 1.2, "TLS": 1.6}


def measure(quick: bool) -> list[Row]:
    """Measure both schemes, plain and TLS."""
    size, rounds = (4 * MIB, 1) if quick else (512 * MIB, 7)
    rows = []
    with Bench.opened(size) as bench:
        for scheme, goal in GOALS.items():
            times = interleaved(
                bench,
                {
                    "curl": lambda scheme=scheme: curl_download(bench, scheme),  # type: ignore[misc]
                    "ours": running(our_download, bench, scheme),
                    "curl+sync": lambda scheme=scheme: curl_download_synced(bench, scheme),  # type: ignore[misc]
                },
                rounds,
            )
            for peer, bound in (("curl", goal), ("curl+sync", None)):
                name = f"download {size // MIB} MiB, {scheme}"
                rows.append(Row.beside(name, "s", times["ours"].wall, times[peer].wall, peer, goal=bound))
            ours, curl = times["ours"].work, times["curl"].work
            rows.append(Row.beside(f"{name}: processor time", "s", ours, curl, "curl", goal=None))
    return rows
