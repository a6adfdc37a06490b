"""The cost of a journal: of each submit, of a start with many jobs, and for the event loop."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import anyio
import anyio.to_thread

from benchmarks.report import Row, middle, spread
from mvsep_async.jobs.request import JobRequest, JobSettings, Target, new_id
from mvsep_async.journal.rows import REQUEST_COLUMNS, request_row
from mvsep_async.journal.schema import STEPS, migrate
from mvsep_async.journal.sqlite import SqliteJournal, open_journal

__all__ = ["measure"]

_JOBS: Final = 100_000
_SETTINGS: Final = JobSettings(algorithm=40, options=(("add_opt1", "81"),))
_TARGET: Final = Target("/home/user/stems")


def measure(quick: bool) -> list[Row]:
    """Measure on a disk of this machine; `quick` scales up a fiftieth of the jobs."""
    jobs, rounds = (_JOBS // 50, 1) if quick else (_JOBS, 3)
    scale = _JOBS / jobs
    submits, hops, crowds, syncs, starts, lags = [], [], [], [], [], []
    for _ in range(rounds):
        with TemporaryDirectory() as name:
            folder = Path(name)
            submits.append(scale * anyio.run(_timed, _submits, folder / "a.db", jobs))
            hops.append(scale * anyio.run(_plain_submits, folder / "b.db", jobs))
            crowds.append(scale * anyio.run(_timed, _crowd, folder / "c.db", jobs))
            synced = max(jobs // 100, 20)
            syncs.append(1000 * anyio.run(_timed, _synced, folder / "d.db", synced) / synced)
            start, lag = anyio.run(_start, folder / "a.db")
            starts.append(scale * start)
            lags.append(1000 * lag)
    return [
        Row(
            name=f"journal: {_JOBS:,} submits, one after the other",
            unit="s",
            ours=middle(submits),
            goal=10,
            spread=spread(submits),
        ),
        Row(
            name="the same, against one anyio.to_thread hop and commit each",
            unit="s",
            ours=middle(submits),
            peer=middle(hops),
            peer_name="to_thread",
            goal=1,
            spread=spread(hops),
        ),
        Row(
            name=f"journal: {_JOBS:,} submits by 100 tasks",
            unit="s",
            ours=middle(crowds),
            spread=spread(crowds),
        ),
        Row(name="journal: an intent synced to the disk", unit="ms", ours=middle(syncs), spread=spread(syncs)),
        Row(
            name=f"journal: opened with {_JOBS:,} jobs",
            unit="s",
            ours=middle(starts),
            goal=2,
            spread=spread(starts),
        ),
        Row(
            name="event loop late while it is opened, p99",
            unit="ms",
            ours=middle(lags),
            goal=20,
            spread=spread(lags),
        ),
    ]


def _order(number: int) -> JobRequest:
    return JobRequest(
        new_id(), f"/home/user/Music/Some Artist/Some Album/{number:06} Some Song.flac", _SETTINGS, target=_TARGET
    )


async def _timed(work: Callable[[SqliteJournal, int], Awaitable[None]], path: Path, jobs: int) -> float:
    """Return the seconds that `work` takes on a new journal, without opening and closing it."""
    async with open_journal(path) as (journal, _), anyio.create_task_group() as tasks:
        tasks.start_soon(journal.run)
        begun = time.perf_counter()
        await work(journal, jobs)
        taken = time.perf_counter() - begun
        tasks.cancel_scope.cancel()
    return taken


async def _submits(journal: SqliteJournal, jobs: int) -> None:
    for number in range(jobs):
        journal.add(_order(number))
        await journal.flush()


async def _synced(journal: SqliteJournal, jobs: int) -> None:
    for number in range(jobs):
        journal.add(_order(number))
        await journal.flush(synced=True)


async def _crowd(journal: SqliteJournal, jobs: int) -> None:
    async with anyio.create_task_group() as tasks:
        for _ in range(100):
            tasks.start_soon(_submits, journal, jobs // 100)


async def _plain_submits(path: Path, jobs: int) -> float:
    """Write the same row in the simplest way: one commit each in anyio's worker thread."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    migrate(connection, STEPS)
    sql = f"INSERT INTO jobs ({', '.join(REQUEST_COLUMNS)}) VALUES ({', '.join('?' * len(REQUEST_COLUMNS))})"
    begun = time.perf_counter()
    for number in range(jobs):
        await anyio.to_thread.run_sync(connection.execute, sql, request_row(_order(number), spool=path))
    taken = time.perf_counter() - begun
    connection.close()
    return taken


async def _start(path: Path) -> tuple[float, float]:
    """Return the seconds to open a journal, and the delays of a task that sleeps for a millisecond at a time."""
    late: list[float] = []

    async def beat() -> None:
        while True:
            begun = time.perf_counter()
            await anyio.sleep(0.001)
            late.append(time.perf_counter() - begun - 0.001)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(beat)
        begun = time.perf_counter()
        async with open_journal(path):
            taken = time.perf_counter() - begun
            tasks.cancel_scope.cancel()
    return taken, sorted(late)[int(len(late) * 0.99)] if late else 0.0
