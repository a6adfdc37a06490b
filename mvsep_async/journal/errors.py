"""Make the `JournalError` for whatever is wrong with a journal file."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from mvsep_async.errors import JournalError

__all__ = ["damaged", "explained", "explained_errors", "gone", "in_use", "moved", "newer", "not_a_journal"]

_BUSY: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_DAMAGED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_PRIMARY: Final = 0xFF
"""The bits of an extended SQLite result code that hold the primary one."""


def explained(path: Path, error: OSError | sqlite3.Error) -> JournalError:
    """Return the `JournalError` for an error of the system or of SQLite."""
    if isinstance(error, OSError):
        return JournalError(f"the journal {path} cannot be used: {_reason(error)}; {_requirements(path)}")
    code = getattr(error, "sqlite_errorcode", 0) & _PRIMARY
    if code in _DAMAGED:
        return damaged(path, str(error))
    if code in _BUSY:
        return JournalError(
            f"the journal {path} is being changed by another program, such as an sqlite3 shell or a backup: end it and "
            "try again"
        )
    if code == sqlite3.SQLITE_FULL:
        return JournalError(
            f"the journal {path} could not be written: the disk is full; free some space, unsaved changes are kept and "
            "written then"
        )
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        return JournalError(f"the journal {path} cannot be written: {error}; {_requirements(path)}")
    return JournalError(f"the journal {path} could not be read or written: {error}; check its disk")


@contextmanager
def explained_errors(path: Path) -> Iterator[None]:
    """Turn the errors of the system and of SQLite into `JournalError`."""
    try:
        yield
    except UnicodeDecodeError as error:  # from sqlite3, for text that is not UTF-8
        raise damaged(path, str(error)) from error
    except (OSError, sqlite3.Error) as error:
        raise explained(path, error) from error


def damaged(path: Path, detail: str) -> JournalError:
    """Return the error for a journal that is damaged."""
    name, detail = path.name, " ".join(detail.split())
    return JournalError(
        f"the journal {path} is damaged ({detail}). It was not changed, and no new one was started, which could pay "
        f"for its songs again. Restore a copy of it, or move it away together with {name}-wal and {name}.spool and try "
        f"`sqlite3 {name} .recover`; `mvsep-async history` lists the jobs at the service"
    )


def not_a_journal(path: Path, detail: str) -> JournalError:
    """Return the error for a file that is not a journal."""
    return JournalError(f"{path} is not a journal: {detail}. It was not changed; give another path")


def newer(path: Path, version: int, ours: int) -> JournalError:
    """Return the error for a journal written by a later release."""
    return JournalError(
        f"the journal {path} was written by a newer mvsep-async (table version {version}, this one knows {ours}): "
        "upgrade mvsep-async, or give another path"
    )


def moved(path: Path) -> JournalError:
    """Return the error for a journal whose jobs were moved to another one."""
    return JournalError(
        f"the jobs of the journal {path} were moved by `mvsep-async journal copy`, or that was interrupted: use the "
        "journal that they were moved to, or run the same command again"
    )


def gone(path: Path) -> JournalError:
    """Return the error for a journal that was removed or replaced while it was open."""
    return JournalError(
        f"the journal {path} was removed or replaced while it was in use: put it back, or its songs may be paid for "
        "again"
    )


def in_use(path: Path, pid: int | None, own: int) -> JournalError:
    """Return the error for a journal that another client has locked."""
    holder = "another process" if pid is None else "another client of this process" if pid == own else f"process {pid}"
    return JournalError(
        f"the journal {path} is in use by {holder}, and a journal has one client at a time. Wait for it, stop it, or "
        "give this client another path; `mvsep-async jobs` can show the journal meanwhile"
    )


def _reason(error: OSError) -> str:
    return error.strerror or str(error)


def _requirements(path: Path) -> str:
    return f"it needs a folder on a local disk where files beside it can be written ({path.name}-wal, {path.name}.lock)"
