"""The time that several processes of one account take with a shared journal, and the cost of that journal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import uuid4

import anyio
from attrs import frozen

from benchmarks.postgres_server import started_server
from benchmarks.report import Row, middle, spread
from mvsep_async import MVSepClient
from mvsep_async.observe import Answered, Event, SlotTaken
from mvsep_async.sandbox import Sandbox

__all__ = ["measure"]

_SLOTS: Final = 10
_WORK: Final = 6.0
_SONGS: Final = 60


@frozen
class _Run:
    """The results of one run of several processes."""

    seconds: float
    gaps: list[float]
    """Milliseconds from each freed slot to the next create begun."""
    refused: int
    limited: int
    most: int
    queries: float
    """Transactions of the database for each job."""


def measure(quick: bool) -> list[Row]:
    """Separate the same songs with 1, 2, 4 and 8 processes."""
    songs = 6 if quick else _SONGS
    work = 0.3 if quick else _WORK
    rows: list[Row] = []
    with database() as journal:
        for count in (2,) if quick else (1, 2, 4, 8):
            run = _run(journal(), count, songs, work)
            ideal = work * -(-songs // _SLOTS)
            name = f"{count} process{'es' * (count > 1)}, journal in PostgreSQL, {songs} jobs of {work:g} s"
            rows += [
                Row(name=name, unit="s", ours=run.seconds, peer=ideal, peer_name="ideal", goal=1.3),
                Row(
                    name=f"{name}: slot freed → next create begun",
                    unit="ms",
                    ours=middle(run.gaps) if run.gaps else 0.0,
                    goal=100,
                    spread=spread(run.gaps) if run.gaps else None,
                ),
                Row(name=f"{name}: refused creates", unit="", ours=run.refused, goal=0),
                Row(name=f"{name}: answers 429", unit="", ours=run.limited, goal=0),
                Row(name=f"{name}: most unfinished jobs", unit="", ours=run.most, goal=_SLOTS),
                Row(name=f"{name}: transactions of the journal", unit="a job", ours=run.queries),
            ]
        rows += anyio.run(_queued, journal(), 300 if quick else 100_000)
    return rows


@contextmanager
def database() -> Iterator[Any]:
    """Provide a function that returns the URL of a new database."""
    import psycopg

    server = started_server(Path(tempfile.gettempdir(), f"mvsep-benchmark-{uuid4().hex[:8]}"))
    root = server.get_uri()

    def new() -> str:
        name = f"run_{uuid4().hex[:8]}"
        with psycopg.connect(root, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'")
        return urlsplit(root)._replace(path=f"/{name}").geturl()

    try:
        yield new
    finally:
        server.cleanup()


def _run(journal: str, processes: int, songs: int, work: float, **settings: Any) -> _Run:
    with TemporaryDirectory() as name, Sandbox(stems="copy", job_seconds=work, **settings) as sandbox:
        paths = [Path(name) / f"song {n}.wav" for n in range(songs)]
        for number, path in enumerate(paths):
            path.write_bytes(b"RIFF" + bytes(20_000 + number))
        shared = {"url": sandbox.url, "token": sandbox.premium_token, "journal": journal}
        children = [
            subprocess.Popen(
                [sys.executable, "-m", "benchmarks.processes", json.dumps({**shared, "songs": mine})],
                stdout=subprocess.PIPE,
                stdin=subprocess.PIPE,
                text=True,
            )
            for mine in ([str(path) for path in paths[start::processes]] for start in range(processes))
        ]
        for child in children:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
        before = _transactions(journal)
        begun = time.time()
        events: list[tuple[float, str]] = []
        for child in children:
            assert child.stdin is not None
            child.stdin.write("\n")
            child.stdin.flush()
        for child in children:
            output, _ = child.communicate()
            events += [tuple(event) for event in json.loads(output)]
        seconds = max(at for at, _ in events) - begun
        return _Run(
            seconds,
            _gaps(sorted(events)),
            sandbox.count_status(400),
            sandbox.count_status(429),
            sandbox.peak_unfinished(sandbox.premium_token),
            (_transactions(journal) - before) / songs,
        )


def _gaps(events: list[tuple[float, str]]) -> list[float]:
    freed: list[float] = []
    gaps = []
    for at, what in events:
        if what == "freed":
            freed.append(at)
        elif freed:
            gaps.append(1000 * (at - freed.pop(0)))
    return gaps


def _transactions(journal: str) -> int:
    import psycopg

    time.sleep(1.5)  # the server counts them with a delay
    with psycopg.connect(journal) as connection:
        query = "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"
        row = connection.execute(query).fetchone()
    assert row is not None
    return int(row[0])


async def _queued(journal: str, jobs: int) -> list[Row]:
    """Queue many jobs in the shared journal, and measure a claim among them and the memory of another process."""
    from mvsep_async.postgres.connection import Database
    from mvsep_async.postgres.store import Store
    from mvsep_async.postgres_url import PostgresURL

    with TemporaryDirectory() as name, Sandbox(stems="copy", manual=True) as sandbox:
        song = Path(name) / "song.wav"
        song.write_bytes(b"RIFF" + bytes(10_000))
        held = sandbox.occupy(sandbox.premium_token, _SLOTS)
        client = MVSepClient(sandbox.premium_token, base_url=sandbox.url, journal=journal)
        async with client:
            begun = time.perf_counter()
            async with anyio.create_task_group() as tasks:

                async def submit(number: int) -> None:
                    for one in range(number, jobs, 200):
                        await client.submit(song, algorithm=63, group=f"user {one % 50}")

                for number in range(200):
                    tasks.start_soon(submit, number)
            submits = time.perf_counter() - begun
            coordinator = client._session.coordinator  # type: ignore[union-attr]
            store: Store = coordinator.journal.store  # type: ignore[attr-defined]
            claims = []
            database = Database(PostgresURL(journal))
            for number in range(30):
                begun = time.perf_counter()
                claimed = await database.run(
                    lambda connection, token=str(number): store.slots.claim(  # type: ignore[misc]
                        connection, token, limit=100, group_cap=None, stamp=time.time()
                    )
                )
                claims.append(1000 * (time.perf_counter() - begun))
                assert claimed.job is not None
                coordinator.unclaim(claimed.job)
                await coordinator.journal.flush()
            before = _memory(sandbox, journal)
            await database.close()
        assert held
    return [
        Row(name=f"journal in PostgreSQL: {jobs:,} submits by 200 tasks", unit="s", ours=submits),
        Row(
            name=f"journal in PostgreSQL: claim among {jobs:,} queued jobs",
            unit="ms",
            ours=middle(claims),
            spread=spread(claims),
            goal=10,
        ),
        Row(
            name=f"journal in PostgreSQL: memory of another process for {jobs:,} queued jobs",
            unit="MiB",
            ours=before / 2**20,
            goal=10,
        ),
    ]


def _memory(sandbox: Sandbox, journal: str) -> float:
    """Return the additional memory of a process whose journal has many jobs of another one."""
    url = urlsplit(journal)
    sizes = []
    for used in (journal, url._replace(path="/postgres").geturl()):
        settings = {"url": sandbox.url, "token": sandbox.premium_token, "journal": used, "songs": []}
        child = subprocess.run(
            [sys.executable, "-m", "benchmarks.processes", json.dumps(settings)],
            input="\n",
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        sizes.append(json.loads(child.stdout.splitlines()[-1])[0][0])
    return sizes[0] - sizes[1]


async def _child(settings: dict[str, Any]) -> None:
    events: list[tuple[float, str]] = []

    def listen(event: Event) -> None:
        match event:
            case Answered():
                events.append((time.time(), "freed"))
            case SlotTaken():
                events.append((time.time(), "taken"))
            case _:
                pass

    client = MVSepClient(settings["token"], base_url=settings["url"], journal=settings["journal"], on_event=listen)
    async with client:
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await anyio.to_thread.run_sync(sys.stdin.readline)
        if not settings["songs"]:
            await anyio.sleep(3)
            events.append((_resident(), "memory"))
        async for job in client.map(settings["songs"], algorithm=63):
            if job.error is not None:
                raise job.error
    sys.stdout.write(json.dumps(events))


def _resident() -> float:
    with suppress(OSError):
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return float(pages * os.sysconf("SC_PAGE_SIZE"))
    return 0.0


if __name__ == "__main__":
    anyio.run(_child, json.loads(sys.argv[1]))
