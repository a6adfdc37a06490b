"""The uploads that run ahead of their slots, and the decision when the next one begins."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import inf

from anyio.abc import TaskGroup
from attrs import define, field

from mvsep_async.concurrency import in_thread
from mvsep_async.jobs.entry import JobEntry
from mvsep_async.jobs.lifecycle import AT_SERVICE
from mvsep_async.scheduling.ahead_policy import RECHECK, AheadPolicy, upload_size
from mvsep_async.submission.upload_queue import UploadQueue

__all__ = ["AheadUploads"]


@define(eq=False)
class AheadUploads:
    """Jobs that are `UPLOADING`; they get the next free slots. `wake` is called when another one may begin."""

    uploads: UploadQueue
    policy: AheadPolicy
    wake: Callable[[], None]
    check_at: float = inf
    """When to check again whether the next song should be sent ahead."""
    _jobs: dict[str, JobEntry] = field(factory=dict)
    _size: tuple[str, int | None] = ("", None)
    """The id of the next song's job, and the bytes to upload, `None` while they are being read."""

    def __bool__(self) -> bool:
        return bool(self._jobs)

    def first(self, has_room: Callable[[str | None], bool]) -> JobEntry | None:
        """Return the first job whose group may have another slot."""
        return next((job for job in self._jobs.values() if has_room(job.request.group)), None)

    def add(self, job: JobEntry) -> None:
        """Add a job whose song begins to be sent ahead."""
        self._jobs[job.id] = job

    def remove(self, job: JobEntry) -> None:
        """Remove a job, if it is there."""
        self._jobs.pop(job.id, None)

    def is_due(self, job: JobEntry, holders: Iterable[JobEntry], now: float, tasks: TaskGroup) -> bool:
        """Tell whether the next song should begin, or set `check_at`. `holders`: the jobs that hold a slot.

        The song's size is read by one of `tasks`, which wakes the caller.
        """
        if not self.uploads.idle:
            return False
        if self._size[0] != job.id:
            self._size = job.id, None
            tasks.start_soon(self._read_size, job)
        size = self._size[1]
        if size is None:
            return False
        delay = self.policy.delay(
            now,
            size=size,
            rate=self.uploads.rate,
            seconds_left=[holder.progress.seconds_left for holder in holders if holder.state in AT_SERVICE],
            ahead=len(self._jobs),
        )
        if delay > 0:
            self.check_at = inf if delay == inf else now + min(delay, RECHECK)
        return delay <= 0

    async def _read_size(self, job: JobEntry) -> None:
        size = await in_thread(upload_size, job.request)  # a network share may take long
        if self._size[0] == job.id:
            self._size = job.id, size
            self.wake()
