"""One run of a command over jobs: takes their outcomes as they come, counts them, and shows the rest."""

from __future__ import annotations

import math
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeAlias

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from attrs import Factory, define, evolve, field

from mvsep_async.cli.exits import DONE, FAILED, USAGE
from mvsep_async.cli.live.dashboard import Dashboard
from mvsep_async.cli.live.lanes import Running, Snapshot
from mvsep_async.cli.live.render import summary
from mvsep_async.cli.outcome import Outcome, job_name, title_of
from mvsep_async.cli.songs import Songs
from mvsep_async.cli.terminal import terminal
from mvsep_async.cli.text import amount
from mvsep_async.client import MVSepClient
from mvsep_async.errors import AuthenticationError, MVSepError
from mvsep_async.jobs.job import Job
from mvsep_async.models.stage import Stage
from mvsep_async.observe.events import Downloaded, Event, Submitted

__all__ = ["JobActions", "JobRun"]

_Ended: TypeAlias = tuple[Job, Outcome]


@define(eq=False)
class JobRun:
    """One run: its jobs, their outcomes, and what is shown of them.

    `songs`: those still to be read. `slots`: most jobs at one time, by default what the account allows.
    """

    title: str
    songs: Songs | None = None
    slots: int | None = None
    done: int = 0
    skipped: int = 0
    """Of those done: songs that had been separated before, whose stems are all there."""
    failed: int = 0
    cancelled: int = 0
    unsent: int = 0
    """Of those failed: songs that could not be sent."""
    failed_before: int = 0
    """Of those failed: songs that failed in an earlier run and were not tried again."""
    reading: bool = False
    """Whether a song is being read that is neither among those to be read nor a job yet."""
    open: dict[str, Job] = field(factory=dict)
    """Jobs that are not over, by id."""
    _dashboard: Dashboard = field(default=Factory(lambda self: Dashboard(self.title), takes_self=True), init=False)
    _seen: int = 0
    _ended: set[str] = field(factory=set)
    _given: dict[str, str] = field(factory=dict)
    """What was given, by job, where the journal knows the song under another name."""
    _folders: dict[str, Path] = field(factory=dict)
    """The folder of this run's stems, by job, for jobs of earlier runs: those may have stems elsewhere too."""
    _labels: dict[str, str] = field(factory=dict)
    """Names of songs, by job, where the jobs themselves do not know them."""
    _active: set[str] = field(factory=set)
    """Jobs that something was sent or fetched for in this run."""

    def rename(self, title: str) -> None:
        """Change the title that is shown."""
        self._dashboard.tracker.title = title

    @property
    def over(self) -> int:
        """How many songs are over, whatever their outcome."""
        return self.done + self.failed + self.cancelled

    @property
    def code(self) -> int:
        """The exit code, when all is over."""
        if not self.failed and not self.cancelled:
            return DONE
        return USAGE if self.unsent == self.over else FAILED

    async def follow(
        self,
        client: MVSepClient,
        outcomes: AsyncIterable[_Ended],
        *background: Callable[[], Coroutine[Any, Any, None]],
    ) -> int:
        """Show the client's jobs and write each outcome until there are no more; return the exit code.

        `background`: run meanwhile; they end by themselves. A token that the service does not accept ends the run at
        once: every other song would fail for it too.
        """
        try:
            async with (
                self._dashboard.shown(client, lambda: self.snapshot(client)),
                anyio.create_task_group() as tasks,
            ):
                for task in background:
                    tasks.start_soon(task)
                async for job, outcome in outcomes:
                    if isinstance(outcome.error, AuthenticationError):
                        raise outcome.error.with_traceback(None)
                    self.end(job, outcome)
        except BaseException:
            self._update_open(client.jobs())  # for the hint how to continue
            raise
        if not terminal().json and self.over > 1:
            took = self._dashboard.tracker.elapsed
            terminal().note(summary(self.done - self.skipped, self.skipped, self.failed, self.cancelled, took))
        if self.failed_before:
            count = amount(self.failed_before, "song that failed before was", "songs that failed before were")
            terminal().note(f"{count} not tried again: --retry-failed does that")
        return self.code

    def receive(self, event: Event) -> None:
        """Take an event of the client in, to know which songs cost something in this run."""
        if isinstance(event, Submitted | Downloaded):
            self._active.add(event.job)

    async def outcomes_of(self, jobs: AsyncIterable[Job]) -> AsyncIterator[_Ended]:
        """Give the outcome of each job that `client.map` gives."""
        async for job in jobs:
            outcome = Outcome.of(job, given=self._given.pop(job.id, None), earlier=job.id not in self._active)
            folder = self._folders.pop(job.id, None)
            if folder is not None and (here := tuple(path for path in outcome.files if path.is_relative_to(folder))):
                outcome = evolve(outcome, files=here)
            yield job, outcome

    def name(self, job: Job, source: str, folder: Path) -> None:
        """Remember what was given for a job of an earlier run, and the folder for its stems.

        The journal may know the song by an absolute or an older path.
        """
        self._folders[job.id] = folder.absolute()
        if job.source != source:
            self._given[job.id] = source

    def attach(self, client: MVSepClient, songs: Mapping[str, str], host: str | None) -> list[Job]:
        """Return handles to jobs at the service. `songs`: the names of their songs by the jobs' hashes."""
        jobs = [client.attach(hash, host=host) for hash in songs]
        self._labels |= {job.id: song for job, song in zip(jobs, songs.values(), strict=True) if song}
        return jobs

    def reject(self, source: str, error: MVSepError) -> None:
        """Report something given that cannot be separated."""
        path = None if "://" in source else Path(source)
        self._count(Outcome(name=source if path is None else path.name, source=source, error=error))

    def end(self, job: Job, outcome: Outcome) -> None:
        """Report a job that is over."""
        self._ended.add(job.id)
        self.open.pop(job.id, None)
        self._count(evolve(outcome, name=self._labels.get(job.id, outcome.name)))

    def skip(self, outcome: Outcome) -> None:
        """Report a song whose stems are there, without a job of this run."""
        self._count(outcome)

    def snapshot(self, client: MVSepClient) -> Snapshot:
        """Return the run as it is now."""
        self._update_open(client.jobs())
        running = {
            id: Running(name, job.progress, folder)
            for id, job in self.open.items()
            if job.stage is not Stage.QUEUED
            for name, folder in [self._job_name(job)]
        }
        return Snapshot(
            running=running,
            slots=self.slots or client.slots,
            queued=len(self.open) - len(running) + (self.songs.left if self.songs else 0) + self.reading,
            searching=self.songs is not None and not self.songs.complete,
            done=self.done,
            failed=self.failed + self.cancelled,
        )

    def _job_name(self, job: Job) -> tuple[str, str]:
        song = self._labels.get(job.id)
        return job_name(job) if song is None else (title_of(Path(song))[0], "")

    def _count(self, outcome: Outcome) -> None:
        self.done += outcome.status == "done"
        self.skipped += outcome.skipped
        self.failed += outcome.status == "failed"
        self.failed_before += outcome.failed_before
        self.cancelled += outcome.status == "cancelled"
        self.unsent += outcome.unsent
        self._dashboard.write(outcome.document() if terminal().json else outcome.line)

    def _update_open(self, known: list[Job]) -> None:
        """Add jobs that are new, and drop those that are over."""
        for job in known[self._seen :]:
            if job.id not in self._ended and not job.done():
                self.open[job.id] = job
        self._seen = len(known)
        for id in [id for id, job in self.open.items() if job.done()]:
            del self.open[id]


@define(eq=False)
class JobActions:
    """Does the same with each of some jobs, all at once; iterate to get the outcomes while `run` runs."""

    jobs: Sequence[Job]
    act: Callable[[Job], Awaitable[object]]
    _stream: tuple[MemoryObjectSendStream[_Ended], MemoryObjectReceiveStream[_Ended]] = field(
        factory=lambda: anyio.create_memory_object_stream[_Ended](math.inf)
    )

    async def run(self) -> None:
        """Act on every job, and return when all are done."""
        with self._stream[0] as outcomes:
            async with anyio.create_task_group() as tasks:
                for job in self.jobs:
                    tasks.start_soon(self._act, job, outcomes)

    async def __aiter__(self) -> AsyncIterator[_Ended]:
        with self._stream[1] as outcomes:
            async for ended in outcomes:
                yield ended

    async def _act(self, job: Job, outcomes: MemoryObjectSendStream[_Ended]) -> None:
        error = None
        try:
            await self.act(job)
        except MVSepError as met:
            error = met
        with suppress(anyio.BrokenResourceError):  # the run ended early: nothing reads the rest
            outcomes.send_nowait((job, Outcome.of(job, error)))
