"""What was fetched from jobs of other journals: the same command again does not fetch it a second time."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from anyio import to_thread
from attrs import frozen

from mvsep_async.cli.config import CommandConfig
from mvsep_async.cli.config_file import state_folder
from mvsep_async.cli.job_ids import record_label
from mvsep_async.cli.records import read_journal
from mvsep_async.naming import fill, song_name

__all__ = ["Fetch", "fetched_before", "remember_fetched"]


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


async def remember_fetched(config: CommandConfig, fetch: Fetch, files: Sequence[Path]) -> None:
    """Remember files that were fetched, with their sizes and times."""

    def remember() -> None:
        path = _list(config)
        # The list is a convenience: stems are fetched without a home folder, too.
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            line = json.dumps({"fetch": fetch.key, "files": [[os.fspath(one), *_state(one)] for one in files]}) + "\n"
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                os.write(file, line.encode())  # in one piece, since two commands may do so at once
            finally:
                os.close(file)

    await to_thread.run_sync(remember)


def _find(path: Path, fetch: Fetch) -> tuple[Path, ...]:
    try:
        lines = path.read_text("utf-8").splitlines()
    except OSError:
        return ()
    for line in reversed(lines):
        with suppress(ValueError, TypeError, KeyError, OSError):  # a line that was cut by a power failure
            entry = json.loads(line)
            if entry["fetch"] == fetch.key and all(_state(Path(name)) == state for name, *state in entry["files"]):
                return tuple(Path(name) for name, *_ in entry["files"])
    return ()


def _state(path: Path) -> list[int]:
    found = path.stat()
    return [found.st_size, found.st_mtime_ns]


def _all_exist(files: Sequence[Path]) -> bool:
    return all(path.is_file() for path in files)


def _list(config: CommandConfig) -> Path:
    return state_folder() / "fetched" / f"{config.account}.jsonl"
