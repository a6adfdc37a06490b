"""The scheduler: takes jobs from the local queue to files on disk, by reacting to each change of a job's state."""

from __future__ import annotations

import anyio
from anyio.abc import TaskGroup
from attrs import define, evolve, field

from mvsep_async.download.downloader import Downloader
from mvsep_async.errors import JobNotFoundError
from mvsep_async.http.hosts import Host
from mvsep_async.jobs.coordinator import Coordinator, JobView
from mvsep_async.jobs.entry import JobEntry
from mvsep_async.jobs.failures import resumes_later
from mvsep_async.jobs.journal import Record
from mvsep_async.jobs.lifecycle import AT_SERVICE, BEFORE_SERVICE, HOLDS_SLOT, OVER, JobEvent, JobState
from mvsep_async.jobs.registry import Change, JobRegistry
from mvsep_async.observe.events import Answered, Left, Uploaded
from mvsep_async.polling.poller import Poller
from mvsep_async.scheduling.cancel import Canceller
from mvsep_async.scheduling.cleanup import Cleanup
from mvsep_async.scheduling.dispatcher import Dispatcher
from mvsep_async.submission.recovery import Recovery

__all__ = ["Scheduler"]


@define(eq=False)
class Scheduler:
    """Runs the parts that work on jobs. They are independent of each other: the registry reports each change to all.

    The coordinator calls the scheduler, as its `CoordinatedClient`, about jobs of other clients.
    """

    registry: JobRegistry
    coordinator: Coordinator
    dispatcher: Dispatcher
    poller: Poller
    recovery: Recovery
    downloader: Downloader
    canceller: Canceller
    _closing: bool = field(default=False, init=False)
    _cleanup: Cleanup = field(init=False)
    _tasks: TaskGroup | None = None

    def __attrs_post_init__(self) -> None:
        self.coordinator.connect(self)
        self._cleanup = Cleanup(self.registry)
        for observer in (
            self.dispatcher.on_change,
            self._poll_and_recover,
            self._download,
            self._cleanup.on_change,
            self._release,  # the last one: it removes the job from the registry
        ):
            self.registry.subscribe(observer)

    def resume(self, job: JobEntry) -> None:
        """Continue a job of an earlier run in the state that the journal records."""
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
                self.registry.apply(job, JobEvent.OUTCOME_UNKNOWN)
            case JobState.LOST:
                self.recovery.begin(job)
            case JobState.DOWNLOADING:
                self.registry.apply(job, JobEvent.DOWNLOAD_STOPPED)
            case JobState.DONE if job.request.target is not None:
                self._put(job)
            case state if state in AT_SERVICE:
                self.poller.watch(job)
            case _:
                self._cleanup.on_change(Change(job, job.state, job.state))

    def resume_failed(self, job: JobEntry) -> bool:
        """Continue a job that failed temporarily, as the next start would; `False` for any other job."""
        resumes = self.registry.resume(job)
        if resumes:
            self.resume(job)
        return resumes

    async def run(self) -> None:
        """Work on jobs until cancelled."""
        async with anyio.create_task_group() as tasks:
            self._tasks = tasks
            for part in (self.poller, self.recovery, self.downloader, self.coordinator, self._cleanup):
                tasks.start_soon(part.run)
            await self.dispatcher.run(tasks)

    def slots_changed(self) -> None:
        """See `CoordinatedClient.slots_changed`."""
        self.dispatcher.slots_changed()

    def take_over(self, view: JobView) -> None:
        """See `CoordinatedClient.take_over`."""
        job = self.registry.restore(view.record)
        self.resume(job)
        if view.cancelling:
            self.cancel_requested(job.id)

    def give_up(self, job: str) -> None:
        """See `CoordinatedClient.give_up`."""
        entry = self.registry.jobs.get(job)
        if entry is None or entry.done():
            return
        self.registry.release(entry)
        self.dispatcher.give_up(entry)
        self.poller.forget(entry)
        self.recovery.end(entry)
        self.downloader.give_up(entry)
        self.coordinator.keep_updated(entry)

    def cancel_requested(self, job: str) -> None:
        """See `CoordinatedClient.cancel_requested`."""
        entry = self.registry.jobs.get(job)
        if entry is not None and self._tasks is not None and job not in self.dispatcher.cancelling:
            self._tasks.start_soon(self.canceller.cancel_for_other, entry)

    def found(self, job: str, *, hash: str | None, remote: str | None, host: str | None) -> None:
        """See `CoordinatedClient.found`."""
        entry = self.registry.jobs.get(job)
        if entry is not None and entry.state is JobState.LOST:
            at = None if host is None else Host.parse(host)
            self.registry.apply(entry, JobEvent.FOUND, hash=hash, remote=remote, host=at)

    def show(self, view: JobView) -> None:
        """See `CoordinatedClient.show`."""
        self.registry.mirror(view.record, view.progress)

    def job_pruned(self, job: str) -> None:
        """See `CoordinatedClient.job_pruned`."""
        entry = self.registry.elsewhere.get(job)
        if entry is not None and not entry.done():
            error = JobNotFoundError(f"job {job} was pruned from the shared journal", job=job, hash=entry.hash)
            self.registry.mirror(Record(entry.request, JobState.FAILED, evolve(entry.facts, error=error)))

    def own_job(self, job: str) -> JobEntry | None:
        """See `CoordinatedClient.own_job`."""
        return self.registry.jobs.get(job)

    def is_elsewhere(self, job: str) -> bool:
        """See `CoordinatedClient.is_elsewhere`."""
        return job in self.registry.elsewhere

    def own_jobs(self) -> list[JobEntry]:
        """See `CoordinatedClient.own_jobs`."""
        return [job for job in self.registry.jobs.values() if not job.done()]

    def close(self) -> None:
        """Stop beginning downloads, and limit the wait for the responses to completely sent creates."""
        self._closing = True
        self.dispatcher.launcher.close()
        self.coordinator.closing()

    def emit_left(self) -> None:
        """Emit `Left` for every job whose create was begun and that is unfinished."""
        for job in self.registry.jobs.values():
            if job.state in HOLDS_SLOT or (job.state is JobState.QUEUED and job.facts.attempts):
                self.registry.emit(Left(job.id, job.hash, job.stage))

    def _poll_and_recover(self, change: Change) -> None:
        """Start and stop polling jobs at the service and searching for lost jobs."""
        job, before, after = change.job, change.before, change.after
        if after is JobState.LOST:
            self.recovery.begin(job)
        elif before is JobState.LOST:
            self.recovery.end(job)
        if after in AT_SERVICE and before not in AT_SERVICE:
            self.poller.watch(job)
            if before is JobState.LOST:
                seconds = self.registry.wall() - (job.facts.intent_at or self.registry.wall())
                self.registry.emit(Uploaded(job.id, job.facts.hash or "", job.progress.bytes_total or 0, seconds))
        elif before in AT_SERVICE and after not in AT_SERVICE:
            self._emit_answered(job, self.poller.forget(job))
        elif before in BEFORE_SERVICE and after in OVER:
            self._emit_answered(job, None)

    def _download(self, change: Change) -> None:
        """Queue a finished job that has a target for its download."""
        if change.after is JobState.DONE and change.job.request.target is not None and not self._closing:
            self._put(change.job)

    def _release(self, change: Change) -> None:
        """Release a job of a shared journal that failed temporarily. Its handles here show the error."""
        job = change.job
        temporary = change.after is JobState.FAILED and resumes_later(job.facts.error)
        if temporary and self.registry.is_recorded(job) and self.coordinator.release(job):
            self.registry.release(job)

    def _put(self, job: JobEntry) -> None:
        if self.coordinator.can_continue(job):
            self.downloader.put(job)

    def _emit_answered(self, job: JobEntry, seconds: float | None) -> None:
        error = None if job.facts.error is None else str(job.facts.error)
        self.registry.emit(Answered(job.id, job.hash, job.stage, seconds, error))
