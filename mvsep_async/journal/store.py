"""An open journal file, for blocking calls from one thread at a time."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Final

from attrs import define, field

from mvsep_async.jobs.journal import JobDuration
from mvsep_async.journal.changes import PendingChanges
from mvsep_async.journal.errors import explained, explained_errors, gone
from mvsep_async.journal.rows import FACT_COLUMNS, REQUEST_COLUMNS

__all__ = ["Store", "check_still_there"]

_SLACK_PAGES: Final = 256
"""Free pages (1 MiB) that may stay in the file after pruning."""

_COLUMNS: Final = ("number", *REQUEST_COLUMNS)
_ADD: Final = f"INSERT INTO jobs ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"  # noqa: S608
_CHANGE: Final = f"UPDATE jobs SET {', '.join(f'{name} = ?' for name in FACT_COLUMNS)} WHERE number = ?"  # noqa: S608
_AMEND: Final = f"UPDATE jobs SET {', '.join(f'{name} = ?' for name in REQUEST_COLUMNS)} WHERE number = ?"  # noqa: S608
_ADD_DURATION: Final = "INSERT INTO durations (algorithm, size, waiting, processing) VALUES (?, ?, ?, ?)"
_KEPT_DURATIONS: Final = 64
"""Durations kept for each algorithm: more than the estimates use."""
_DROP_DURATIONS: Final = """
    DELETE FROM durations WHERE algorithm IS ? AND number NOT IN
    (SELECT number FROM durations WHERE algorithm IS ? ORDER BY number DESC LIMIT ?)
"""
_SPOOLED: Final = "SELECT source FROM jobs WHERE number = ? AND source_kind = 'spooled'"
_FORGET: Final = "DELETE FROM jobs WHERE number = ?"


@define(eq=False)
class Store:
    """A journal that is open and locked. Every method blocks, and raises `JournalError` for anything wrong with it.

    `spool`: the folder of its spooled songs. `version`: that of its tables. `numbers`: the row number of each job; they
    are kept in memory, at 80 bytes a job, since an index of ids would double what a submit writes. `file`: the status
    of the locked file. `resources`: what to close.
    """

    path: Path
    spool: Path
    durations: Sequence[JobDuration]
    """The durations of recent jobs, the oldest first, as they were when the journal was opened."""
    _version: int
    _connection: sqlite3.Connection
    _file: os.stat_result
    _numbers: dict[str, int]
    _resources: ExitStack
    _highest: int = field(init=False)
    _synced: bool | None = field(default=None, init=False)
    _unneeded: list[str] = field(factory=list, init=False)
    """Songs of pruned jobs in the spool folder."""

    def __attrs_post_init__(self) -> None:
        self._highest = max(self._numbers.values(), default=0)

    def write(self, changes: PendingChanges, *, synced: bool) -> None:
        """Write all changes or none. `synced`: they, and all changes before them, survive a loss of power."""
        connection, numbers = self._connection, self._numbers
        check_still_there(self.path, self._file)
        pruned = {job: numbers.pop(job) for job in changes.forgotten if job in numbers}
        numbers.update(zip(changes.added, count(self._highest + 1), strict=False))
        unneeded: list[str] = []
        try:
            if synced is not self._synced:
                connection.execute(f"PRAGMA synchronous = {'FULL' if synced else 'NORMAL'}")
                self._synced = synced
            if changes.single:
                # One statement is a transaction by itself: this saves a submit a tenth of its time.
                self._apply(connection, changes)
            else:
                connection.execute("BEGIN IMMEDIATE")
                unneeded = self._prune(connection, pruned.values())
                self._apply(connection, changes)
                connection.execute("COMMIT")
        except BaseException as error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            for job in changes.added:
                numbers.pop(job, None)
            numbers |= pruned
            if isinstance(error, sqlite3.Error):
                raise explained(self.path, error) from error
            raise
        self._highest += len(changes.added)
        self._unneeded += unneeded

    def _prune(self, connection: sqlite3.Connection, numbers: Iterable[int]) -> list[str]:
        """Delete jobs, and return the names of their songs in the spool folder."""
        rows = [(number,) for number in numbers]
        unneeded = [name for row in rows for (name,) in connection.execute(_SPOOLED, row)]
        connection.executemany(_FORGET, rows)
        return unneeded

    def _apply(self, connection: sqlite3.Connection, changes: PendingChanges) -> None:
        """Write all but the pruning; skip changes about pruned jobs."""
        numbers = self._numbers
        before = connection.total_changes
        if changes.added:
            connection.executemany(_ADD, ((numbers[job], *row) for job, row in changes.added.items()))
        if changes.amended:
            amended = ((*row, numbers[job]) for job, row in changes.amended.items() if job in numbers)
            connection.executemany(_AMEND, amended)
        if changes.changed:
            changed = ((*row, numbers[job]) for job, row in changes.changed.items() if job in numbers)
            connection.executemany(_CHANGE, changed)
        if changes.durations:
            connection.executemany(_ADD_DURATION, changes.durations)
            algorithms = {algorithm for algorithm, *_ in changes.durations}
            connection.executemany(
                _DROP_DURATIONS, ((algorithm, algorithm, _KEPT_DURATIONS) for algorithm in algorithms)
            )
        if connection.total_changes == before:
            # SQLite syncs its log only when something is written.
            connection.execute(f"PRAGMA user_version = {self._version}")

    @property
    def mark(self) -> int:
        """`APPLICATION_ID`, or the mark of a move: `MOVED_ID` or `FILLING_ID`."""
        (mark,) = self._connection.execute("PRAGMA application_id").fetchone()
        return int(mark)

    def set_mark(self, mark: int) -> None:
        """Set the mark; it survives a loss of power."""
        with explained_errors(self.path):
            self._connection.execute("PRAGMA synchronous = FULL")
            self._synced = True
            self._connection.execute(f"PRAGMA application_id = {mark}")

    def tidy(self) -> None:
        """Free the disk space of pruned jobs: their songs in the spool folder, and the free pages of the file."""
        with explained_errors(self.path):
            names, self._unneeded = self._unneeded, []
            for name in names:
                # A path to another folder is not a spooled song.
                if os.path.basename(name) == name:  # noqa: PTH119 -- compared as text, not as a path
                    (self.spool / name).unlink(missing_ok=True)
            if self._connection.execute("PRAGMA freelist_count").fetchone()[0] > _SLACK_PAGES:
                # As a script: `execute` would stop after freeing one page.
                self._connection.executescript("PRAGMA incremental_vacuum; PRAGMA wal_checkpoint(TRUNCATE);")

    def close(self) -> None:
        """Close the file and release the locks; closing again does nothing."""
        with explained_errors(self.path):
            self._resources.close()


def check_still_there(path: Path, file: os.stat_result) -> None:
    """Raise `JournalError` if the file was removed or replaced: SQLite would go on writing to the old one."""
    try:
        there = os.path.samestat(os.stat(path), file)  # noqa: PTH116 -- asked before each transaction
    except OSError:
        there = False
    if not there:
        raise gone(path)
