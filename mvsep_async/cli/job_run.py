"""One run of a command over jobs: takes their outcomes as they come, counts them, and shows the rest."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
from anyio.abc import TaskGroup
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

__all__ = ["JobRun"]


@define(eq=False)
class JobRun:
    """One run: its jobs, their outcomes, and what is shown of them.

    `songs`: those still to be read. `slots`: most jobs at one time, by default what the account allows.
    """

    title: str
    songs: Songs | None = None
    slots: int | None = None
    counts: Counter[str] = field(factory=Counter)
    """Songs that are over: `done`, `skipped` of them separated before with all their stems there; `failed`, `unsent` of
    them rejected here and `failed_before` not tried again after an earlier run; `cancelled`."""
    reading: bool = False
    """Whether a song is being read that is neither among those to be read nor a job yet."""
    open: dict[str, Job] = field(factory=dict)
    """Jobs that are not over, by id."""
    _dashboard: Dashboard = field(default=Factory(lambda self: Dashboard(self.title), takes_self=True), init=False)
    _seen: int = 0
    _ended: set[str] = field(factory=set)
    _earlier: dict[str, tuple[str, Path]] = field(factory=dict)
    """For jobs of earlier runs: the song as it was given, which the journal may know under another name, and the folder
    of its stems in this run, which may have some elsewhere too."""
    _labels: dict[str, str] = field(factory=dict)
    """Names of songs, by job, where the jobs themselves do not know them."""
    _active: set[str] = field(factory=set)
    """Jobs that something was sent or fetched for in this run."""

    def rename(self, title: str) -> None:
        """Change the title that is shown."""
        self._dashboard.tracker.title = title

    async def follow(
        self, client: MVSepClient, jobs: AsyncIterable[Job], search: Callable[[], Coroutine[Any, Any, None]]
    ) -> int:
        """Show the client's jobs and write the outcome of each of `jobs`; return the exit code.

        `search` is run meanwhile.
        """
        async with self._shown(client) as tasks:
            tasks.start_soon(search)
            async for job in jobs:
                given, folder = self._earlier.pop(job.id, (None, None))
                outcome = Outcome.of(job, given=given, earlier=job.id not in self._active)
                if folder and (here := tuple(path for path in outcome.files if path.is_relative_to(folder))):
                    outcome = evolve(outcome, files=here)
                self.end(job, outcome)
        return self._summarize()

    async def act(self, client: MVSepClient, jobs: Sequence[Job], act: Callable[[Job], Awaitable[object]]) -> int:
        """Do the same with each of some jobs, all at once, and write each outcome; return the exit code."""

        async def run(job: Job) -> None:
            error = None
            try:
                await act(job)
            except MVSepError as failure:
                error = failure
            self.end(job, Outcome.of(job, error))

        async with self._shown(client) as tasks:
            for job in jobs:
                tasks.start_soon(run, job)
        return self._summarize()

    def receive(self, event: Event) -> None:
        """Take an event of the client in, to know which songs are jobs, and cost something in this run."""
        if isinstance(event, Submitted):
            self.reading = False
        if isinstance(event, Submitted | Downloaded):
            self._active.add(event.job)

    def name(self, job: Job, source: str, folder: Path) -> None:
        """Remember what was given for a job of an earlier run, and the folder for its stems."""
        self._earlier[job.id] = source, folder.absolute()

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
        """Report a job that is over.

        A token that the service does not accept ends the run: every other song would fail for it too.
        """
        if isinstance(outcome.error, AuthenticationError):
            raise outcome.error.with_traceback(None)
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
            done=self.counts["done"],
            failed=self.counts["failed"] + self.counts["cancelled"],
        )

    @asynccontextmanager
    async def _shown(self, client: MVSepClient) -> AsyncIterator[TaskGroup]:
        """Show the run while the block and the tasks of the group run."""
        try:
            async with (
                self._dashboard.shown(client, lambda: self.snapshot(client)),
                anyio.create_task_group() as tasks,
            ):
                yield tasks
        except BaseException:
            self._update_open(client.jobs())  # for the hint how to continue
            raise

    def _summarize(self) -> int:
        """Write the last lines of the run, and return the exit code."""
        counts = self.counts
        over = counts["done"] + counts["failed"] + counts["cancelled"]
        if not terminal().json and over > 1:
            made, took = counts["done"] - counts["skipped"], self._dashboard.tracker.elapsed
            terminal().note(summary(made, counts["skipped"], counts["failed"], counts["cancelled"], took))
        if before := counts["failed_before"]:
            count = amount(before, "song that failed before was", "songs that failed before were")
            terminal().note(f"{count} not tried again: --retry-failed does that")
        if counts["done"] == over:
            return DONE
        return USAGE if counts["unsent"] == over else FAILED

    def _job_name(self, job: Job) -> tuple[str, str]:
        song = self._labels.get(job.id)
        return job_name(job) if song is None else (title_of(Path(song))[0], "")

    def _count(self, outcome: Outcome) -> None:
        self.counts[outcome.status] += 1
        for name in ("skipped", "failed_before", "unsent"):
            self.counts[name] += getattr(outcome, name)
        self._dashboard.write(outcome.document() if terminal().json else outcome.line)

    def _update_open(self, known: list[Job]) -> None:
        """Add jobs that are new, and drop those that are over."""
        for job in known[self._seen :]:
            if job.id not in self._ended and not job.done():
                self.open[job.id] = job
        self._seen = len(known)
        for id in [id for id, job in self.open.items() if job.done()]:
            del self.open[id]
