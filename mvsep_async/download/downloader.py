"""Download the results of finished jobs."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

import anyio
from anyio import CancelScope, CapacityLimiter
from attrs import define, evolve, field

from mvsep_async.concurrency import KeyedLock, in_thread
from mvsep_async.download.fetch import fetch
from mvsep_async.download.folder import name_limit
from mvsep_async.download.part_file import is_taken, remove_leftovers
from mvsep_async.download.paths import PlannedFile, chosen, next_free, plan_paths, song_of
from mvsep_async.download.target import os_reason
from mvsep_async.endpoints.separations import SeparationsAPI
from mvsep_async.errors import DownloadError, InvalidRequestError, JobNotFoundError, JournalError, MVSepError
from mvsep_async.jobs.entry import JobEntry
from mvsep_async.jobs.lifecycle import JobEvent, JobState
from mvsep_async.jobs.progress import Progress
from mvsep_async.jobs.registry import JobRegistry
from mvsep_async.jobs.request import Target
from mvsep_async.models.separation import OutputFile
from mvsep_async.models.stage import Stage
from mvsep_async.naming import NAME_LIMIT, caseless, check_layout
from mvsep_async.observe.events import Downloaded, Retried
from mvsep_async.transport.pace import RateLimit

if TYPE_CHECKING:
    import httpx

__all__ = ["FILES_AT_ONCE", "JOBS_AT_ONCE", "Downloader"]

logger = logging.getLogger("mvsep_async")

JOBS_AT_ONCE: Final = 4
"""Jobs with a target whose results are downloaded at the same time."""

FILES_AT_ONCE: Final = 8
"""Files downloaded at the same time, of all jobs together: enough to use a fast line, with little memory."""

_SUFFIX_ROOM: Final = 16
"""Bytes that a file name keeps free for ` (999)` and `.part.json`."""


@define(eq=False)
class Downloader:
    """Downloads results of jobs, for callers of `download` and in its own tasks for jobs that have a target."""

    registry: JobRegistry
    http: httpx.AsyncClient
    separations: SeparationsAPI
    patience: float
    time_scale: float = 1.0
    may_be_private: Callable[[str], bool] = lambda url: True
    rate_limit: RateLimit | None = None
    confirm: Callable[[str], Awaitable[None]] | None = None
    """Raises unless the job with this id is this client's; awaited before a download, and before a file is named."""
    clock: Callable[[], float] = anyio.current_time
    sleep: Callable[[float], Awaitable[None]] = anyio.sleep
    _files: CapacityLimiter = field(factory=lambda: CapacityLimiter(FILES_AT_ONCE))
    _owners: dict[str, str] = field(factory=dict)
    """The id of the job that owns each path; keys are from `caseless`."""
    _jobs: KeyedLock = field(factory=KeyedLock)
    _scopes: dict[str, CancelScope] = field(factory=dict)
    """The downloads in progress, by job."""
    _planning: anyio.Lock = field(factory=anyio.Lock)
    _queue: deque[JobEntry] = field(factory=deque)
    _queued: anyio.Semaphore = field(factory=lambda: anyio.Semaphore(0))

    def put(self, job: JobEntry) -> None:
        """Queue a finished job for its download to its target."""
        self._queue.append(job)
        self._queued.release()

    def reclaim(self, job: JobEntry) -> None:
        """Reserve the paths that a job of an earlier run has planned."""
        for _, path in job.facts.planned:
            self._owners.setdefault(caseless(path), job.id)

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
            except MVSepError as error:
                if job.state is JobState.DONE:
                    self.registry.apply(job, JobEvent.FAILED, error=error)

    async def download(self, job: JobEntry, target: Target, *, mirror: bool = False) -> list[Path]:
        """Download the results of a finished job and return their paths; calls for the same job take turns.

        `mirror`: download from the service's mirror, which costs a credit unless all files are complete.
        """
        check_layout(target.layout)
        if self.confirm is not None:
            await self.confirm(job.id)
        async with self._jobs.for_key(job.id):
            with CancelScope() as scope:
                self._scopes[job.id] = scope
                try:
                    return await self._download(job, target, mirror)
                finally:
                    del self._scopes[job.id]
        raise JournalError(f"job {job.id} was taken over by another process of this account", job=job.id)

    def give_up(self, job: JobEntry) -> None:
        """End the download of a job that is another client's now, and remove its unfinished files."""
        if job.id in self._scopes:
            self._scopes[job.id].cancel()

    async def _download(self, job: JobEntry, target: Target, mirror: bool) -> list[Path]:
        separation = job.facts.separation
        assert separation is not None
        try:
            files = chosen(separation, target.stems, job=job.id)
        except InvalidRequestError as error:
            raise _with_command(error, job) from None
        if not files:
            raise DownloadError(
                f"the service lists no files for job {job.id}: they may have been deleted there",
                job=job.id,
                hash=separation.hash,
            )
        planned = await self._plan(job, files, target, song_of(job.request, separation))
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
            if not succeeded:
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

    async def _plan(self, job: JobEntry, files: list[OutputFile], target: Target, song: str) -> list[PlannedFile]:
        """Choose the paths, one job at a time, so that two jobs get different ones."""
        root = Path(target.directory)

        def plan() -> list[PlannedFile]:
            limit = name_limit(root)
            planned = plan_paths(
                files,
                target,
                song=song,
                earlier=job.facts.planned,
                complete=job.facts.paths,
                taken=lambda path: self._is_taken(path, job, target),
                exists=lambda path: path.exists() or path.is_symlink() or is_taken(root, path),
                name_limit=NAME_LIMIT if limit is None else max(min(NAME_LIMIT, limit - _SUFFIX_ROOM), _SUFFIX_ROOM),
            )
            _remove_leftovers(planned, root)
            return planned

        async with self._planning:
            try:
                planned = await in_thread(plan)
            except (OSError, ValueError) as error:
                raise _with_command(
                    DownloadError(f"the folder {target.directory!r} cannot be used: {os_reason(error)}"), job
                ) from None
            for file in planned:
                self._own(job, file.path)
        return planned

    async def _next_path(self, job: JobEntry, file: PlannedFile, target: Target, failed: Path) -> Path:
        """Return the path to use instead of one that another process or program has taken since it was planned."""
        owned = {caseless(path) for _, path in job.facts.planned}

        def taken(path: Path) -> bool:
            return caseless(path) in owned or self._is_taken(path, job, target)

        async with self._planning:
            path = await in_thread(lambda: next_free(file.wanted, taken))
            self._own(job, path)
        planned = tuple(
            (name, path if (name, known) == (file.file.name, failed) else known) for name, known in job.facts.planned
        )
        self.registry.refine(job, planned=planned)
        await self._record_plan(job)
        return path

    async def _record_plan(self, job: JobEntry) -> None:
        """Write to the journal that the planned files are this job's, so that it is known even after a power cut.

        While a shared journal is out of reach, the download goes on: only after a crash would it get other names.
        """
        try:
            await self.registry.journal.flush(synced=True)
        except JournalError as error:
            if self.confirm is None:
                raise
            logger.info("the planned files of job %s are not in the journal yet: %s", job.id, error)

    def _is_taken(self, path: Path, job: JobEntry, target: Target) -> bool:
        """Return whether another job, process or file has the path. Blocks."""
        return self._is_reserved(path, job, target) or is_taken(
            Path(target.directory), path, overwrite=target.overwrite
        )

    def _is_reserved(self, path: Path, job: JobEntry, target: Target) -> bool:
        """Return whether another job is going to write the path. After it has, the existing file blocks the path.

        If files may be overwritten, only the paths of downloads in progress are reserved.
        """
        key = caseless(path)
        other = self.registry.jobs.get(self._owners.get(key, job.id))
        if other is None or other is job:
            return False
        if target.overwrite:
            return other.state is JobState.DOWNLOADING
        return key not in map(caseless, other.facts.paths)

    def _own(self, job: JobEntry, path: Path) -> None:
        """Record that a path belongs to this job, and remove it from the job that owned it before."""
        key = caseless(path)
        before = self.registry.jobs.get(self._owners.get(key, job.id))
        self._owners[key] = job.id
        if before is not None and before is not job:
            self.registry.refine(
                before,
                paths=tuple(known for known in before.facts.paths if caseless(known) != key),
                planned=tuple((name, known) for name, known in before.facts.planned if caseless(known) != key),
            )

    async def _fetch_all(self, job: JobEntry, planned: list[PlannedFile], target: Target) -> dict[int, Path]:
        """Download the missing files at the same time and return their paths; if one fails, the others continue."""
        total = sum(file.file.bytes or file.file.size_bytes or 0 for file in planned if not file.complete)
        tally = _Tally(self.registry, job, total)
        errors: list[MVSepError] = []
        paths: dict[int, Path] = {}

        async def fetch_one(index: int, file: PlannedFile) -> None:
            async with _Slot(self._files) as slot:
                try:
                    paths[index] = await self._fetch(
                        job, file, target, slot, lambda received: tally.count(index, received)
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
        self, job: JobEntry, file: PlannedFile, target: Target, slot: _Slot, on_bytes: Callable[[int], None]
    ) -> Path:
        began = self.clock()
        fetched = await fetch(
            self.http,
            file.file.url,
            file.path,
            root=Path(target.directory),
            size=file.file.bytes or None,
            overwrite=target.overwrite,
            candidates=file.candidates,
            on_bytes=on_bytes,
            renew=lambda: self._renew(job, file.file),
            next_path=lambda failed: self._next_path(job, file, target, failed),
            confirm=None if self.confirm is None else partial(self.confirm, job.id),
            keeps=lambda: not self.registry.is_elsewhere(job),
            on_retry=lambda reason: self.registry.emit(Retried("download", f"{file.path.name}: {reason}", job.id)),
            patience=self.patience,
            may_be_private=self.may_be_private,
            rate_limit=self.rate_limit,
            clock=self.clock,
            sleep=lambda seconds: slot.release_while(self.sleep, seconds * self.time_scale),
        )
        path = fetched.path
        self.registry.refine(job, paths=(*(known for known in job.facts.paths if known != path), path))
        self.registry.emit(Downloaded(job.id, path, fetched.size, fetched.received, self.clock() - began))
        return path

    async def _at_mirror(self, job: JobEntry, planned: list[PlannedFile]) -> list[PlannedFile]:
        """Return the planned files with links to the service's mirror. Each call costs a credit."""
        separation = job.facts.separation
        assert separation is not None
        status = await self.separations.get(separation.hash, host=job.facts.host, mirror=True)
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
        status = await self.separations.get(separation.hash, host=job.facts.host)
        if status.separation is not None:
            for fresh in status.separation.files:
                if fresh.name == file.name and fresh.stem == file.stem:
                    self.registry.refine(job, separation=status.separation)
                    return fresh.url
        raise DownloadError(
            f"{file.name} is no longer at the service (job {separation.hash}): its results were deleted or expired",
            job=job.id,
            hash=separation.hash,
        )


def _remove_leftovers(planned: list[PlannedFile], root: Path) -> None:
    """Remove unfinished files beside complete ones, left by a process that died between its last steps."""
    for file in planned:
        for path in (file.path, *file.candidates) if file.complete else file.candidates:
            with suppress(OSError):  # another process may be writing there, or the folder is read-only
                remove_leftovers(root, path)


def _with_command(error: MVSepError, job: JobEntry) -> MVSepError:
    """Return the error with the job's hash and the command that downloads its results."""
    found = error.of(job.id, job.hash)
    found.message = f"{error.message}. The job is done and paid for: `mvsep-async download {job.hash}` fetches it"
    return found


@define(eq=False)
class _Slot:
    """One of the `FILES_AT_ONCE` places for downloads, released while its file waits for a retry."""

    _limiter: CapacityLimiter
    _held: bool = False

    async def __aenter__(self) -> Self:
        await self._acquire()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._release()

    async def release_while(self, sleep: Callable[[float], Awaitable[None]], seconds: float) -> None:
        """Sleep without the slot, then wait for one."""
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
