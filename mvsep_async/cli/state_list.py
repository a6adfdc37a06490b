"""Lists in the state folder, one for each account: a JSON object a line, added by any number of commands."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from mvsep_async.cli.config import CommandConfig
from mvsep_async.cli.config_file import state_folder

__all__ = ["add_entry", "read_entries", "state_list"]


def state_list(config: CommandConfig, name: str) -> Path:
    """Return the path of the account's list of this name."""
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
