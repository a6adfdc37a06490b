"""The folders that `library` keeps up to date: remembered for each account, so that `jobs` shows their songs too."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from itertools import groupby
from pathlib import Path, PurePath

from anyio import to_thread
from attrs import frozen

from mvsep_async.cli.config import CommandConfig
from mvsep_async.cli.known_jobs import KnownJob, mirrored
from mvsep_async.cli.state import add_entry, read_entries, read_journal, state_list
from mvsep_async.cli.terminal import terminal
from mvsep_async.errors import JournalError
from mvsep_async.http.call import Json
from mvsep_async.jobs.lifecycle import JobState
from mvsep_async.library.manifest import Manifest
from mvsep_async.library.records import SeparatedSong
from mvsep_async.library.run import MANIFEST
from mvsep_async.recipes.run import HIDDEN

__all__ = [
    "JOURNAL",
    "KnownLibrary",
    "finished_jobs",
    "known_libraries",
    "library_jobs",
    "remember_library",
]

JOURNAL = f"{HIDDEN}/journal.sqlite"
"""Path of a library's journal below its target folder: it has the jobs that are not over."""


@frozen
class KnownLibrary:
    """A library of the account. `options`: those that its last run had, by their names in Python; `None` if unknown."""

    target: Path
    options: Mapping[str, Json] | None = None

    @property
    def journal(self) -> Path:
        """The library's own journal."""
        return self.target / JOURNAL


async def remember_library(config: CommandConfig, target: Path, options: Mapping[str, Json] | None) -> None:
    """Add a library's target folder to those of the account, with what is needed to finish its jobs later."""

    def remember() -> None:
        library = KnownLibrary(target.absolute(), options)
        if library not in known_libraries(config):
            add_entry(_list(config), {"target": os.fspath(library.target), "options": options})

    await to_thread.run_sync(remember)


async def finished_jobs(config: CommandConfig) -> list[KnownJob]:
    """Return the finished jobs of the account's libraries, oldest first."""

    def read() -> list[KnownJob]:
        found: list[KnownJob] = []
        for library in known_libraries(config):
            path = library.target / MANIFEST
            if not path.exists():
                continue  # removed since, or on a drive that is not there
            try:
                with closing(Manifest.open_read_only(path)) as manifest:
                    found += [job for song in manifest.songs() for job in _jobs_of(song, library)]
            except JournalError as error:
                terminal().note(str(error))
        return sorted(found, key=lambda job: job.at or 0.0)

    return await to_thread.run_sync(read)


async def library_jobs(config: CommandConfig) -> list[KnownJob]:
    """Return the finished jobs of the account's libraries, and then those in their journals."""
    found = await finished_jobs(config)
    finished = {job.hash for job in found}
    for library in await to_thread.run_sync(known_libraries, config):
        jobs = map(KnownJob.of_record, await read_journal(library.journal, config))
        found += [job for job in jobs if job.hash not in finished]
    return found


def _jobs_of(song: SeparatedSong, library: KnownLibrary) -> Iterator[KnownJob]:
    source = str((library.options or {}).get("source", ""))
    for hash, files in groupby(song.files, key=lambda file: file.hash):
        if hash is not None:
            yield KnownJob(
                hash=hash,
                source=song.source,
                path=PurePath(source, song.source),
                folder=str(mirrored(PurePath(song.source).parent)),
                algorithm=song.method_name,
                state=JobState.FINISHED.value,
                at=song.finished,
                files=tuple(library.target / file.path for file in files),
            )


def known_libraries(config: CommandConfig) -> Sequence[KnownLibrary]:
    """Return the account's libraries, each as it was last separated."""
    found: dict[Path, KnownLibrary] = {}
    for entry in read_entries(_list(config)):
        target, options = entry.get("target"), entry.get("options")
        if isinstance(target, str) and (options is None or isinstance(options, dict)):
            found[Path(target)] = KnownLibrary(Path(target), options)
    return tuple(found.values())


def _list(config: CommandConfig) -> Path:
    return state_list(config, "libraries")
