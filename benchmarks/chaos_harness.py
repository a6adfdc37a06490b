"""Kill a process that separates songs over a bad line, again and again, and count what is there in the end."""

from __future__ import annotations

import os
import random
import signal
import sys
import wave
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

import anyio
from anyio.abc import Process
from anyio.streams.text import TextReceiveStream
from attrs import define, field, frozen

from benchmarks.chaos_child import STEMS
from mvsep_async.jobs.lifecycle import JobState
from mvsep_async.journal.sqlite import SqliteJournal
from mvsep_async.sandbox import Fault, FaultKind, Quirks, Sandbox

__all__ = ["Chaos", "Outcome"]

_SIGNALS: Final = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
_MARKS: Final = ("open", "Submitted", "SlotTaken", "Uploaded", "Answered", "Downloaded", "finished")
"""What the process tells that a kill may follow: all parts of a job's life."""

_LONGEST_LIFE: Final = 4.0
"""Seconds until a process is killed that has not told what was waited for."""

_AHEAD: Final = 6
"""Songs beyond those that are through: new ones are put into the folder while there are kills to come."""

_ALLOWED: Final = frozenset({"journal.db", "journal.db.lock"})


@frozen(kw_only=True)
class Outcome:
    """What there was at the end."""

    songs: int
    kills: int
    signals: dict[str, int]
    caught: dict[str, int]
    """State in the journal → jobs that were in it at a kill."""
    faults: int
    outages: int
    lost: int
    """Songs without all their stems."""
    jobs: int
    """Jobs at the service."""
    paid_twice: int
    wrong: int
    """Files that are not, byte for byte, what the service serves."""
    stray: list[str]
    """Files that belong to nothing: unfinished ones, states, spooled songs."""
    needed: int
    fetched: int
    seconds: float

    @property
    def ratio(self) -> float:
        """Bytes fetched over bytes needed."""
        return self.fetched / self.needed

    @property
    def flawless(self) -> bool:
        return not (self.lost or self.paid_twice or self.wrong or self.stray)


@define
class Chaos:
    """One series of kills. `songs` is the least number of them; `seed` draws everything but the clock's luck."""

    folder: Path
    kills: int
    songs: int
    seed: int = 1
    _random: random.Random = field(init=False)
    _made: int = 0
    _finished: set[str] = field(factory=set)
    _killed: int = 0
    _signals: Counter[str] = field(factory=Counter)
    _caught: Counter[str] = field(factory=Counter)
    _outages: int = 0

    def __attrs_post_init__(self) -> None:
        self._random = random.Random(self.seed)

    @property
    def _source(self) -> Path:
        return self.folder / "songs"

    @property
    def _out(self) -> Path:
        return self.folder / "out"

    async def run(self) -> Outcome:
        """Kill, begin again, until all is done; raises `RuntimeError` when it never will be."""
        self._source.mkdir(parents=True)
        self._out.mkdir()
        began = anyio.current_time()
        quirks = Quirks(early_not_found=0.2, history_delay=0.3)
        async with Sandbox(stems="copy", job_seconds=self._job_seconds, quirks=quirks, seed=self.seed) as sandbox:
            for fault in self._weather():
                sandbox.faults.add(fault)
            async with self._outages_of(sandbox):
                while self._killed < self.kills:
                    await self._make_songs()
                    await self._live(sandbox, kill=True)
            for _ in range(10):
                if await self._live(sandbox, kill=False):
                    break
            else:
                raise RuntimeError("ten processes that nobody killed did not bring all songs to their end")
            return self._count(sandbox, anyio.current_time() - began)

    def _job_seconds(self, serial: int) -> float:
        return random.Random(self.seed + serial).uniform(0.0, 0.6)

    async def _make_songs(self) -> None:
        """Put songs into the folder: enough that there is something to do, and some of them of the same name."""
        done = len(list((self._out / "stems").rglob("*.mp3"))) // len(STEMS)
        fair = self.songs * self._killed // max(self.kills, 1)
        while self._made < max(done, fair) + _AHEAD or (self._killed == self.kills - 1 and self._made < self.songs):
            album = self._source / f"Album {self._made}"
            album.mkdir()
            name = "01 Intro.wav" if self._made % 3 == 0 else f"Song {self._made} – é.wav"
            with wave.open(str(album / name), "wb") as file:
                file.setparams((2, 2, 44100, 0, "NONE", ""))
                file.writeframes(self._random.randbytes(self._random.randrange(20_000, 300_000) & ~3))
            self._made += 1

    async def _live(self, sandbox: Sandbox, *, kill: bool) -> bool:
        """Run one process until it is killed or ends; tell whether it ended with all songs done."""
        mark, times = self._random.choice(_MARKS), self._random.randint(1, 5)
        moment = self._random.choice((0.0, 0.002, 0.01, 0.05, 0.3)) * self._random.random()
        dns = [f"{self._random.uniform(0.1, 0.6):.2f}"] if self._random.random() < 0.15 else []
        url = sandbox.url.replace("127.0.0.1", "localhost")
        command = [sys.executable, "-m", "benchmarks.chaos_child", url, str(self._source), str(self._out), *dns]
        errors = self.folder / "stderr.txt"
        with errors.open("wb") as stderr:
            async with await anyio.open_process(
                command,
                stderr=stderr,
                env={**os.environ, "MVSEP_API_TOKEN": sandbox.premium_token},
                cwd=Path(__file__).parents[1],
            ) as process:
                if kill and await self._wait_for(process, mark, times):
                    await anyio.sleep(moment)
                if kill and process.returncode is None:
                    await self._kill(process)
                told = [line async for line in _lines(process)]
                code = await process.wait()
        if kill:
            return False
        if code != 0:
            raise RuntimeError(f"the process ended with {code}: {errors.read_text()[-2000:]}")
        return "end" in told and not any(line.startswith("failed") for line in told)

    async def _wait_for(self, process: Process, mark: str, times: int) -> bool:
        """Wait until the process has told `mark` so often; `False` when it ended before."""
        with anyio.move_on_after(_LONGEST_LIFE):
            async for line in _lines(process):
                times -= line == mark
                if times == 0:
                    return True
            return False
        return True

    async def _kill(self, process: Process) -> None:
        number = self._random.choice(_SIGNALS)
        with suppress(ProcessLookupError):
            os.kill(process.pid, number)  # `send_signal` would reap a process that has just ended, unseen by the loop
        self._killed += 1
        self._signals[number.name] += 1
        await process.wait()
        if (self._out / "journal.db").exists():
            for record in await SqliteJournal.peek(self._out / "journal.db"):
                if record.state not in (JobState.FINISHED, JobState.QUEUED):
                    self._caught[record.state.value] += 1

    def _weather(self) -> list[Fault]:
        """Everything that can go wrong, each now and then; there is always some of it."""
        bad: list[tuple[str, FaultKind, float, dict[str, Any]]] = []
        for kind in (FaultKind.DROP, FaultKind.LOSE_ANSWER, FaultKind.GARBLE, FaultKind.TRUNCATE, FaultKind.EMPTY):
            bad += [("separation/create", kind, 0.03, {}), ("*", kind, 0.01, {"method": "GET"})]
        for status in (200, 502, 520):
            bad += [("separation/create", FaultKind.HTML_AFTER, 0.02, {"status": status})]
            bad += [("*", FaultKind.HTML, 0.01, {"status": status})]
        for after in (0, 1, 5_000, 60_000, 150_000):
            reset = {"after_bytes": after, "reset": self._random.random() < 0.5}
            bad += [("separation/create", FaultKind.CUT_REQUEST, 0.02, reset)]
            bad += [
                ("separation/create", FaultKind.CUT_RESPONSE, 0.01, reset),
                ("/storage/*", FaultKind.CUT_RESPONSE, 0.08, reset),
            ]
        bad += [
            ("/storage/*", FaultKind.HTML, 0.03, {"status": 200}),
            ("/storage/*", FaultKind.REFUSE, 0.03, {"status": 503}),
        ]
        bad += [("/storage/*", FaultKind.STALL, 0.03, {"after_bytes": 30_000, "seconds": 0.2})]
        bad += [("*", FaultKind.RATE_LIMIT, 0.003, {"retry_after": 1}), ("*", FaultKind.REFUSE, 0.01, {"status": 500})]
        return [Fault(path=path, kind=kind, probability=share, count=None, **more) for path, kind, share, more in bad]

    @asynccontextmanager
    async def _outages_of(self, sandbox: Sandbox) -> AsyncIterator[None]:
        """Have the service down for a moment every few seconds."""

        async def come_and_go() -> None:
            while True:
                await anyio.sleep(self._random.uniform(2.0, 6.0))
                await sandbox.go_down()
                try:
                    await anyio.sleep(self._random.uniform(0.1, 0.8))
                finally:
                    with anyio.CancelScope(shield=True):
                        await sandbox.come_back()
                self._outages += 1

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(come_and_go)
            yield
            tasks.cancel_scope.cancel()

    def _count(self, sandbox: Sandbox, seconds: float) -> Outcome:
        songs = Counter(path.read_bytes() for path in self._source.rglob("*.wav"))
        files = {path: path.read_bytes() for path in (self._out / "stems").rglob("*") if path.is_file()}
        results = {path: data for path, data in files.items() if path.suffix == ".mp3"}
        there = Counter(results.values())
        paid = Counter(job.filename.partition("-")[0] for job in sandbox.jobs if not job.cancelled)
        beside = [path for path in self._out.rglob("*") if path.is_file() and path.parts[-2] != "stems"]
        stray = [path for path in files if path not in results]
        stray += [path for path in beside if path not in files and path.name not in _ALLOWED]
        extra = sum(max(0, there[song] - len(STEMS)) for song in songs)
        return Outcome(
            songs=len(songs),
            kills=self._killed,
            signals=dict(self._signals),
            caught=dict(self._caught.most_common()),
            faults=sandbox.faults.triggered,
            outages=self._outages,
            lost=sum(there[song] < len(STEMS) for song in songs),
            jobs=sum(paid.values()),
            paid_twice=sum(paid.values()) - len(songs),
            wrong=sum(data not in songs for data in results.values()) + extra,
            stray=[str(path.relative_to(self._out)) for path in stray],
            needed=sum(map(len, songs)) * len(STEMS),
            fetched=sum(record.sent for record in sandbox.requests if record.path.startswith("/storage/")),
            seconds=seconds,
        )


async def _lines(process: Process) -> AsyncIterator[str]:
    """Give what a process tells, line by line, to its end."""
    assert process.stdout is not None
    rest = ""
    async for text in TextReceiveStream(process.stdout):
        *lines, rest = (rest + text).split("\n")
        for line in lines:
            yield line
