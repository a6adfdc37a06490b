"""Download the results of finished jobs."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

import anyio
from anyio import CancelScope, CapacityLimiter
from attrs import Factory, define, evolve, field

from mvsep_async.concurrency import KeyedLock
from mvsep_async.download.fetch import Fetch
from mvsep_async.download.paths import PlannedFile, chosen, song_of
from mvsep_async.download.planner import PathPlanner
from mvsep_async.endpoints.separations import SeparationsAPI
from mvsep_async.errors import (
    DownloadError,
    InvalidRequestError,
    JobNotFoundError,
    JournalError,
    MVSepError,
    ProtocolError,
)
from mvsep_async.jobs.entry import JobEntry
from mvsep_async.jobs.lifecycle import JobEvent, JobState
from mvsep_async.jobs.progress import Progress
from mvsep_async.jobs.registry import JobRegistry
from mvsep_async.jobs.request import Target
from mvsep_async.models.separation import OutputFile, Separation
from mvsep_async.models.stage import Stage
from mvsep_async.naming import check_layout
from mvsep_async.observe.events import Downloaded, Retried
from mvsep_async.transport.bandwidth import Bandwidth

if TYPE_CHECKING:
    import httpx

__all__ = ["FILES_AT_ONCE", "JOBS_AT_ONCE", "Downloader"]

logger = logging.getLogger("mvsep_async")

JOBS_AT_ONCE: Final = 4
"""Jobs with a target whose results are downloaded at the same time."""

FILES_AT_ONCE: Final = 8
"""Files downloaded at the same time, of all jobs together: enough to use a fast line, with little memory."""


@define(eq=False)
class Downloader:
    """Downloads the results of jobs: of those with a target in its own tasks, of others when `download` is called."""

    registry: JobRegistry
    http: httpx.AsyncClient
    separations: SeparationsAPI
    patience: float
    time_scale: float = 1.0
    may_be_private: Callable[[str], bool] = lambda url: True
    bandwidth: Bandwidth | None = None
    confirm: Callable[[str], Awaitable[None]] | None = None
    """Raises unless the job with this id is this client's; awaited before a download, and before a file is named."""
    clock: Callable[[], float] = anyio.current_time
    sleep: Callable[[float], Awaitable[None]] = anyio.sleep
    _files: CapacityLimiter = field(factory=lambda: CapacityLimiter(FILES_AT_ONCE))
    _jobs: KeyedLock = field(factory=KeyedLock)
    _scopes: dict[str, CancelScope] = field(factory=dict)
    """The downloads in progress, by job."""
    _planner: PathPlanner = field(default=Factory(lambda self: PathPlanner(self.registry), takes_self=True), init=False)
    _queue: deque[JobEntry] = field(factory=deque)
    _queued: anyio.Semaphore = field(factory=lambda: anyio.Semaphore(0))

    def put(self, job: JobEntry) -> None:
        """Queue a finished job for its download to its target."""
        self._queue.append(job)
        self._queued.release()

    def reclaim(self, job: JobEntry) -> None:
        """Reserve the paths that a job of an earlier run has planned."""
        self._planner.reclaim(job)

    async def run(self) -> None:
        """Download the results of queued jobs, a few jobs at a time."""
        async with anyio.create_task_group() as tasks:
            for _ in range(JOBS_AT_ONCE):
                tasks.start_soon(self._work)

    async def _work(self) -> None:
        while True:
            await self._queued.acquire()
            job = self._queue.popleft()
            target = job.request.target
            if target is None or job.state is not JobState.DONE:
                continue
            try:
                await self.download(job, target)
            except _GivenUpError:
                continue  # if this client has got the job back meanwhile, it is queued once more
            except MVSepError as error:
                if job.state is JobState.DONE:
                    self.registry.apply(job, JobEvent.FAILED, error=error)

    async def download(self, job: JobEntry, target: Target, *, mirror: bool = False) -> list[Path]:
        """Download the results of a finished job and return their paths; calls for the same job take turns.

        `mirror`: download from the service's mirror, which costs a credit unless all files are complete.
        """
        check_layout(target.layout)
        async with self._jobs.for_key(job.id):
            with CancelScope() as scope:
                self._scopes[job.id] = scope
                try:
                    if self.confirm is not None:
                        await self.confirm(job.id)
                    return await self._download(job, target, mirror)
                finally:
                    del self._scopes[job.id]
        raise _GivenUpError(f"job {job.id} was taken over by another process of this account", job=job.id)

    def give_up(self, job: JobEntry) -> None:
        """End the download of a job that is another client's now, and remove its unfinished files."""
        if job.id in self._scopes:
            self._scopes[job.id].cancel()

    async def _download(self, job: JobEntry, target: Target, mirror: bool) -> list[Path]:
        separation = job.facts.separation
        assert separation is not None
        if not separation.files:
            separation = await self._refresh(job, separation)  # they may be listed late
            self.registry.refine(job, separation=separation)
        try:
            files = chosen(separation, target.stems, job=job.id)
            planned = await self._planner.plan(job, files, target, song_of(job.request, separation))
        except (DownloadError, InvalidRequestError) as error:
            raise _with_command(error, job) from None
        if not planned:
            raise DownloadError(
                f"the service lists no files for job {job.id}: they may have been deleted there",
                job=job.id,
                hash=separation.hash,
            )
        self.registry.apply(
            job,
            JobEvent.DOWNLOAD_BEGAN,
            planned=tuple(dict.fromkeys((*((file.file.name, file.path) for file in planned), *job.facts.planned))),
            error=None,
        )
        paths = {number: file.path for number, file in enumerate(planned) if file.complete}
        all_complete = len(paths) == len(planned)
        succeeded = False
        try:
            if not all_complete:
                await self._record_plan(job)
                if mirror:
                    planned = await self._at_mirror(job, planned)
                paths |= await self._fetch_all(job, planned, target)
            succeeded = True
        finally:
            if not (succeeded or self._scopes[job.id].cancel_called):  # else it was given up
                self.registry.apply(job, JobEvent.DOWNLOAD_STOPPED)
        found = [paths[number] for number in range(len(planned))]
        all_paths = (*(path for path in job.facts.paths if path not in found), *found)
        if all_complete:
            self.registry.apply(job, JobEvent.DOWNLOADED, paths=all_paths)
        else:
            await self._commit(job, all_paths)
        return found

    async def _commit(self, job: JobEntry, paths: tuple[Path, ...]) -> None:
        """Record the paths durably before the caller gets them, so that a later edited file is known as this job's."""
        try:
            await self.registry.commit(job, JobEvent.DOWNLOADED, paths=paths)
        except JournalError as error:
            logger.error("job %s is downloaded, but this is not in the journal yet: %s", job.id, error)

    async def _next_path(self, job: JobEntry, file: PlannedFile, target: Target, taken: Path) -> Path:
        path = await self._planner.replace(job, file, target, taken)
        await self._record_plan(job)
        return path

    async def _record_plan(self, job: JobEntry) -> None:
        """Write to the journal that the planned files are this job's, so that it is known even after a power cut.

        While a shared journal is out of reach, the download continues: only after a crash would its files get other
        names.
        """
        try:
            await self.registry.journal.flush(synced=True)
        except JournalError as error:
            if self.confirm is None:
                raise
            logger.info("the planned files of job %s are not in the journal yet: %s", job.id, error)

    async def _fetch_all(self, job: JobEntry, planned: list[PlannedFile], target: Target) -> dict[int, Path]:
        """Download the missing files at the same time and return their paths; if one fails, the others continue."""
        total = sum(file.file.bytes or file.file.size_bytes or 0 for file in planned if not file.complete)
        tally = _Tally(self.registry, job, total)
        errors: list[MVSepError] = []
        paths: dict[int, Path] = {}

        async def fetch_one(index: int, file: PlannedFile) -> None:
            async with _Permit(self._files) as permit:
                try:
                    paths[index] = await self._fetch(
                        job, file, target, permit, lambda received: tally.count(index, received)
                    )
                except MVSepError as error:
                    errors.append(_with_command(error, job) if error.hash is None else error)

        async with anyio.create_task_group() as tasks:
            for index, file in enumerate(planned):
                if not file.complete:
                    tasks.start_soon(fetch_one, index, file)
        if errors:
            raise errors[0]
        return paths

    async def _fetch(
        self, job: JobEntry, file: PlannedFile, target: Target, permit: _Permit, on_bytes: Callable[[int], None]
    ) -> Path:
        began = self.clock()
        fetch = Fetch(
            http=self.http,
            url=file.file.url,
            target=file.path,
            root=Path(target.directory),
            size=file.file.bytes or None,
            overwrite=target.overwrite,
            candidates=file.candidates,
            on_bytes=on_bytes,
            renew=lambda: self._renew(job, file.file),
            next_path=lambda taken: self._next_path(job, file, target, taken),
            confirm=None if self.confirm is None else partial(self.confirm, job.id),
            keeps=lambda: not self.registry.is_elsewhere(job),
            on_retry=lambda reason: self.registry.emit(Retried("download", f"{file.path.name}: {reason}", job.id)),
            patience=self.patience,
            may_be_private=self.may_be_private,
            bandwidth=self.bandwidth,
            clock=self.clock,
            sleep=lambda seconds: permit.release_while(self.sleep, seconds * self.time_scale),
        )
        fetched = await fetch.run()
        path = fetched.path
        self.registry.refine(job, paths=(*(known for known in job.facts.paths if known != path), path))
        self.registry.emit(Downloaded(job.id, path, fetched.size, fetched.received, self.clock() - began))
        return path

    async def _at_mirror(self, job: JobEntry, planned: list[PlannedFile]) -> list[PlannedFile]:
        """Return the planned files with links to the service's mirror. Each call costs a credit."""
        separation = job.facts.separation
        assert separation is not None
        confirm = None if self.confirm is None else partial(self.confirm, job.id)
        status = await self.separations.get(separation.hash, host=job.facts.host, mirror=True, before_last=confirm)
        if status.separation is None:
            raise JobNotFoundError(
                f"the service no longer has job {separation.hash}: its results were deleted or expired",
                job=job.id,
                hash=separation.hash,
            )
        urls = {(file.name, file.stem): file.url for file in status.separation.files}
        return [
            evolve(file, file=evolve(file.file, url=urls.get((file.file.name, file.file.stem), file.file.url)))
            for file in planned
        ]

    async def _renew(self, job: JobEntry, file: OutputFile) -> str:
        """Ask the service for a new link to the same file."""
        separation = job.facts.separation
        assert separation is not None
        fresh = await self._refresh(job, separation)
        same = [one for one in fresh.files if (one.name, one.stem) == (file.name, file.stem)]
        renamed = [one for one in fresh.files if one.stem == file.stem]
        if same or len(renamed) == 1:
            self.registry.refine(job, separation=fresh)
            return (same or renamed)[0].url
        raise DownloadError(
            f"{file.name} is no longer at the service (job {separation.hash}): its results were deleted or expired",
            job=job.id,
            hash=separation.hash,
        )

    async def _refresh(self, job: JobEntry, separation: Separation) -> Separation:
        """Ask the service for the result of a finished job; without files if it does not list any.

        Raises `ProtocolError` if the service reports a stage of an unfinished job.
        """
        status = await self.separations.get(separation.hash, host=job.facts.host)
        if not status.kind.final:
            raise ProtocolError(f"the service reports the finished job {separation.hash} as {status.status}")
        return status.separation or evolve(separation, files=())


def _with_command(error: MVSepError, job: JobEntry) -> MVSepError:
    """Return the error with the job's hash and the command that downloads its results."""
    found = error.of(job.id, job.hash)
    found.message = f"{error.message}. The job is done and paid for: `mvsep-async download {job.hash}` fetches it"
    return found


@define(eq=False)
class _Permit:
    """One of the `FILES_AT_ONCE` permits to download a file, released while the file waits for a retry."""

    _limiter: CapacityLimiter
    _held: bool = False

    async def __aenter__(self) -> Self:
        await self._acquire()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._release()

    async def release_while(self, sleep: Callable[[float], Awaitable[None]], seconds: float) -> None:
        """Release the permit, sleep, and acquire it again."""
        self._release()
        await sleep(seconds)
        await self._acquire()

    async def _acquire(self) -> None:
        await self._limiter.acquire_on_behalf_of(self)
        self._held = True

    def _release(self) -> None:
        if self._held:
            self._held = False
            self._limiter.release_on_behalf_of(self)


class _GivenUpError(JournalError):
    """The job was taken over by another process during its download."""


@define(eq=False)
class _Tally:
    """Adds up the received bytes of one job's files and shows the sum as progress."""

    registry: JobRegistry
    job: JobEntry
    total: int
    """Bytes to receive according to the service; they may be rounded to 10 KB or 0 where it does not say."""
    _received: dict[int, int] = field(factory=dict)

    def count(self, index: int, received: int) -> None:
        self._received[index] = received
        if self.job.state is JobState.DOWNLOADING:
            all_received = sum(self._received.values())
            total = max(self.total, all_received)
            self.registry.show(
                self.job, Progress(stage=Stage.DOWNLOADING, bytes_received=all_received, bytes_total=total)
            )
