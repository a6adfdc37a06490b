"""What a job costs that waits in the local queue: bytes, and the time to submit it."""

from __future__ import annotations

import gc
import time
import tracemalloc
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import anyio

from benchmarks.report import Row, middle, spread
from mvsep_async import MVSepClient

__all__ = ["measure"]

_JOBS: Final = 100_000


def measure(quick: bool) -> list[Row]:
    """Submit to a client whose service cannot be reached, so that all jobs wait; `quick` scales up a tenth of them."""
    jobs, rounds = (_JOBS // 10, 1) if quick else (_JOBS, 3)
    scale = _JOBS / jobs
    with TemporaryDirectory() as name:
        folder = Path(name)
        song = folder / "song.flac"
        song.write_bytes(b"fLaC" * 16)
        sizes = [anyio.run(_submit, song, jobs, None, True) for _ in range(rounds)]
        times = [scale * anyio.run(_submit, song, jobs, None, False) for _ in range(rounds)]
        kept = [scale * anyio.run(_submit, song, jobs, folder / f"{n}.db", False) for n in range(1 if quick else 2)]
    label = f"{_JOBS:,} jobs submitted"
    return [
        Row(name=f"{label}: memory each", unit="bytes", ours=middle(sizes), spread=spread(sizes), goal=400),
        Row(name=f"{label}, no journal", unit="s", ours=middle(times), spread=spread(times), goal=1),
        Row(name=f"{label}, each into the journal", unit="s", ours=middle(kept), spread=spread(kept), goal=10),
    ]


async def _submit(song: Path, jobs: int, journal: Path | None, weigh: bool) -> float:
    source = str(song)
    async with MVSepClient("token", base_url="http://127.0.0.1:9", journal=journal) as client:
        await client.submit(source, algorithm=40)
        gc.collect()
        if weigh:
            tracemalloc.start()
        begun = time.perf_counter()
        for _ in range(jobs):
            await client.submit(source, algorithm=40)
        seconds = time.perf_counter() - begun
        if not weigh:
            return seconds
        gc.collect()
        taken, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return taken / jobs
