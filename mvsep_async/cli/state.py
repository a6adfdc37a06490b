"""What earlier commands have left: the jobs of journals, and lists in the state folder, a JSON object a line."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio

from mvsep_async.cli.config import CommandConfig
from mvsep_async.cli.config_file import state_folder
from mvsep_async.jobs.journal import Record
from mvsep_async.postgres_url import JournalAddress, PostgresURL

__all__ = ["add_entry", "read_entries", "read_journal", "state_list"]


async def read_journal(journal: JournalAddress | None, config: CommandConfig) -> Sequence[Record]:
    """Return the jobs of a journal, oldest first, also while another command uses it; none if it does not exist."""
    if isinstance(journal, PostgresURL):
        from mvsep_async.postgres.account import open_account

        async with open_account(journal, config.token, str(config.host.main)) as tables:
            return await tables.records()
    from mvsep_async.journal.sqlite import peek_journal

    if journal is None or not await anyio.Path(journal).exists():
        return ()
    return await peek_journal(journal)


def state_list(config: CommandConfig, name: str) -> Path:
    """Return the path of the account's list of this name, to which any number of commands may add."""
    return state_folder() / name / f"{config.account}.jsonl"


def add_entry(path: Path, entry: Mapping[str, object]) -> None:
    """Add an entry. Without a home folder or room on the disk, nothing is added: the lists are a convenience."""
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        line = json.dumps(dict(entry)) + "\n"
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            if _is_cut(file):
                line = "\n" + line
            os.write(file, line.encode())  # in one piece, since two commands may do so at once
        finally:
            os.close(file)


def read_entries(path: Path) -> Iterator[Mapping[str, Any]]:
    """Yield the entries, oldest first, without lines that a full disk or a power failure has damaged."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError:
        return
    for line in lines:
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(entry, dict):
            yield entry


def _is_cut(file: int) -> bool:
    """Tell whether the last line of a file has no end."""
    size = os.fstat(file).st_size
    if size == 0:
        return False
    os.lseek(file, size - 1, os.SEEK_SET)
    return os.read(file, 1) != b"\n"
