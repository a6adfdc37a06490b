"""Bringing the stems of finished jobs to disk."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import anyio
import httpx
from anyio import CapacityLimiter
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from attrs import define, field

from mvsep_async.concurrency import in_thread
from mvsep_async.download.fetch import fetch
from mvsep_async.download.part_file import is_written, sweep
from mvsep_async.download.paths import PlannedFile, chosen, path_key, plan_paths, song_of
from mvsep_async.endpoints.separations import SeparationsAPI
from mvsep_async.errors import DownloadError, JournalError, MVSepError
from mvsep_async.jobs.job import Job
from mvsep_async.jobs.lifecycle import JobEvent, JobState
from mvsep_async.jobs.progress import Progress
from mvsep_async.jobs.registry import JobRegistry
from mvsep_async.jobs.request import Target
from mvsep_async.models.separation import OutputFile
from mvsep_async.models.stage import Stage
from mvsep_async.naming import check_layout
from mvsep_async.observe.events import Downloaded, Retried

__all__ = ["FILES_AT_ONCE", "JOBS_AT_ONCE", "Downloader"]

logger = logging.getLogger("mvsep_async")

JOBS_AT_ONCE: Final = 4
"""Jobs whose stems are fetched at once because they were asked for in advance; the rest waits in line."""

FILES_AT_ONCE: Final = 8
"""Files fetched at once, all jobs together: enough to fill a line, few enough for small buffers."""


@define(eq=False)
class Downloader:
    """Downloads, each in the task of whoever asked; those asked for in advance in a few tasks of its own."""

    registry: JobRegistry
    http: httpx.AsyncClient
    separations: SeparationsAPI
    patience: float
    time_scale: float = 1.0
    _files: CapacityLimiter = field(factory=lambda: CapacityLimiter(FILES_AT_ONCE))
    _claims: dict[str, str] = field(factory=dict)
    _locks: dict[str, anyio.Lock] = field(factory=dict)
    _planning: anyio.Lock = field(factory=anyio.Lock)
    _line: tuple[MemoryObjectSendStream[Job], MemoryObjectReceiveStream[Job]] = field(
        factory=lambda: anyio.create_memory_object_stream[Job](float("inf"))
    )

    def put(self, job: Job) -> None:
        """Fetch the stems of `job`, which is done, to the target that was given with it."""
        self._line[0].send_nowait(job)

    def reclaim(self, job: Job) -> None:
        """Keep the paths that a job of an earlier run has planned from being given to another one."""
        for _, path in job.facts.planned:
            self._claims.setdefault(path_key(path), job.id)

    async def run(self) -> None:
        """Fetch what was asked for in advance, a few jobs at a time."""
        with self._line[0], self._line[1]:
            async with anyio.create_task_group() as tasks:
                for _ in range(JOBS_AT_ONCE):
                    tasks.start_soon(self._serve)

    async def _serve(self) -> None:
        while True:
            job = await self._line[1].receive()
            target = job.request.target
            if target is None or job.state is not JobState.DONE:
                continue
            try:
                await self.download(job, target)
            except MVSepError as error:
                if job.state is JobState.DONE:
                    self.registry.apply(job, JobEvent.FAILED, error=error)

    async def download(self, job: Job, target: Target) -> list[Path]:
        """Fetch the stems of a job that is done; several calls for one job take turns."""
        check_layout(target.layout)
        lock = self._locks.setdefault(job.id, anyio.Lock())
        try:
            async with lock:
                return await self._download(job, target)
        finally:
            if not lock.statistics().tasks_waiting and not lock.locked():
                self._locks.pop(job.id, None)

    async def _download(self, job: Job, target: Target) -> list[Path]:
        separation = job.facts.separation
        assert separation is not None
        files = chosen(separation, target.stems, job=job.id)
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
        there = len(paths) == len(planned)
        complete = False
        try:
            if not there:
                # Safe from a loss of power, or the files would not be known again as this job's.
                await self.registry.journal.flush(synced=True)
                paths |= await self._fetch_all(job, planned, target)
            complete = True
        finally:
            if not complete:
                self.registry.apply(job, JobEvent.DOWNLOAD_STOPPED)
        found = [paths[number] for number in range(len(planned))]
        all_paths = (*(path for path in job.facts.paths if path not in found), *found)
        if there:
            self.registry.apply(job, JobEvent.DOWNLOADED, paths=all_paths)
        else:
            await self._downloaded(job, all_paths)
        return found

    async def _downloaded(self, job: Job, paths: tuple[Path, ...]) -> None:
        """Have it on disk that these files are the job's before anybody may change them, or they could not be told."""
        try:
            await self.registry.commit(job, JobEvent.DOWNLOADED, paths=paths)
        except JournalError as error:
            logger.error("job %s is downloaded, but the journal does not know it yet: %s", job.id, error)

    async def _plan(self, job: Job, files: list[OutputFile], target: Target, song: str) -> list[PlannedFile]:
        """Choose the paths; one job at a time, or two would choose the same."""
        async with self._planning:
            try:
                planned = await in_thread(
                    lambda: plan_paths(
                        files,
                        target,
                        song=song,
                        earlier=job.facts.planned,
                        complete=job.facts.paths,
                        taken=lambda path: self._taken(path, job, target),
                        exists=lambda path: path.exists() or path.is_symlink() or is_written(path),
                    )
                )
                await in_thread(_sweep, planned, target)
            except (OSError, ValueError) as error:
                raise DownloadError(
                    f"the folder {target.directory!r} cannot be used: {error}", job=job.id, hash=job.hash
                ) from None
            for file in planned:
                self._claims[path_key(file.path)] = job.id
                self.registry.journal.file(job.id, file.path, size=None, safe=0)
        return planned

    def _taken(self, path: Path, job: Job, target: Target) -> bool:
        """Tell whether a path is another job's: for good, or while it is written where files may be replaced."""
        owner = self._claims.get(path_key(path), job.id)
        if owner == job.id or not target.overwrite:
            return owner != job.id
        other = self.registry.jobs.get(owner)
        return other is not None and other.state is JobState.DOWNLOADING

    async def _fetch_all(self, job: Job, planned: list[PlannedFile], target: Target) -> dict[int, Path]:
        """Fetch what is not there, side by side, and return where it is; when one fails, the others still go on."""
        announced = sum(file.file.size_bytes or 0 for file in planned if not file.complete)
        tally = _Tally(self.registry, job, announced)
        errors: list[MVSepError] = []
        paths: dict[int, Path] = {}

        async def fetch_one(index: int, file: PlannedFile) -> None:
            async with self._files:
                try:
                    paths[index] = await self._fetch(job, file, target, lambda here: tally.count(index, here))
                except MVSepError as error:
                    errors.append(error.of(job.id, job.hash))

        async with anyio.create_task_group() as tasks:
            for index, file in enumerate(planned):
                if not file.complete:
                    tasks.start_soon(fetch_one, index, file)
        if errors:
            raise errors[0]
        return paths

    async def _fetch(self, job: Job, file: PlannedFile, target: Target, on_bytes: Callable[[int], None]) -> Path:
        began = anyio.current_time()
        fetched = await fetch(
            self.http,
            file.file.url,
            file.path,
            root=Path(target.directory),
            overwrite=target.overwrite,
            perhaps=file.perhaps,
            on_bytes=on_bytes,
            renew=self._renewal(job, file.file),
            on_retry=lambda why: self.registry.emit(Retried("download", f"{file.path.name}: {why}", job.id)),
            patience=self.patience,
            sleep=lambda seconds: anyio.sleep(seconds * self.time_scale),
        )
        path = fetched.path
        self.registry.journal.file(job.id, path, size=fetched.size, safe=fetched.size)
        self.registry.refine(job, paths=(*(known for known in job.facts.paths if known != path), path))
        seconds = anyio.current_time() - began
        self.registry.emit(Downloaded(job.id, path, fetched.size, fetched.received, seconds))
        return path

    def _renewal(self, job: Job, file: OutputFile) -> Callable[[], Awaitable[str]]:
        async def renew() -> str:
            """Ask the service for a fresh link to the same file."""
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

        return renew


def _sweep(planned: list[PlannedFile], target: Target) -> None:
    """Remove what an earlier process, dying, left beside names that are given, where nothing is continued any more."""
    for file in planned:
        for path in (file.path, *file.perhaps) if file.complete else file.perhaps:
            with suppress(OSError):  # somebody else may be writing there, or the folder may not be changed any more
                sweep(Path(target.directory), path)


@define(eq=False)
class _Tally:
    """Adds up the bytes of one job's files, and shows the sum."""

    registry: JobRegistry
    job: Job
    announced: int
    """Bytes that the service says there are to fetch: rounded to 10 KB, and not always told."""
    _here: dict[int, int] = field(factory=dict)

    def count(self, index: int, here: int) -> None:
        self._here[index] = here
        if self.job.state is JobState.DOWNLOADING:
            received = sum(self._here.values())
            total = max(self.announced, received)
            self.registry.show(self.job, Progress(stage=Stage.DOWNLOADING, bytes_received=received, bytes_total=total))
