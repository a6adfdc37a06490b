"""What follows from each change of a job: the one place where the parts of the client meet."""

from __future__ import annotations

import time
from pathlib import Path

import anyio
from attrs import define, field

from mvsep_async.download.downloader import Fetcher
from mvsep_async.endpoints.separations import SeparationsAPI
from mvsep_async.jobs.job import Job
from mvsep_async.jobs.lifecycle import AT_SERVICE, HOLDS_SLOT, OVER, Event, State
from mvsep_async.jobs.registry import Ledger, goes_on_later
from mvsep_async.jobs.request import Target
from mvsep_async.observe.events import Answered, Left, Retried, Uploaded
from mvsep_async.polling.poller import Watcher
from mvsep_async.scheduling.cancel import cancelled, left, withdraw
from mvsep_async.scheduling.cleanup import Leftovers
from mvsep_async.scheduling.dispatcher import Dispatcher
from mvsep_async.submission.create import Launcher
from mvsep_async.submission.recovery import Finder

__all__ = ["Scheduler"]


@define(eq=False)
class Scheduler:
    """Takes jobs from the local queue to files on disk.

    Its parts know nothing of each other: what a change of one job means for them is decided in `react` alone.
    `separations` is what it cancels with.
    """

    ledger: Ledger
    dispatcher: Dispatcher
    launcher: Launcher
    watcher: Watcher
    finder: Finder
    fetcher: Fetcher
    separations: SeparationsAPI
    closed: bool = False
    _leftovers: Leftovers = field(factory=Leftovers)

    def resume(self, job: Job) -> None:
        """Take up a job of an earlier run where it stood."""
        self.fetcher.reclaim(job)
        if job.state in HOLDS_SLOT:
            self.dispatcher.hold(job)
        match job.state:
            case State.QUEUED:
                self.dispatcher.submit(job)
            case State.CREATING:
                self.ledger.apply(job, Event.ANSWER_LOST)
            case State.LOST:
                self.finder.begin(job)
            case State.DOWNLOADING:
                self.ledger.apply(job, Event.DOWNLOAD_STOPPED)
            case State.DONE if job.order.target is not None:
                self.fetcher.put(job)
            case state if state in AT_SERVICE:
                self.watcher.watch(job)
            case _ if job.done():
                self._over(job)

    async def run(self) -> None:
        """Schedule until cancelled."""
        async with anyio.create_task_group() as tasks:
            for part in (self.watcher, self.finder, self.fetcher, self.ledger.journal, self._leftovers):
                tasks.start_soon(part.run)
            await self.dispatcher.run(tasks)

    def close(self) -> None:
        """Begin no more jobs; creates that are sent whole have a moment left to be answered."""
        self.closed = True
        self.launcher.close()

    def leave(self) -> None:
        """Say of each job that was begun, and that the service is not through with, that it is left as it stands."""
        for job in self.ledger.jobs.values():
            if job.state in HOLDS_SLOT or (job.state is State.QUEUED and job.facts.attempts):
                self.ledger.tell(Left(job.id, job.hash, job.stage))

    def react(self, job: Job, before: State) -> None:
        """Draw the consequences of a change: the one place where the parts of the scheduler meet."""
        state = job.state
        ended = before in HOLDS_SLOT and state not in HOLDS_SLOT
        # The slot of a create is let go by the task that made it, once it knows why it ended; a guest has none.
        if ended and before is not State.CREATING and self.dispatcher.holds(job):
            self.dispatcher.release(job)
        if state in AT_SERVICE and before not in AT_SERVICE:
            self._leftovers.sent(job)
            self.dispatcher.accepted(job)
            self.watcher.watch(job)
        elif before in AT_SERVICE and state not in AT_SERVICE:
            self._answered(job, self.watcher.forget(job))
        elif state in OVER and before in (State.QUEUED, State.CREATING, State.LOST):
            self._answered(job, None)
        if state is State.LOST:
            self.finder.begin(job)
        elif before is State.LOST:
            self.finder.end(job)
            if state is State.QUEUED:
                self.ledger.tell(Retried("create", "its answer was lost, and the service has not got it", job.id))
                self.dispatcher.begin_again(job)
            elif state in AT_SERVICE:
                seconds = time.time() - (job.facts.intent_at or time.time())
                self.ledger.tell(Uploaded(job.id, job.facts.hash or "", job._progress.bytes_total or 0, seconds))
        if state is State.DONE and job.order.target is not None and not self.closed:
            self.fetcher.put(job)
        if job.done():
            self._over(job)

    async def cancel(self, job: Job) -> bool:
        """Cancel `job` wherever it is; see `Job.cancel`."""
        over = job.state in OVER
        self.dispatcher.unwanted.add(job.id)
        try:
            while True:
                match job.state:
                    case State.QUEUED:
                        self.dispatcher.remove(job)
                        cancelled(job, self.ledger, "before it was sent")
                    case State.CREATING | State.LOST:
                        self.launcher.withdraw(job)
                        await left(job, job.state)
                    case state if state in AT_SERVICE:
                        if await withdraw(job, self.separations, self.watcher) and job.state in AT_SERVICE:
                            cancelled(job, self.ledger, "at the service")
                        if job.state is not State.CANCELLED:
                            return False
                    case State.CANCELLED:
                        # Or a crash would bring it back, and pay for it.
                        await self.ledger.journal.settle()
                        return not over
                    case _:
                        return False
        finally:
            self.dispatcher.unwanted.discard(job.id)

    async def download(self, job: Job, target: Target) -> list[Path]:
        """Fetch the stems of `job` once it is done; see `Job.download`."""
        if job.facts.separation is None:
            await job
        elif job.facts.error is not None and job.state is not State.FAILED:  # that failed at a download alone
            raise job.facts.error.with_traceback(None)
        return await self.fetcher.download(job, target)

    def _over(self, job: Job) -> None:
        self.dispatcher.over(job)
        self._leftovers.over(job, goes_on=self.ledger.journal.spool is not None and goes_on_later(job.facts.error))

    def _answered(self, job: Job, seconds: float | None) -> None:
        error = None if job.facts.error is None else str(job.facts.error)
        self.ledger.tell(Answered(job.id, job.hash, job.stage, seconds, error))
