"""What went wrong with a journal, in words that say what to do."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final

from mvsep_async.errors import JournalError

__all__ = ["damaged", "explained", "gone", "in_use", "newer", "not_a_journal"]

_BUSY: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_DAMAGED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_PRIMARY: Final = 0xFF
"""The part of SQLite's extended result codes that is the plain one."""


def explained(path: Path, error: OSError | sqlite3.Error) -> JournalError:
    """Return the `JournalError` for what the system or SQLite said."""
    if isinstance(error, OSError):
        return JournalError(f"the journal {path} cannot be used: {_reason(error)}; {_elsewhere(path)}")
    code = getattr(error, "sqlite_errorcode", 0) & _PRIMARY
    if code in _DAMAGED:
        return damaged(path, str(error))
    if code in _BUSY:
        return JournalError(
            f"the journal {path} is being changed by another program (an sqlite3 shell, a backup): end that, try again"
        )
    if code == sqlite3.SQLITE_FULL:
        return JournalError(
            f"the journal {path} could not be written: the disk is full; make room, what was noted is tried again"
        )
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        return JournalError(f"the journal {path} cannot be written: {error}; {_elsewhere(path)}")
    return JournalError(f"the journal {path} could not be read or written: {error}; see whether its disk is in order")


def damaged(path: Path, detail: str) -> JournalError:
    """Return the error for a file that is, or was, a journal and cannot be trusted."""
    name, detail = path.name, " ".join(detail.split())
    return JournalError(
        f"the journal {path} is damaged ({detail}). It is left as it is, and no new one is begun: that could pay for "
        f"its songs again. Put back a copy of it, or move it away together with {name}-wal and {name}.spool, and save "
        f"what can be with `sqlite3 {name} .recover`; what is at the service is listed by `mvsep-async history`"
    )


def not_a_journal(path: Path, detail: str) -> JournalError:
    """Return the error for what cannot have been written by us."""
    return JournalError(f"{path} is not a journal, or is one no more: {detail}. Nothing was changed; give another path")


def newer(path: Path, version: int, ours: int) -> JournalError:
    """Return the error for a journal of a later release."""
    return JournalError(
        f"the journal {path} was written by a newer mvsep-async (its tables have version {version}, we know {ours}): "
        "upgrade mvsep-async, or give another path"
    )


def gone(path: Path) -> JournalError:
    """Return the error for a file that lost its name while it was open."""
    return JournalError(
        f"the journal {path} was removed or replaced while it was in use: put it back, or what it held is paid again"
    )


def in_use(path: Path, pid: int | None, own: int) -> JournalError:
    """Return the error for a journal that another client has open."""
    holder = "another process" if pid is None else "another client of this process" if pid == own else f"process {pid}"
    return JournalError(
        f"the journal {path} is in use by {holder}: one client a journal. Wait for it, stop it, or give this one "
        "another path; `mvsep-async jobs` can look at it meanwhile"
    )


def _reason(error: OSError) -> str:
    return error.strerror or str(error)


def _elsewhere(path: Path) -> str:
    return (
        f"it needs a folder on a local disk in which it may write files beside it ({path.name}-wal, {path.name}.lock)"
    )
