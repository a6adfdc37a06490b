"""What follows from each change of a job: the one place where the parts of the client meet."""

from __future__ import annotations

import time
from pathlib import Path

import anyio
from attrs import define, field

from mvsep_async.download.downloader import Downloader
from mvsep_async.endpoints.separations import SeparationsAPI
from mvsep_async.errors import InvalidRequestError, JobNotFoundError
from mvsep_async.jobs.job import Job
from mvsep_async.jobs.lifecycle import AT_SERVICE, HOLDS_SLOT, OVER, JobEvent, JobState
from mvsep_async.jobs.registry import JobRegistry, goes_on_later
from mvsep_async.jobs.request import Target
from mvsep_async.observe.events import Answered, Left, Retried, Uploaded
from mvsep_async.polling.poller import Poller
from mvsep_async.scheduling.cancel import cancel_at_service, cancelled, left
from mvsep_async.scheduling.cleanup import Cleanup
from mvsep_async.scheduling.dispatcher import Dispatcher
from mvsep_async.submission.create import Launcher
from mvsep_async.submission.recovery import Recovery

__all__ = ["Scheduler"]


@define(eq=False)
class Scheduler:
    """Takes jobs from the local queue to files on disk.

    Its parts know nothing of each other: what a change of one job means for them is decided in `react` alone.
    `separations`: for cancelling and deleting.
    """

    registry: JobRegistry
    dispatcher: Dispatcher
    launcher: Launcher
    poller: Poller
    recovery: Recovery
    downloader: Downloader
    separations: SeparationsAPI
    closed: bool = False
    _cleanup: Cleanup = field(factory=Cleanup)

    def resume(self, job: Job) -> None:
        """Take up a job of an earlier run where it stood."""
        self.downloader.reclaim(job)
        if job.state in HOLDS_SLOT:
            self.dispatcher.acquire_slot(job)
        match job.state:
            case JobState.QUEUED:
                self.dispatcher.submit(job)
            case JobState.CREATING:
                self.registry.apply(job, JobEvent.ANSWER_LOST)
            case JobState.LOST:
                self.recovery.begin(job)
            case JobState.DOWNLOADING:
                self.registry.apply(job, JobEvent.DOWNLOAD_STOPPED)
            case JobState.DONE if job.request.target is not None:
                self.downloader.put(job)
            case state if state in AT_SERVICE:
                self.poller.watch(job)
            case _ if job.done():
                self._over(job)

    async def run(self) -> None:
        """Schedule until cancelled."""
        async with anyio.create_task_group() as tasks:
            for part in (self.poller, self.recovery, self.downloader, self.registry.journal, self._cleanup):
                tasks.start_soon(part.run)
            await self.dispatcher.run(tasks)

    def close(self) -> None:
        """Begin no more jobs; creates that are sent whole have a moment left to be answered."""
        self.closed = True
        self.launcher.close()

    def leave(self) -> None:
        """Say of each job that was begun, and that the service is not through with, that it is left as it stands."""
        for job in self.registry.jobs.values():
            if job.state in HOLDS_SLOT or (job.state is JobState.QUEUED and job.facts.attempts):
                self.registry.emit(Left(job.id, job.hash, job.stage))

    def react(self, job: Job, before: JobState) -> None:
        """Draw the consequences of a change: the one place where the parts of the scheduler meet."""
        state = job.state
        ended = before in HOLDS_SLOT and state not in HOLDS_SLOT
        # The slot of a create is let go by the task that made it, once it knows why it ended; a guest has none.
        if ended and before is not JobState.CREATING and self.dispatcher.has_slot(job):
            self.dispatcher.release_slot(job)
        if state in AT_SERVICE and before not in AT_SERVICE:
            self._cleanup.sent(job)
            self.dispatcher.accepted(job)
            self.poller.watch(job)
        elif before in AT_SERVICE and state not in AT_SERVICE:
            self._answered(job, self.poller.forget(job))
        elif state in OVER and before in (JobState.QUEUED, JobState.CREATING, JobState.LOST):
            self._answered(job, None)
        if state is JobState.LOST:
            self.recovery.begin(job)
        elif before is JobState.LOST:
            self.recovery.end(job)
            if state is JobState.QUEUED:
                self.registry.emit(Retried("create", "its answer was lost, and the service has not got it", job.id))
                self.dispatcher.begin_again(job)
            elif state in AT_SERVICE:
                seconds = time.time() - (job.facts.intent_at or time.time())
                self.registry.emit(Uploaded(job.id, job.facts.hash or "", job._progress.bytes_total or 0, seconds))
        if state is JobState.DONE and job.request.target is not None and not self.closed:
            self.downloader.put(job)
        if job.done():
            self._over(job)

    async def cancel(self, job: Job) -> bool:
        """Cancel `job` wherever it is; see `Job.cancel`."""
        over = job.state in OVER
        self.dispatcher.cancelling.add(job.id)
        try:
            while True:
                match job.state:
                    case JobState.QUEUED:
                        self.dispatcher.remove(job)
                        cancelled(job, self.registry, "before it was sent")
                    case JobState.CREATING | JobState.LOST:
                        self.launcher.cancel_at_service(job)
                        await left(job, job.state)
                    case state if state in AT_SERVICE:
                        if await cancel_at_service(job, self.separations, self.poller) and job.state in AT_SERVICE:
                            cancelled(job, self.registry, "at the service")
                        if job.state is not JobState.CANCELLED:
                            return False
                    case JobState.CANCELLED:
                        # Or a crash would bring it back, and pay for it.
                        await self.registry.journal.flush()
                        return not over
                    case _:
                        return False
        finally:
            self.dispatcher.cancelling.discard(job.id)

    async def delete(self, job: Job) -> bool:
        """Delete a finished `job` at the service; see `Job.delete`."""
        if job.facts.separation is None and job.state not in OVER:
            raise InvalidRequestError(
                f"job {job.id} is not over ({job.stage.value}): cancel it, or wait for it", job=job.id, hash=job.hash
            )
        if job.facts.hash is None:
            return False  # it never got to the service, or not beyond fetching its URL
        try:
            await self.separations.delete(job.facts.hash, host=job.facts.host)
        except JobNotFoundError:
            return False
        return True

    async def download(self, job: Job, target: Target, *, mirror: bool = False) -> list[Path]:
        """Fetch the stems of `job` once it is done; see `Job.download`."""
        if job.facts.separation is None:
            await job
        elif job.facts.error is not None and job.state is not JobState.FAILED:  # that failed at a download alone
            raise job.facts.error.with_traceback(None)
        return await self.downloader.download(job, target, mirror=mirror)

    def _over(self, job: Job) -> None:
        self.dispatcher.over(job)
        self._cleanup.over(job, goes_on=self.registry.journal.spool is not None and goes_on_later(job.facts.error))

    def _answered(self, job: Job, seconds: float | None) -> None:
        error = None if job.facts.error is None else str(job.facts.error)
        self.registry.emit(Answered(job.id, job.hash, job.stage, seconds, error))
