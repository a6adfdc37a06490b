"""The cost of a job in the local queue: memory, and the time to submit it."""

from __future__ import annotations

import gc
import time
import tracemalloc
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import anyio
from attrs import frozen

from benchmarks.report import Row, middle, spread
from mvsep_async import MVSepClient

__all__ = ["measure"]

_JOBS: Final = 100_000


def measure(quick: bool) -> list[Row]:
    """Submit to a client whose service is unreachable, so that all jobs wait; `quick` scales up a hundredth of them."""
    jobs, rounds = (_JOBS // 100, 1) if quick else (_JOBS, 3)
    with TemporaryDirectory() as name:
        folder = Path(name)
        song = folder / "song.flac"
        song.write_bytes(b"fLaC" * 16)

        def taken(figure: str, *, tasks: int = 1, journal: bool = False) -> list[float]:
            path = folder / f"{figure} {tasks}.db" if journal else None
            runs = [anyio.run(_submit, song, jobs, tasks, _fresh(path), figure == "bytes") for _ in range(rounds)]
            return [getattr(run, figure) for run in runs]

        rows = (
            ("memory each", "bytes", 400, taken("bytes")),
            ("memory each, with a journal", "bytes", None, taken("bytes", journal=True)),
            ("no journal", "s", 1, taken("seconds")),
            ("into the journal, one after the other", "s", 10, taken("seconds", journal=True)),
            ("into the journal, by 100 tasks", "s", 10, taken("seconds", tasks=100, journal=True)),
        )
    return [
        Row(name=f"{_JOBS:,} jobs submitted: {what}", unit=unit, ours=middle(of), spread=spread(of), goal=goal)
        for what, unit, goal, of in rows
    ]


def _fresh(journal: Path | None) -> Path | None:
    """Remove the journal of an earlier round."""
    if journal is not None:
        for path in journal.parent.glob(journal.name + "*"):
            path.unlink()
    return journal


@frozen
class _Taken:
    """The cost of submitting: seconds for 100,000 jobs, and bytes for each."""

    seconds: float
    bytes: float


async def _submit(song: Path, jobs: int, tasks: int, journal: Path | None, weigh: bool) -> _Taken:
    source = str(song)

    async def some(count: int) -> None:
        for _ in range(count):
            await client.submit(source, algorithm=40)

    async with MVSepClient("token", base_url="http://127.0.0.1:9", journal=journal) as client:
        await client.submit(source, algorithm=40)
        gc.collect()
        if weigh:
            tracemalloc.start()
        begun = time.perf_counter()
        async with anyio.create_task_group() as group:
            for _ in range(tasks):
                group.start_soon(some, jobs // tasks)
        seconds = (time.perf_counter() - begun) * _JOBS / jobs
        if not weigh:
            return _Taken(seconds, 0.0)
        gc.collect()
        taken, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return _Taken(seconds, taken / jobs)
