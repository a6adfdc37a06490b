"""Choose the paths of results, so that no two jobs, processes or programs write the same file."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Final

import anyio
from attrs import define, field

from mvsep_async.concurrency import in_thread
from mvsep_async.download.folder import name_limit
from mvsep_async.download.part_file import is_taken, remove_leftovers
from mvsep_async.download.paths import PlannedFile, next_free, plan_paths
from mvsep_async.download.ranges import identity
from mvsep_async.download.target import os_reason
from mvsep_async.errors import DownloadError
from mvsep_async.jobs.entry import JobEntry
from mvsep_async.jobs.lifecycle import JobState
from mvsep_async.jobs.registry import JobRegistry
from mvsep_async.jobs.request import Target
from mvsep_async.models.separation import OutputFile
from mvsep_async.naming import NAME_LIMIT, caseless

__all__ = ["PathPlanner"]

_SUFFIX_ROOM: Final = 16
"""Bytes that a file name keeps free for ` (999)` and `.part.json`."""


@define(eq=False)
class PathPlanner:
    """Plans paths on the disk as it is, for one job at a time, and remembers which job owns each path."""

    registry: JobRegistry
    _owners: dict[str, str] = field(factory=dict)
    """The id of the job that owns each path; keys are from `caseless`."""
    _planning: anyio.Lock = field(factory=anyio.Lock)

    def reclaim(self, job: JobEntry) -> None:
        """Reserve the paths that a job of an earlier run has planned."""
        for _, path in job.facts.planned:
            self._owners.setdefault(caseless(path), job.id)

    async def plan(self, job: JobEntry, files: list[OutputFile], target: Target, song: str) -> list[PlannedFile]:
        """Return the path of each file. Raises `DownloadError` if the target folder cannot be used."""
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
            _remove_leftovers(planned, root, job.facts.planned)
            return planned

        async with self._planning:
            try:
                planned = await in_thread(plan)
            except (OSError, ValueError) as error:
                raise DownloadError(f"the folder {target.directory!r} cannot be used: {os_reason(error)}") from None
            for file in planned:
                self._own(job, file.path)
        return planned

    async def replace(self, job: JobEntry, file: PlannedFile, target: Target, taken: Path) -> Path:
        """Return another path in the place of one that another process or program has taken since it was planned."""
        owned = {caseless(path) for _, path in job.facts.planned}

        def is_taken(path: Path) -> bool:
            return caseless(path) in owned or self._is_taken(path, job, target)

        async with self._planning:
            path = await in_thread(lambda: next_free(file.wanted, is_taken))
            self._own(job, path)
        planned = tuple(
            (name, path if (name, known) == (file.file.name, taken) else known) for name, known in job.facts.planned
        )
        self.registry.refine(job, planned=planned)
        return path

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


def _remove_leftovers(planned: list[PlannedFile], root: Path, earlier: Collection[tuple[str, Path]]) -> None:
    """Remove unfinished files that no download of this job continues.

    They are beside complete files, left by a process that died between its last steps, or at paths of `earlier`
    downloads, left by one that died before it learned that another process had taken the job over.
    """
    for file in planned:
        beside = {file.path, *file.candidates} if file.complete else {*file.candidates}
        others = {path for name, path in earlier if name == file.file.name and path != file.path} - beside
        for path in (*beside, *others):
            # Another process may be writing there, the folder may be read-only, or the path below another target.
            with suppress(OSError, ValueError):
                remove_leftovers(root, path, of=None if path in beside else identity(file.file.url))
