"""What was fetched from jobs of other journals: the same command again does not fetch it a second time."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from anyio import to_thread
from attrs import evolve, frozen

from mvsep_async.cli.config import CommandConfig
from mvsep_async.cli.known_jobs import record_label
from mvsep_async.cli.state import add_entry, read_entries, read_journal, state_list
from mvsep_async.jobs.job import Job
from mvsep_async.naming import fill, song_name

__all__ = ["Fetch", "fetch_stems", "fetched_before"]


@frozen
class Fetch:
    """One job's stems in one folder. `layout`: with the name of the song filled in; `stems`: `None` for all."""

    hash: str
    folder: Path
    layout: str
    stems: tuple[str, ...] | None

    @property
    def key(self) -> list[object]:
        """What tells it from other fetches, as it is stored."""
        return [self.hash, os.fspath(self.folder.absolute()), self.layout, self.stems and sorted(self.stems)]


async def fetched_before(config: CommandConfig, fetch: Fetch) -> tuple[Path, ...]:
    """Return the files of an earlier fetch, none if there was none or a file is not as it was written then."""
    for record in await read_journal(config.journal_path, config):
        target, files = record.request.target, record.facts.paths
        if record.facts.hash == fetch.hash and target is not None and files:
            layout = fill(target.layout, {"song": song_name(record_label(record))})
            made = Fetch(fetch.hash, Path(target.directory), layout, target.stems)
            if made.key == fetch.key and await to_thread.run_sync(_all_exist, files):
                return tuple(files)
    return await to_thread.run_sync(_find, _list(config), fetch)


async def fetch_stems(config: CommandConfig, job: Job, fetch: Fetch, *, overwrite: bool, mirror: bool = False) -> None:
    """Download a job's stems, and remember their files with their sizes and times."""
    files = await job.download(fetch.folder, stems=fetch.stems, layout=fetch.layout, overwrite=overwrite, mirror=mirror)
    key = evolve(fetch, hash=job.hash or fetch.hash).key

    def remember() -> None:
        with suppress(OSError):  # a file was removed meanwhile
            add_entry(_list(config), {"fetch": key, "files": [[os.fspath(one), *_state(one)] for one in files]})

    await to_thread.run_sync(remember)


def _find(path: Path, fetch: Fetch) -> tuple[Path, ...]:
    for entry in reversed(list(read_entries(path))):
        if entry.get("fetch") == fetch.key:
            with suppress(ValueError, TypeError, KeyError, OSError):  # it is damaged, or a file is gone
                files = [(Path(name), state) for name, *state in entry["files"]]
                if all(_state(file) == state for file, state in files):
                    return tuple(file for file, _ in files)
    return ()


def _state(path: Path) -> list[int]:
    found = path.stat()
    return [found.st_size, found.st_mtime_ns]


def _all_exist(files: Sequence[Path]) -> bool:
    return all(path.is_file() for path in files)


def _list(config: CommandConfig) -> Path:
    return state_list(config, "fetched")
