"""Kill and suspend processes that share one account and one journal in PostgreSQL, and check the results at the end.

`python -m benchmarks.shared_chaos --disturbances 200` runs it alone, with another seed and number.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import sys
import wave
from collections import Counter
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import anyio
import psycopg
from anyio.abc import Process
from attrs import asdict, define, field, frozen

from benchmarks.processes import database
from benchmarks.report import Row
from mvsep_async import MVSepClient
from mvsep_async.errors import MVSepError
from mvsep_async.sandbox import Fault, FaultKind, Sandbox

__all__ = ["Outcome", "SharedChaos", "measure"]

LEASE: Final = 2.0
SLOTS: Final = 4
_STEMS: Final = 2
_LONGEST: Final = 300.0
"""Seconds after its last disturbance in which a process must end."""
_FAULTS: Final = (
    Fault(kind=FaultKind.LOSE_ANSWER, path="separation/create", probability=0.08, count=None),
    Fault(kind=FaultKind.CUT_REQUEST, path="separation/create", probability=0.05, after_bytes=3000, count=None),
    Fault(kind=FaultKind.HTML, path="separation/get", probability=0.03, count=None),
    Fault(kind=FaultKind.CUT_RESPONSE, path="/storage/*", probability=0.05, after_bytes=2000, count=None),
)


@frozen(kw_only=True)
class Outcome:
    """The results at the end."""

    songs: int
    kills: int
    suspensions: int
    caught: dict[str, int]
    """State in the journal → jobs that were in it at a kill or suspension."""
    faults: int
    lost: int
    paid_twice: int
    wrong: int
    stray: list[str]
    refused: int
    limited: int
    most: int
    """Most unfinished jobs of the account at one time."""
    seconds: float

    @property
    def flawless(self) -> bool:
        """Whether nothing was lost or paid twice, and all limits were kept."""
        return not (self.lost or self.paid_twice or self.wrong or self.stray or self.refused) and self.most <= SLOTS


@define
class SharedChaos:
    """One series of kills and suspensions of `processes` that all separate the same songs."""

    folder: Path
    journal: str
    disturbances: int
    songs: int
    processes: int = 3
    seed: int = 1
    _random: random.Random = field(init=False)
    _caught: Counter[str] = field(factory=Counter)
    _kills: int = 0
    _suspensions: int = 0

    def __attrs_post_init__(self) -> None:
        self._random = random.Random(self.seed)

    async def run(self) -> Outcome:
        """Kill, suspend and restart until all songs are done."""
        began = anyio.current_time()
        source = self.folder / "songs"
        source.mkdir()
        for number in range(self.songs):
            _write_song(source / f"song {number:03}.wav", number)
        settings = {"stems": "copy", "job_seconds": self._job_seconds, "seed": self.seed}
        async with Sandbox(premium_limit=SLOTS, **settings) as sandbox:
            for fault in _FAULTS:
                sandbox.faults.add(fault)
            async with anyio.create_task_group() as tasks:
                for number in range(self.processes):
                    share = self.disturbances // self.processes + (number < self.disturbances % self.processes)
                    tasks.start_soon(self._live, number, sandbox, share)
            return self._count(sandbox, anyio.current_time() - began)

    def _job_seconds(self, serial: int) -> float:
        return random.Random(self.seed + serial).uniform(0.0, 1.0)

    async def _live(self, number: int, sandbox: Sandbox, disturbances: int) -> None:
        """Run one process, disturb it so many times, and let it finish."""
        process = await self._start(number, sandbox)
        try:
            for _ in range(disturbances):
                await self._opened(process)
                with anyio.move_on_after(self._random.uniform(0.3, 3.0)):
                    await process.wait()
                await self._note()
                if process.returncode is None and self._random.random() < 0.4:
                    self._suspensions += 1
                    process.send_signal(signal.SIGSTOP)
                    await anyio.sleep(self._random.uniform(0.2, 2.5) * LEASE)
                    process.send_signal(signal.SIGCONT)
                    continue
                self._kills += 1
                with suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
                process = await self._start(number, sandbox)
            with anyio.move_on_after(_LONGEST) as scope:
                if await process.wait():
                    raise RuntimeError(self._log(number))
            if scope.cancelled_caught:
                raise RuntimeError(f"not finished: {await self._unfinished()}\n{self._log(number)}")
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            with anyio.CancelScope(shield=True):
                await process.wait()

    async def _start(self, number: int, sandbox: Sandbox) -> Process:
        settings = {
            "url": sandbox.url,
            "token": sandbox.premium_token,
            "journal": self.journal,
            "songs": str(self.folder / "songs"),
            "stems": str(self.folder / "stems"),
            "seed": self._random.random(),
        }
        with (self.folder / f"{number}.log").open("ab") as log:
            return await anyio.open_process(
                [sys.executable, "-m", "benchmarks.shared_chaos", "--child", json.dumps(settings)],
                stdin=None,
                stdout=log,
                stderr=log,
            )

    async def _opened(self, process: Process) -> None:
        """Wait until a process has the journal open: on a busy machine it would be killed before, each time."""
        with suppress(psycopg.Error):
            async with await psycopg.AsyncConnection.connect(self.journal, autocommit=True) as connection:
                while process.returncode is None:
                    with suppress(psycopg.errors.UndefinedTable):
                        rows = await connection.execute(
                            "SELECT 1 FROM mvsep.processes WHERE name LIKE %s", (f"% {process.pid}",)
                        )
                        if await rows.fetchall():
                            return
                    await anyio.sleep(0.05)

    def _log(self, number: int) -> str:
        return (self.folder / f"{number}.log").read_text()[-3000:]

    async def _unfinished(self) -> list[tuple[Any, ...]]:
        async with await psycopg.AsyncConnection.connect(self.journal) as connection:
            rows = await connection.execute(
                """
                SELECT j.id, j.state, j.owner, j.attempts, p.name, p.lease_until > clock_timestamp()
                FROM mvsep.jobs j LEFT JOIN mvsep.processes p ON p.id = j.owner
                WHERE j.state NOT IN ('finished', 'failed', 'cancelled')
                """
            )
            return await rows.fetchall()

    async def _note(self) -> None:
        with suppress(psycopg.Error):
            async with await psycopg.AsyncConnection.connect(self.journal) as connection:
                rows = await connection.execute("SELECT DISTINCT state FROM mvsep.jobs")
                self._caught.update(state for (state,) in await rows.fetchall())

    def _count(self, sandbox: Sandbox, seconds: float) -> Outcome:
        songs = Counter(path.read_bytes() for path in (self.folder / "songs").iterdir())
        files = {path: path.read_bytes() for path in (self.folder / "stems").rglob("*") if path.is_file()}
        results = {path: data for path, data in files.items() if path.suffix == ".mp3"}
        there = Counter(results.values())
        paid = Counter(job.hash.split("-")[1] for job in sandbox.jobs)
        return Outcome(
            songs=len(songs),
            kills=self._kills,
            suspensions=self._suspensions,
            caught=dict(self._caught.most_common()),
            faults=sandbox.faults.triggered,
            lost=sum(there[song] < _STEMS for song in songs),
            paid_twice=sum(count - 1 for count in paid.values()),
            wrong=sum(data not in songs for data in results.values()),
            stray=[str(path.relative_to(self.folder)) for path in files if path not in results],
            refused=sandbox.count_status(400),
            limited=sandbox.count_status(429),
            most=sandbox.peak_unfinished(sandbox.premium_token),
            seconds=seconds,
        )


def _write_song(path: Path, number: int) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(random.Random(number).randbytes(2 * (4000 + number)))


async def _child(settings: dict[str, Any]) -> None:
    client = MVSepClient(
        settings["token"],
        base_url=settings["url"],
        journal=settings["journal"],
        lease=LEASE,
        poll_interval=0.1,
        concurrency=SLOTS,
    )
    songs = sorted(Path(settings["songs"]).iterdir())
    random.Random(settings["seed"]).shuffle(songs)
    async with client, anyio.create_task_group() as tasks:

        async def separate(song: Path) -> None:
            while True:
                try:
                    await client.separate(song, settings["stems"], algorithm=40, key=song.name)
                except MVSepError as error:
                    sys.stderr.write(f"{song.name}: {type(error).__name__}: {error}\n")
                    await anyio.sleep(0.5)  # its job may have been taken over meanwhile
                else:
                    return

        for song in songs:
            tasks.start_soon(separate, song)


def measure(quick: bool) -> list[Row]:
    """Disturb three processes 200 times."""
    outcome = _run(4 if quick else 200, 12 if quick else 150, seed=11)
    return [
        Row(name="shared journal: kills", unit="", ours=outcome.kills),
        Row(name="shared journal: suspensions", unit="", ours=outcome.suspensions),
        Row(name="shared journal: songs", unit="", ours=outcome.songs),
        Row(name="shared journal: requests with an injected fault", unit="", ours=outcome.faults),
        Row(name="shared journal: songs lost", unit="", ours=outcome.lost, goal=0),
        Row(name="shared journal: songs paid twice", unit="", ours=outcome.paid_twice, goal=0),
        Row(name="shared journal: files with wrong bytes", unit="", ours=outcome.wrong, goal=0),
        Row(name="shared journal: stray files", unit="", ours=len(outcome.stray), goal=0),
        Row(name="shared journal: creates refused", unit="", ours=outcome.refused, goal=0),
        Row(name="shared journal: most unfinished jobs", unit="", ours=outcome.most, goal=SLOTS),
    ]


def _run(disturbances: int, songs: int, seed: int) -> Outcome:
    with database() as new, TemporaryDirectory() as name:
        return anyio.run(SharedChaos(Path(name), new(), disturbances, songs, seed=seed).run)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--child", metavar="SETTINGS")
    parser.add_argument("--disturbances", type=int, default=200)
    parser.add_argument("--songs", type=int, default=150)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    if arguments.child:
        anyio.run(_child, json.loads(arguments.child))
        return
    outcome = _run(arguments.disturbances, arguments.songs, arguments.seed)
    sys.stdout.write(json.dumps({**asdict(outcome), "flawless": outcome.flawless}, indent=2) + "\n")


if __name__ == "__main__":
    main()
