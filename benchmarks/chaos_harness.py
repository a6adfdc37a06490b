"""Kill processes that separate songs over an unreliable network, and check the results at the end."""

from __future__ import annotations

import os
import random
import signal
import sys
import wave
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

import anyio
from anyio.abc import Process
from anyio.streams.text import TextReceiveStream
from attrs import define, field, frozen

from benchmarks.chaos_child import STEMS
from benchmarks.chaos_weather import Weather
from mvsep_async.jobs.lifecycle import JobState
from mvsep_async.journal.sqlite import peek_journal
from mvsep_async.sandbox import Quirks, Sandbox

__all__ = ["Chaos", "Outcome"]

_SIGNALS: Final = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
_MARKS: Final = ("", "open", "Submitted", "SlotTaken", "Uploaded", "Answered", "Downloaded", "finished")
"""What the process tells that a kill may follow: all parts of a job's life. The first is its start."""

_LONGEST_LIFE: Final = 4.0
"""Seconds from the opening of its client until a process is killed that has not printed the awaited line."""

_LONGEST_START: Final = 60.0
"""The same from its start, for a busy machine."""

_AHEAD: Final = 6
"""Songs beyond those that are through: new ones are put into the folder while there are kills to come."""

_ALLOWED: Final = frozenset({"journal.db", "journal.db.lock", "stderr.txt"})


@frozen(kw_only=True)
class Outcome:
    """The results at the end."""

    songs: int
    kills: int
    signals: dict[str, int]
    caught: dict[str, int]
    """State in the journal → jobs that were in it at a kill."""
    clock_steps: int
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
    """One series of kills. `songs` is the least number of them; `seed` determines everything except timing.

    Each process has songs and a journal of its own. They share the account and the folder for the stems.
    """

    folder: Path
    kills: int
    songs: int
    processes: int = 2
    seed: int = 1

    @property
    def _stems(self) -> Path:
        return self.folder / "stems"

    async def run(self) -> Outcome:
        """Kill and restart until all songs are done; raises `RuntimeError` if they never are."""
        began = anyio.current_time()
        quirks = Quirks(early_not_found=0.2, history_delay=0.3)
        weather = Weather(random.Random(self.seed))
        async with Sandbox(stems="copy", job_seconds=self._job_seconds, quirks=quirks, seed=self.seed) as sandbox:
            victims = [self._victim(number, sandbox) for number in range(self.processes)]
            async with weather.over(sandbox), anyio.create_task_group() as tasks:
                for victim in victims:
                    tasks.start_soon(victim.be_killed)
                # The outages end with the last kill; the faults stay.
            async with anyio.create_task_group() as tasks:
                for victim in victims:
                    tasks.start_soon(victim.finish)
            return self._count(sandbox, victims, weather.outages, anyio.current_time() - began)

    def _victim(self, number: int, sandbox: Sandbox) -> _Victim:
        share = partial(_share, count=self.processes, number=number)
        return _Victim(
            folder=self.folder / str(number),
            stems=self._stems,
            sandbox=sandbox,
            kills=share(self.kills),
            songs=share(self.songs),
            random=random.Random(self.seed * 1000 + number),
        )

    def _job_seconds(self, serial: int) -> float:
        return random.Random(self.seed + serial).uniform(0.0, 0.6)

    def _count(self, sandbox: Sandbox, victims: list[_Victim], outages: int, seconds: float) -> Outcome:
        songs = Counter(path.read_bytes() for victim in victims for path in victim.source.rglob("*.wav"))
        files = {path: path.read_bytes() for path in self._stems.rglob("*") if path.is_file()}
        results = {path: data for path, data in files.items() if path.suffix == ".mp3"}
        there = Counter(results.values())
        # Ten digits in a job's hash come from what was uploaded.
        paid = Counter(job.hash.split("-")[1] for job in sandbox.jobs if not job.cancelled)
        stray = [path for path in files if path not in results]
        stray += [path for victim in victims for path in victim.stray()]
        extra = sum(max(0, there[song] - len(STEMS)) for song in songs)
        return Outcome(
            songs=len(songs),
            kills=sum(victim.killed for victim in victims),
            signals=dict(sum((victim.signals for victim in victims), Counter[str]())),
            caught=dict(sum((victim.caught for victim in victims), Counter[str]()).most_common()),
            clock_steps=sum(victim.clock_steps for victim in victims),
            faults=sandbox.faults.triggered,
            outages=outages,
            lost=sum(there[song] < len(STEMS) for song in songs),
            jobs=sum(paid.values()),
            paid_twice=sum(count - 1 for count in paid.values()),
            wrong=sum(data not in songs for data in results.values()) + extra,
            stray=[str(path.relative_to(self.folder)) for path in stray],
            needed=sum(map(len, songs)) * len(STEMS),
            fetched=sum(record.sent for record in sandbox.requests if record.path.startswith("/storage/")),
            seconds=seconds,
        )


@define(kw_only=True)
class _Victim:
    """One process that is killed and started again, with its songs and its journal."""

    folder: Path
    stems: Path
    sandbox: Sandbox
    kills: int
    songs: int
    random: random.Random
    killed: int = 0
    signals: Counter[str] = field(factory=Counter)
    caught: Counter[str] = field(factory=Counter)
    clock_steps: int = 0
    _made: int = 0
    _through: int = 0

    @property
    def source(self) -> Path:
        return self.folder / "songs"

    @property
    def _journal(self) -> Path:
        return self.folder / "journal.db"

    async def be_killed(self) -> None:
        """Run the process until its last kill."""
        self.source.mkdir(parents=True)
        while self.killed < self.kills:
            await self._make_songs()
            await self._live(kill=True)

    async def finish(self) -> None:
        """Run until all songs are done; raises `RuntimeError` if they never are."""
        for _ in range(10):
            if await self._live(kill=False):
                return
        raise RuntimeError("ten processes that were not killed did not finish all songs")

    def stray(self) -> list[Path]:
        """Return the files beside the journal that belong to no job."""
        beside = (path for path in self.folder.iterdir() if path != self.source)
        return [path for path in beside if path.name not in _ALLOWED]

    async def _make_songs(self) -> None:
        """Write songs to the folder, some of them with the same name."""
        fair = self.songs * self.killed // max(self.kills, 1)
        while self._made < max(self._through, fair) + _AHEAD or (
            self.killed == self.kills - 1 and self._made < self.songs
        ):
            album = self.source / f"Album {self._made}"
            album.mkdir()
            name = "01 Intro.wav" if self._made % 3 == 0 else f"Song {self._made} – é.wav"
            with wave.open(str(album / name), "wb") as file:
                file.setparams((2, 2, 44100, 0, "NONE", ""))
                file.writeframes(self.random.randbytes(self.random.randrange(20_000, 300_000) & ~3))
            self._made += 1

    async def _live(self, *, kill: bool) -> bool:
        """Run one process until it is killed or ends; return whether it ended with all songs done."""
        mark, times = self.random.choice(_MARKS), self.random.randint(1, 5)
        moment = self.random.choice((0.0, 0.002, 0.01, 0.05, 0.3)) * self.random.random()
        url = self.sandbox.url.replace("127.0.0.1", "localhost")
        command = [sys.executable, "-m", "benchmarks.chaos_child", url]
        command += [str(self.source), str(self._journal), str(self.stems)]
        command += ["--clock", str(self.random.randrange(10**9))]
        if self.random.random() < 0.15:
            command += ["--no-names", f"{self.random.uniform(0.1, 0.6):.2f}"]
        errors = self.folder / "stderr.txt"
        with errors.open("wb") as stderr:
            async with await anyio.open_process(
                command,
                stderr=stderr,
                env={**os.environ, "MVSEP_API_TOKEN": self.sandbox.premium_token},
                cwd=Path(__file__).parents[1],
            ) as process:
                if kill and await self._wait_for(process, mark, times):
                    await anyio.sleep(moment)
                if kill and process.returncode is None:
                    await self._kill(process)
                printed = [line async for line in self._lines(process)]
                code = await process.wait()
        if kill:
            return False
        if code != 0:
            raise RuntimeError(f"the process ended with {code}: {errors.read_text()[-2000:]}")
        return "end" in printed and not any(line.startswith("failed") for line in printed)

    async def _wait_for(self, process: Process, mark: str, times: int) -> bool:
        """Wait until the process has printed `mark` that many times; return `False` if it ended before."""
        if not mark:
            return True
        with anyio.move_on_after(_LONGEST_START) as scope:
            async for line in self._lines(process):
                if line == "open":
                    scope.deadline = anyio.current_time() + _LONGEST_LIFE
                times -= line == mark
                if times == 0:
                    return True
            return False
        return True

    async def _kill(self, process: Process) -> None:
        number = self.random.choice(_SIGNALS)
        with suppress(ProcessLookupError):
            os.kill(process.pid, number)  # `send_signal` would reap a process that has just ended, unseen by the loop
        self.killed += 1
        self.signals[number.name] += 1
        await process.wait()
        if self._journal.exists():
            records = await peek_journal(self._journal)
            states = Counter(record.state for record in records)
            self._through = states.pop(JobState.FINISHED, 0)
            states.pop(JobState.QUEUED, None)
            self.caught.update({state.value: count for state, count in states.items()})

    async def _lines(self, process: Process) -> AsyncIterator[str]:
        """Yield the lines that a process prints, to its end."""
        assert process.stdout is not None
        rest = ""
        async for text in TextReceiveStream(process.stdout):
            *lines, rest = (rest + text).split("\n")
            for line in lines:
                self.clock_steps += line == "clock set"
                yield line


def _share(total: int, *, count: int, number: int) -> int:
    """Return the size of part `number` of a total divided into `count` nearly equal parts."""
    return total // count + (number < total % count)
