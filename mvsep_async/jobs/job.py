"""The handle of one job: what its owner awaits, iterates, cancels and downloads with."""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator, Iterable
from os import PathLike
from pathlib import Path
from typing import Protocol, cast

import anyio
from attrs import define, field

from mvsep_async.errors import ClientClosedError, JobTimeoutError, MVSepError
from mvsep_async.http.call import Json
from mvsep_async.jobs.facts import NOTHING, Facts
from mvsep_async.jobs.lifecycle import OVER, JobState
from mvsep_async.jobs.progress import QUEUED, Progress
from mvsep_async.jobs.request import JobRequest, Target
from mvsep_async.jobs.subscription import Subscribers, Subscription
from mvsep_async.models.separation import Separation
from mvsep_async.models.stage import Stage
from mvsep_async.sources import PreparedSource

__all__ = ["Job", "JobBackend"]


class JobBackend(Protocol):
    """What a handle asks of the client that it belongs to."""

    @property
    def closed(self) -> bool: ...

    def place(self, job: Job) -> Progress:
        """Return the progress of a job that waits here, with its place in line."""
        ...

    def follow(self, job: Job) -> Progress:
        """Return the same, and from now on tell those who look on how it moves up."""
        ...

    async def cancel(self, job: Job) -> bool: ...

    async def download(self, job: Job, target: Target, *, mirror: bool) -> list[Path]: ...

    async def delete(self, job: Job) -> bool: ...


@define(eq=False, repr=False)
class Job:
    """One separation. It lives in its client: what holds the handle may come and go.

    A queued job is this object alone: no task, no event, no future. Only the registry changes its state.
    """

    _backend: JobBackend
    request: JobRequest = field(alias="request")
    """What was asked for."""
    state: JobState = JobState.QUEUED
    facts: Facts = NOTHING
    _progress: Progress = QUEUED
    _subscribers: Subscribers | None = None

    @property
    def id(self) -> str:
        """The job's name here; it survives restarts when there is a journal."""
        return self.request.id

    @property
    def hash(self) -> str | None:
        """The job's name at the service: `None` until it is accepted; of a URL job the short one, then the long one."""
        return self.facts.hash or self.facts.remote

    @property
    def source(self) -> PreparedSource:
        """The song, as it was given."""
        return self.request.source

    @property
    def metadata(self) -> Json:
        """The caller's own data, as given to `submit`."""
        return self.request.metadata

    @property
    def stage(self) -> Stage:
        """What is happening to it now."""
        return self._progress.stage

    @property
    def progress(self) -> Progress:
        """How far it is now, for a job that waits here with its place in line."""
        return self._backend.place(self) if self.state is JobState.QUEUED else self._progress

    @property
    def error(self) -> MVSepError | None:
        """Why it failed or was cancelled, else `None`."""
        return self.facts.error

    @property
    def separation(self) -> Separation | None:
        """What came of it: `None` until the service is done."""
        return self.facts.separation

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files of it that are complete on disk."""
        return self.facts.paths

    def done(self) -> bool:
        """Tell whether it is over: separated (and downloaded, where that was asked for), failed, or cancelled."""
        if self.state is JobState.DONE:
            return self.request.target is None
        return self.state in OVER

    @property
    def _separated(self) -> bool:
        return self.request.target is None and self.facts.separation is not None

    def __await__(self) -> Generator[object, None, Separation]:
        return self.wait().__await__()

    async def wait(self, timeout: float | None = None) -> Separation:
        """Wait until the job is over and return its separation.

        `timeout`: seconds; on expiry `JobTimeoutError` is raised and the job goes on. Raises the job's error if it
        failed or was cancelled, and `ClientClosedError` if the client is closed first.
        """
        with anyio.move_on_after(timeout):
            async for _ in _Changes(self, places=False):
                if self._separated:
                    break  # a download that somebody began meanwhile is not waited for
        if not self.done() and not self._separated:
            raise self._still_going(timeout)
        if self.facts.error is not None:
            # A fresh traceback for everyone who awaits: one error object would collect them all.
            raise self.facts.error.with_traceback(None)
        return cast("Separation", self.facts.separation)

    def __aiter__(self) -> AsyncIterator[Progress]:
        """Give the current progress, then every change, until the job is over. Its error is not raised here."""
        return _Changes(self)

    async def ended(self) -> None:
        """Wait until the job is over, whatever the end. Raises `ClientClosedError` if the client is closed first."""
        async for _ in _Changes(self, places=False):
            pass

    async def cancel(self) -> bool:
        """Cancel the job, at whatever stage: `True` if it was, `False` if it was over before or could not be stopped.

        In the local queue nothing is sent. At the service the credits come back while it is not yet processed.
        """
        return await self._backend.cancel(self)

    async def download(
        self,
        directory: str | PathLike[str],
        *,
        stems: Iterable[str] | None = None,
        layout: str = "{song}/{stem}",
        overwrite: bool = False,
        mirror: bool = False,
    ) -> list[Path]:
        """Fetch the stems into `directory`, once the job is done, and return their paths: complete and verified.

        `stems`: only those (without case), by default all. Files are `<directory>/<song>/<stem>.<ext>` unless `layout`
        says otherwise. A complete file of this job is not fetched again; another file of that name is replaced only
        with `overwrite`, else the new one gets a number. Cancelling leaves `.part` files, from which the next call goes
        on. `mirror=True` downloads from the service's mirror, which can be faster: **each call costs one credit**,
        unless all files are complete. Raises the job's error, `InvalidRequestError` for an unknown stem or an invalid
        layout, and `DownloadError`.
        """
        chosen = None if stems is None else tuple(stems)
        target = Target(str(Path(directory)), chosen, layout, overwrite)
        return await self._backend.download(self, target, mirror=mirror)

    async def delete(self) -> bool:
        """Delete the finished job and its files at the service; `False` if the service no longer has it.

        They cannot be restored. Files that were downloaded stay. Raises `InvalidRequestError` for a job that is not
        over: cancel it, or wait for it.
        """
        return await self._backend.delete(self)

    def subscribe(self) -> Subscription:
        """Return a mailbox that gets every change from now on, for as long as it is held."""
        if self._subscribers is None:
            self._subscribers = Subscribers()
        box = Subscription()
        self._subscribers.boxes.add(box)
        return box

    def show(self, progress: Progress) -> None:
        """Take over a new progress and tell everybody who looks on (the registry calls this)."""
        self._progress = progress
        self.publish(progress)

    def publish(self, progress: Progress) -> None:
        """Tell everybody who looks on, without keeping it: places in line are worked out when they are asked for."""
        if self._subscribers is not None:
            self._subscribers.put(progress)

    def progress_in_queue(self) -> Progress:
        """Return how far it is now, and from now on tell those who look on when it moves up in line."""
        return self._backend.follow(self) if self.state is JobState.QUEUED else self._progress

    @property
    def has_subscribers(self) -> bool:
        """Tell whether anybody looks on."""
        return self._subscribers is not None and bool(self._subscribers.boxes)

    def close_subscribers(self) -> None:
        """End the waits of everybody who looks on: the client closes."""
        if self._subscribers is not None:
            self._subscribers.close()

    @property
    def client_closed(self) -> bool:
        """Tell whether nothing more will happen to it here."""
        return self._backend.closed

    def closed_error(self) -> ClientClosedError:
        how = f"client.attach({self.hash!r}) finds it again" if self.hash else "it was not sent to the service yet"
        return ClientClosedError(
            f"the client was closed before job {self.id} was over; {how}", job=self.id, hash=self.hash
        )

    def _still_going(self, timeout: float | None) -> JobTimeoutError:
        how = f"; client.attach({self.hash!r}) finds it again, also later" if self.hash else ""
        return JobTimeoutError(
            f"job {self.id} was not over after {timeout} s and goes on ({self.stage.value}): wait again{how}",
            job=self.id,
            hash=self.hash,
        )

    def __repr__(self) -> str:
        named = f" {self.hash}" if self.hash else ""
        return f"<Job {self.id} {self.stage.value}{named}>"


@define(eq=False)
class _Changes:
    """An iterator over one job's progress; `places`: its moving up in the local queue too."""

    _job: Job
    _places: bool = field(default=True, alias="places")
    _box: Subscription | None = None
    _over: bool = False

    def __aiter__(self) -> _Changes:
        return self

    async def __anext__(self) -> Progress:
        if self._over:
            raise StopAsyncIteration
        if self._box is None:
            self._box = self._job.subscribe()
            self._over = self._job.done()
            return self._job.progress_in_queue() if self._places else self._job._progress
        progress = None if self._job.client_closed and not self._box.pending else await self._box.receive()
        if progress is None:
            self._over = True
            raise self._job.closed_error()
        self._over = self._job.done() and not self._box.pending
        return progress
