"""The public handle of one job: await it, iterate over its progress, cancel it, download its stems."""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator, Iterable
from os import PathLike
from pathlib import Path
from typing import Protocol, cast

import anyio
from attrs import define, field

from mvsep_async.errors import JobTimeoutError, MVSepError
from mvsep_async.http.call import Json
from mvsep_async.jobs.entry import JobEntry
from mvsep_async.jobs.lifecycle import JobState
from mvsep_async.jobs.progress import Progress
from mvsep_async.jobs.request import Target
from mvsep_async.jobs.subscription import Subscription
from mvsep_async.models.separation import Separation
from mvsep_async.models.stage import Stage
from mvsep_async.sources import JobSource

__all__ = ["Job", "JobBackend", "entry_of", "wait_until_over", "wait_until_separated"]


class JobBackend(Protocol):
    """The part of a client that carries out the calls of its job handles."""

    @property
    def closed(self) -> bool:
        """Whether the client was closed, so that it does not change its jobs any further."""
        ...

    def queue_progress(self, job: JobEntry, *, subscribed: bool = False) -> Progress:
        """Return the progress of a queued job with its place; with `subscribed`, publish later changes of the place."""
        ...

    async def cancel(self, job: JobEntry) -> bool:
        """Cancel a job; see `Job.cancel`."""
        ...

    async def download(self, job: JobEntry, target: Target, *, mirror: bool) -> list[Path]:
        """Download the stems of a job; see `Job.download`."""
        ...

    async def delete(self, job: JobEntry) -> bool:
        """Delete a job at the service; see `Job.delete`."""
        ...


@define(frozen=True, eq=False, repr=False)
class Job:
    """The handle of one separation. The client keeps the job, so a handle may be dropped and obtained again.

    Handles of the same job are equal.
    """

    _entry: JobEntry
    _backend: JobBackend

    @property
    def id(self) -> str:
        """The local id; it survives restarts where there is a journal."""
        return self._entry.id

    @property
    def hash(self) -> str | None:
        """The hash at the service: `None` until the job is accepted; of a URL job the short one, then the long one."""
        return self._entry.hash

    @property
    def source(self) -> JobSource:
        """The song, as it was passed to `submit`."""
        return self._entry.request.source

    @property
    def metadata(self) -> Json:
        """The caller's own data, as given to `submit`."""
        return self._entry.request.metadata

    @property
    def stage(self) -> Stage:
        """The current stage."""
        return self._entry.stage

    @property
    def progress(self) -> Progress:
        """The current progress; for a queued job, with its place in the local queue."""
        if self._entry.state is JobState.QUEUED:
            return self._backend.queue_progress(self._entry)
        return self._entry.progress

    @property
    def error(self) -> MVSepError | None:
        """Why the job failed or was cancelled, else `None`."""
        return self._entry.facts.error

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files of the job that are complete on disk."""
        return self._entry.facts.paths

    def done(self) -> bool:
        """Tell whether the job is over: separated (and downloaded, where that was asked for), failed or cancelled."""
        return self._entry.done()

    def __await__(self) -> Generator[object, None, Separation]:
        return self.wait().__await__()

    async def wait(self, timeout: float | None = None) -> Separation:
        """Wait until the job is over and return its separation.

        `timeout`: seconds; on expiry `JobTimeoutError` is raised and the job continues. Raises the job's error if it
        failed or was cancelled, and `ClientClosedError` if the client is closed first.
        """
        job = self._entry
        with anyio.move_on_after(timeout):
            async for _ in _Changes(job, self._backend, places=False):
                if job.separated:
                    break  # a download begun by another caller is not waited for
        if not job.done() and not job.separated:
            raise self._still_going(timeout)
        if job.facts.error is not None:
            # Every caller gets a fresh traceback: one shared error object would collect them all.
            raise job.facts.error.with_traceback(None)
        return cast("Separation", job.facts.separation)

    def __aiter__(self) -> AsyncIterator[Progress]:
        """Yield the current progress, then later changes, until the job is over. The job's error is not raised.

        A slow reader gets every stage, but only its latest numbers.
        """
        return _Changes(self._entry, self._backend)

    async def cancel(self) -> bool:
        """Cancel the job at any stage: `False` if it was already over or could not be stopped.

        A job in the local queue is removed without a request. A job at the service is cancelled there; its credits are
        refunded if it is not yet being processed.
        """
        return await self._backend.cancel(self._entry)

    async def download(
        self,
        directory: str | PathLike[str],
        *,
        stems: Iterable[str] | None = None,
        layout: str = "{song}/{stem}",
        overwrite: bool = False,
        mirror: bool = False,
    ) -> list[Path]:
        """Wait until the job is done, download its stems into `directory` and return the paths of the complete files.

        `stems`: the stems to download, matched without case; all by default. Files are
        `<directory>/<song>/<stem>.<ext>` unless `layout` says otherwise. A complete file of this job is not downloaded
        again; another file of that name is replaced only with `overwrite`, otherwise the new one gets a number.
        Cancelling keeps the received bytes in `.part` files, from which the next call resumes. `mirror=True` downloads
        from the service's mirror, which can be faster: **each call costs one credit**, unless all files are complete.
        Raises the job's error, `InvalidRequestError` for an unknown stem or an invalid layout, and `DownloadError`.
        """
        target = Target.at(directory, stems, layout, overwrite)
        return await self._backend.download(self._entry, target, mirror=mirror)

    async def delete(self) -> bool:
        """Delete the finished job and its files at the service; `False` if the service does not have it.

        They cannot be restored. Downloaded files are kept. Raises `InvalidRequestError` for a job that is not over:
        cancel it, or wait for it.
        """
        return await self._backend.delete(self._entry)

    def _still_going(self, timeout: float | None) -> JobTimeoutError:
        how = f"; client.attach({self.hash!r}) finds it again, also later" if self.hash else ""
        return JobTimeoutError(
            f"job {self.id} was not over after {timeout} s and continues ({self.stage.value}): wait again{how}",
            job=self.id,
            hash=self.hash,
        )

    def __eq__(self, other: object) -> bool:
        return self._entry is other._entry if isinstance(other, Job) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._entry)

    def __repr__(self) -> str:
        named = f" {self.hash}" if self.hash else ""
        return f"<Job {self.id} {self.stage.value}{named}>"


def entry_of(job: Job) -> JobEntry:
    """Return the registry's entry of a job."""
    return job._entry


async def wait_until_over(job: JobEntry, backend: JobBackend) -> None:
    """Wait until a job is over, however it ends. Raises `ClientClosedError` if the client is closed first."""
    async for _ in _Changes(job, backend, places=False):
        pass


async def wait_until_separated(job: JobEntry, backend: JobBackend) -> None:
    """Wait until a job has its result, or is over. Raises `ClientClosedError` if the client is closed first."""
    async for _ in _Changes(job, backend, places=False):
        if job.facts.separation is not None:
            return


@define(eq=False)
class _Changes:
    """An iterator over one job's progress. `places`: include changes of the place in the local queue."""

    _job: JobEntry
    _backend: JobBackend
    _places: bool = field(default=True, alias="places")
    _subscription: Subscription | None = None
    _over: bool = False

    def __aiter__(self) -> _Changes:
        return self

    async def __anext__(self) -> Progress:
        if self._over:
            raise StopAsyncIteration
        if self._subscription is None:
            self._subscription = self._job.subscribe()
            self._over = self._job.done()
            return self._first()
        closed = self._backend.closed and not self._subscription.pending
        progress = None if closed else await self._subscription.receive()
        if progress is None:
            self._over = True
            raise self._job.closed_error()
        self._over = self._job.done() and not self._subscription.pending
        return progress

    def _first(self) -> Progress:
        if self._places and self._job.state is JobState.QUEUED:
            return self._backend.queue_progress(self._job, subscribed=True)
        return self._job.progress
