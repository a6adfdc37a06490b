"""The SQLite file of a journal, for blocking calls from one thread at a time."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import Final

from mvsep_async.errors import JournalError
from mvsep_async.jobs.journal import JobDuration, Record
from mvsep_async.journal.changes import PendingChanges
from mvsep_async.journal.errors import damaged, explained, gone, in_use, moved, newer, not_a_journal
from mvsep_async.journal.lock import FileLock, LockedError
from mvsep_async.journal.rows import FACT_COLUMNS, REQUEST_COLUMNS, RowReader
from mvsep_async.journal.schema import APPLICATION_ID, FILLING_ID, MOVED_ID, STEPS, Step, migrate, version_of
from mvsep_async.sources import Spooled

__all__ = ["Store"]

_MAGIC: Final = b"SQLite format 3\0"
_CHECKPOINT_PAGES: Final = 4000
"""Pages of the write-ahead log (16 MiB) between two checkpoints: with SQLite's 1000 a submit takes a fifth longer."""
_SLACK_PAGES: Final = 256
"""Free pages (1 MiB) that may stay in the file after pruning."""
_BUSY_SECONDS: Final = 5.0
"""How long to wait for another program's lock on the database."""

_COLUMNS: Final = ("number", *REQUEST_COLUMNS)
_READ_JOBS: Final = f"SELECT {', '.join((*_COLUMNS, *FACT_COLUMNS))} FROM jobs ORDER BY number"  # noqa: S608
_ADD: Final = f"INSERT INTO jobs ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"  # noqa: S608
_CHANGE: Final = f"UPDATE jobs SET {', '.join(f'{name} = ?' for name in FACT_COLUMNS)} WHERE number = ?"  # noqa: S608
_AMEND: Final = f"UPDATE jobs SET {', '.join(f'{name} = ?' for name in REQUEST_COLUMNS)} WHERE number = ?"  # noqa: S608
_DURATION_COLUMNS: Final = "algorithm, size, waiting, processing"
_READ_DURATIONS: Final = f"SELECT {_DURATION_COLUMNS} FROM durations ORDER BY number"  # noqa: S608
_ADD_DURATION: Final = f"INSERT INTO durations ({_DURATION_COLUMNS}) VALUES (?, ?, ?, ?)"  # noqa: S608
_KEPT_DURATIONS: Final = 64
"""Durations kept for each algorithm: more than the estimates use."""
_DROP_DURATIONS: Final = """
    DELETE FROM durations WHERE algorithm IS ? AND number NOT IN
    (SELECT number FROM durations WHERE algorithm IS ? ORDER BY number DESC LIMIT ?)
"""
_SPOOLED: Final = "SELECT source FROM jobs WHERE number = ? AND source_kind = 'spooled'"
_FORGET: Final = "DELETE FROM jobs WHERE number = ?"


class Store:
    """One journal file. Every method blocks, and raises `JournalError` for anything wrong with the file."""

    def __init__(self, path: Path, spool: Path, *, steps: Sequence[Step] = STEPS, moving: bool = False) -> None:
        """`moving`: also open a journal with the mark of a move."""
        self._moving = moving
        self.path = path
        self.spool = spool
        self._steps = steps
        # Two locks: one by the name, which stays when the journal is replaced, and one on the journal itself, which
        # stays when the lock file is removed.
        self._name_lock = FileLock(path.with_name(path.name + ".lock"))
        self._file_lock = FileLock(path, pid=False)
        self._connection: sqlite3.Connection | None = None
        self._file: os.stat_result | None = None
        self._synced: bool | None = None
        self._unneeded: list[str] = []
        self.durations: list[JobDuration] = []
        # The row numbers are kept in memory, at 80 bytes a job: an index of ids would double what a submit writes.
        self._numbers: dict[str, int] = {}
        self._highest = 0

    def open(self) -> list[Record]:
        """Lock the journal, create it if there is none, and return its records in the order of submission."""
        try:
            with self._explained():
                self._prepare()
                self._check()
                connection = self._connection = self._connect("mode=rw")
                self._make_ready(connection)
                numbered = self._read(connection)
                self.durations = self._read_durations(connection)
                self._numbers = {record.request.id: number for number, record in numbered}
                self._highest = max(self._numbers.values(), default=0)
                records = [record for _, record in numbered]
                self._drop_orphans(records)
        except BaseException:
            self.close()
            raise
        return records

    def peek(self) -> list[Record]:
        """Return the records of the journal without locking or changing it."""
        with self._explained():
            try:
                self._check_file()
            except FileNotFoundError:
                raise JournalError(f"there is no journal at {self.path}") from None
            with closing(self._connect_read_only()) as connection:
                if self._known_version(connection) < len(self._steps):
                    raise JournalError(
                        f"the journal {self.path} was written by an older mvsep-async: open it once with a client"
                    )
                return [record for _, record in self._read(connection)]

    def write(self, changes: PendingChanges, *, synced: bool) -> None:
        """Write all changes or none. `synced`: they, and all changes before them, survive a loss of power."""
        connection = self._connection
        assert connection is not None
        self._check_still_there()
        numbers = self._numbers
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

    def _check_still_there(self) -> None:
        """Raise `JournalError` if the file was removed or replaced: SQLite would go on writing to the old one."""
        assert self._file is not None
        try:
            there = os.path.samestat(os.stat(self.path), self._file)  # noqa: PTH116 -- asked before each transaction
        except OSError:
            there = False
        if not there:
            raise gone(self.path)

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
            connection.execute(f"PRAGMA user_version = {len(self._steps)}")

    @property
    def mark(self) -> int:
        """`APPLICATION_ID`, or the mark of a move: `MOVED_ID` or `FILLING_ID`."""
        assert self._connection is not None
        (mark,) = self._connection.execute("PRAGMA application_id").fetchone()
        return int(mark)

    def set_mark(self, mark: int) -> None:
        """Set the mark; it survives a loss of power."""
        with self._explained():
            assert self._connection is not None
            self._connection.execute("PRAGMA synchronous = FULL")
            self._synced = True
            self._connection.execute(f"PRAGMA application_id = {mark}")

    def tidy(self) -> None:
        """Free the disk space of pruned jobs: their songs in the spool folder, and the free pages of the file."""
        with self._explained():
            names, self._unneeded = self._unneeded, []
            for name in names:
                # A path to another folder is not a spooled song.
                if os.path.basename(name) == name:  # noqa: PTH119 -- compared as text, not as a path
                    (self.spool / name).unlink(missing_ok=True)
            connection = self._connection
            assert connection is not None
            if connection.execute("PRAGMA freelist_count").fetchone()[0] > _SLACK_PAGES:
                # As a script: `execute` would stop after freeing one page.
                connection.executescript("PRAGMA incremental_vacuum; PRAGMA wal_checkpoint(TRUNCATE);")

    def close(self) -> None:
        """Close the file and release the locks; closing again does nothing."""
        connection, self._connection = self._connection, None
        try:
            if connection is not None:
                with self._explained():
                    connection.close()
        finally:
            # After SQLite's: closing any descriptor of a file releases all POSIX locks of the process on it.
            self._file_lock.release()
            self._name_lock.release()

    def _prepare(self) -> None:
        """Acquire the locks and check that the file looks like a journal; create it if there is none."""
        if not self.path.parent.exists():
            # Only the last folder is created: if more is missing, it is more likely a typing error or a missing mount.
            try:
                self.path.parent.mkdir()
            except FileNotFoundError:
                raise JournalError(
                    f"the journal {self.path} cannot be created: there is no folder {self.path.parent.parent}; "
                    "create it or correct the path"
                ) from None
        if self.path.is_dir():
            raise JournalError(f"the journal {self.path} is a folder: give the path of a file in it")
        try:
            self._name_lock.acquire()
            try:
                self._check_file()
            except FileNotFoundError:
                self._create()
            self._lock_file()
        except LockedError as error:
            raise in_use(self.path, error.pid, os.getpid()) from error

    def _lock_file(self) -> None:
        if os.name == "nt":  # where a file that is open can be neither removed nor replaced
            self._file = self.path.stat()
            return
        try:
            self._file_lock.acquire()
        except OSError:  # without `flock`, as on some network shares
            self._file = self.path.stat()
        else:
            self._file = self._file_lock.locked_file()
        self._check_still_there()
        if not _is_own(self._file, self.path.parent):
            raise JournalError(
                f"the journal {self.path} belongs to another user (uid {self._file.st_uid}) and is not trusted: give "
                "another path, or take it over with chown"
            )

    def _check_file(self) -> None:
        found = self.path.stat()
        if S_ISDIR(found.st_mode):
            raise JournalError(f"the journal {self.path} is a folder: give the path of a file in it")
        if not S_ISREG(found.st_mode):
            raise not_a_journal(self.path, "it is not a regular file")
        with self.path.open("rb") as file:
            head = file.read(len(_MAGIC))
        if not head:
            # A journal gets its name when it is complete: this one lost its content, or was never a journal.
            raise not_a_journal(self.path, "it is empty; remove it to start a new one")
        if head != _MAGIC:
            raise not_a_journal(self.path, "it is not an SQLite database")

    def _create(self) -> None:
        """Create a journal under another name and rename it, so that a killed process leaves a complete one or none."""
        log = self._beside("-wal")
        if log.exists() and log.stat().st_size:
            raise JournalError(
                f"the journal {self.path} is missing, but its {log.name} exists: put the journal back, or move that "
                "file away too"
            )
        new = self._beside(".new")
        for left in (new, self._beside(".new-wal"), self._beside(".new-shm"), self._beside(".new-journal")):
            left.unlink(missing_ok=True)
        os.close(os.open(new, os.O_CREAT | os.O_EXCL, 0o600))  # SQLite gives the files beside it the same mode
        connection = sqlite3.connect(new, isolation_level=None)
        try:
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute("PRAGMA journal_mode = WAL")
            migrate(connection, self._steps)
        finally:
            connection.close()
        new.replace(self.path)
        _sync_folder(self.path.parent)

    def _connect(self, query: str) -> sqlite3.Connection:
        return sqlite3.connect(f"{self.path.as_uri()}?{query}", uri=True, isolation_level=None, timeout=_BUSY_SECONDS)

    def _connect_read_only(self) -> sqlite3.Connection:
        """Connect without changing anything, also by closing, and without leaving files beside a closed journal."""
        log = self._beside("-wal")
        logged = log.exists() and log.stat().st_size > 0
        # Without a log the file does not change: a client that opens it writes the log first.
        return self._connect("mode=ro" if logged else "mode=ro&immutable=1")

    def _check(self) -> None:
        """Check that the file is a journal and intact before anything in it can change."""
        with closing(self._connect_read_only()) as connection:
            self._known_version(connection)
            (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise damaged(self.path, verdict)

    def _make_ready(self, connection: sqlite3.Connection) -> None:
        """Check that the file can be written, and migrate its tables."""
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
        connection.execute("PRAGMA fullfsync = ON")
        connection.execute("PRAGMA synchronous = FULL")
        migrate(connection, self._steps)
        # Only a write shows whether the file and its folder are writable.
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(f"PRAGMA user_version = {len(self._steps)}")
        connection.execute("ROLLBACK")

    def _known_version(self, connection: sqlite3.Connection) -> int:
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        version = version_of(connection)
        if application in (MOVED_ID, FILLING_ID) and not self._moving:
            raise moved(self.path)
        if application not in (APPLICATION_ID, MOVED_ID, FILLING_ID) or version < 1:
            raise not_a_journal(self.path, "it is a database of another program")
        if version > len(self._steps):
            raise newer(self.path, version, len(self._steps))
        return version

    def _read(self, connection: sqlite3.Connection) -> list[tuple[int, Record]]:
        reader = RowReader(spool=self.spool)
        # An error's traceback would keep an open cursor alive, and with it the file open.
        with closing(connection.cursor()) as cursor:
            try:
                jobs = cursor.execute(_READ_JOBS)
                return [(number, reader.record(row)) for number, *row in jobs]
            except JournalError as error:
                raise damaged(self.path, str(error)) from error

    def _read_durations(self, connection: sqlite3.Connection) -> list[JobDuration]:
        with closing(connection.cursor()) as cursor:
            rows = cursor.execute(_READ_DURATIONS).fetchall()
        # Damaged rows are ignored, since durations only affect the estimates shown.
        return [
            JobDuration(algorithm=algorithm, size=size, waiting=waiting, processing=processing)
            for algorithm, size, waiting, processing in rows
            if isinstance(processing, float) and isinstance(waiting, float | None) and isinstance(size, int | None)
        ]

    def _drop_orphans(self, records: Sequence[Record]) -> None:
        """Remove songs from the spool folder whose process was killed before their jobs were recorded."""
        if not self.spool.is_dir() or self.spool.is_symlink():
            return
        needed = {record.request.source.path for record in records if isinstance(record.request.source, Spooled)}
        for path in self.spool.iterdir():
            if path not in needed and (path.is_file() or path.is_symlink()):
                path.unlink()

    def _beside(self, suffix: str) -> Path:
        return self.path.with_name(self.path.name + suffix)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except UnicodeDecodeError as error:  # from sqlite3, for text that is not UTF-8
            raise damaged(self.path, str(error)) from error
        except (OSError, sqlite3.Error) as error:
            raise explained(self.path, error) from error


def _is_own(found: os.stat_result, folder: Path) -> bool:
    """Return whether a file is this user's: it has the owner of this process, or of files that it creates there."""
    if not hasattr(os, "geteuid") or found.st_uid == os.geteuid():
        return True
    with tempfile.TemporaryFile(dir=folder) as file:  # some network shares give every file one owner
        return os.fstat(file.fileno()).st_uid == found.st_uid


def _sync_folder(folder: Path) -> None:
    """Make a rename survive a loss of power; Windows does so by itself."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
