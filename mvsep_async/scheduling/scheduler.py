"""The scheduler: takes jobs from the local queue to files on disk, by reacting to each change of a job's state."""

from __future__ import annotations

import time

import anyio
from attrs import define, field

from mvsep_async.download.downloader import Downloader
from mvsep_async.endpoints.separations import SeparationsAPI
from mvsep_async.errors import InvalidRequestError, JobNotFoundError
from mvsep_async.jobs.entry import JobEntry
from mvsep_async.jobs.lifecycle import AT_SERVICE, HOLDS_SLOT, OVER, JobEvent, JobState
from mvsep_async.jobs.registry import Change, JobRegistry
from mvsep_async.observe.events import Answered, Left, Uploaded
from mvsep_async.polling.poller import Poller
from mvsep_async.scheduling.cancel import cancel_at_service, mark_cancelled, wait_for_change
from mvsep_async.scheduling.cleanup import Cleanup
from mvsep_async.scheduling.dispatcher import Dispatcher
from mvsep_async.submission.recovery import Recovery

__all__ = ["Scheduler"]

_BEFORE_SERVICE = frozenset({JobState.QUEUED, JobState.UPLOADING, JobState.CREATING, JobState.LOST})


@define(eq=False)
class Scheduler:
    """Runs the parts that work on jobs. They are independent of each other: the registry reports each change to all.

    `separations`: the endpoint calls that cancel and delete jobs.
    """

    registry: JobRegistry
    dispatcher: Dispatcher
    poller: Poller
    recovery: Recovery
    downloader: Downloader
    separations: SeparationsAPI
    closed: bool = False
    _cleanup: Cleanup = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._cleanup = Cleanup(self.registry)
        for observer in (self.dispatcher.on_change, self._follow, self._download, self._cleanup.on_change):
            self.registry.subscribe(observer)

    def resume(self, job: JobEntry) -> None:
        """Continue a job of an earlier run in the state that the journal holds."""
        self.downloader.reclaim(job)
        if job.state in HOLDS_SLOT:
            self.dispatcher.acquire_slot(job)
        match job.state:
            case JobState.QUEUED:
                self.dispatcher.submit(job)
            case JobState.UPLOADING:
                self.registry.apply(job, JobEvent.NOT_ACCEPTED)  # its last bytes were not sent
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
            case _:
                self._cleanup.on_change(Change(job, job.state, job.state))

    async def run(self) -> None:
        """Work on jobs until cancelled."""
        async with anyio.create_task_group() as tasks:
            for part in (self.poller, self.recovery, self.downloader, self.registry.journal, self._cleanup):
                tasks.start_soon(part.run)
            await self.dispatcher.run(tasks)

    def close(self) -> None:
        """Stop beginning downloads, and limit the wait for the responses to completely sent creates."""
        self.closed = True
        self.dispatcher.launcher.close()

    def emit_left(self) -> None:
        """Emit `Left` for every job whose create was begun and that is unfinished."""
        for job in self.registry.jobs.values():
            if job.state in HOLDS_SLOT or (job.state is JobState.QUEUED and job.facts.attempts):
                self.registry.emit(Left(job.id, job.hash, job.stage))

    async def cancel(self, job: JobEntry) -> bool:
        """Cancel a job at any stage; see `Job.cancel`."""
        was_over = job.state in OVER
        self.dispatcher.cancelling.add(job.id)
        try:
            while True:
                match job.state:
                    case JobState.QUEUED:
                        self.dispatcher.remove(job)
                        mark_cancelled(job, self.registry, "before it was sent")
                    case JobState.UPLOADING | JobState.CREATING | JobState.LOST:
                        self.dispatcher.launcher.withdraw(job)
                        await wait_for_change(job, job.state)
                    case state if state in AT_SERVICE:
                        gone = await cancel_at_service(job, self.separations, self.poller)
                        if gone and job.state in AT_SERVICE:
                            mark_cancelled(job, self.registry, "at the service")
                        if job.state is not JobState.CANCELLED:
                            return False
                    case JobState.CANCELLED:
                        # After a crash before this is on disk, the job would be resumed and paid for.
                        await self.registry.journal.flush()
                        return not was_over
                    case _:
                        return False
        finally:
            self.dispatcher.cancelling.discard(job.id)

    async def delete(self, job: JobEntry) -> bool:
        """Delete a finished job at the service; see `Job.delete`."""
        if job.facts.separation is None and job.state not in OVER:
            raise InvalidRequestError(
                f"job {job.id} is not over ({job.stage.value}): cancel it, or wait for it", job=job.id, hash=job.hash
            )
        if job.facts.hash is None:
            return False  # the service does not have it, or failed to fetch its URL
        try:
            await self.separations.delete(job.facts.hash, host=job.facts.host)
        except JobNotFoundError:
            return False
        return True

    def _follow(self, change: Change) -> None:
        """Start and stop polling jobs at the service and searching for lost jobs."""
        job, before, after = change.job, change.before, change.after
        if after is JobState.LOST:
            self.recovery.begin(job)
        elif before is JobState.LOST:
            self.recovery.end(job)
        if after in AT_SERVICE and before not in AT_SERVICE:
            self.poller.watch(job)
            if before is JobState.LOST:
                seconds = time.time() - (job.facts.intent_at or time.time())
                self.registry.emit(Uploaded(job.id, job.facts.hash or "", job.progress.bytes_total or 0, seconds))
        elif before in AT_SERVICE and after not in AT_SERVICE:
            self._emit_answered(job, self.poller.forget(job))
        elif before in _BEFORE_SERVICE and after in OVER:
            self._emit_answered(job, None)

    def _download(self, change: Change) -> None:
        """Queue a finished job that has a target for its download."""
        if change.after is JobState.DONE and change.job.request.target is not None and not self.closed:
            self.downloader.put(change.job)

    def _emit_answered(self, job: JobEntry, seconds: float | None) -> None:
        error = None if job.facts.error is None else str(job.facts.error)
        self.registry.emit(Answered(job.id, job.hash, job.stage, seconds, error))
