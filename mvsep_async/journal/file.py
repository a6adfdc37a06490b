"""The SQLite file of a journal: create, lock, check, migrate and read it, in blocking calls."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import Final

from attrs import frozen

from mvsep_async.errors import JournalError
from mvsep_async.jobs.journal import JobDuration, Record
from mvsep_async.journal.errors import damaged, explained_errors, in_use, moved, newer, not_a_journal
from mvsep_async.journal.lock import FileLock, LockedError
from mvsep_async.journal.rows import FACT_COLUMNS, REQUEST_COLUMNS, RowReader
from mvsep_async.journal.schema import APPLICATION_ID, FILLING_ID, MOVED_ID, STEPS, Step, migrate, version_of
from mvsep_async.journal.store import Store, check_still_there
from mvsep_async.sources import Spooled

__all__ = ["JournalFile"]

_MAGIC: Final = b"SQLite format 3\0"
_CHECKPOINT_PAGES: Final = 4000
"""Pages of the write-ahead log (16 MiB) between two checkpoints: with SQLite's 1000 a submit takes a fifth longer."""
_BUSY_SECONDS: Final = 5.0
"""How long to wait for another program's lock on the database."""

_READ_JOBS: Final = f"SELECT {', '.join(('number', *REQUEST_COLUMNS, *FACT_COLUMNS))} FROM jobs ORDER BY number"  # noqa: S608
_READ_DURATIONS: Final = "SELECT algorithm, size, waiting, processing FROM durations ORDER BY number"


@frozen
class JournalFile:
    """A journal in a file, and its songs in the folder `<path>.spool`. `moving`: also open one with the mark of a move.

    Every method raises `JournalError` for anything wrong with the file.
    """

    path: Path
    moving: bool = False
    steps: Sequence[Step] = STEPS

    @property
    def spool(self) -> Path:
        """The folder of the songs that came as bytes."""
        return self._beside(".spool")

    def open(self) -> tuple[Store, list[Record]]:
        """Lock the journal, create it if there is none, and return it with its records in the order of submission."""
        with explained_errors(self.path), ExitStack() as resources:
            file = self._prepare(resources)
            self._check()
            connection = resources.enter_context(closing(self._connect("mode=rw")))
            self._make_ready(connection)
            numbered = self._read(connection)
            records = [record for _, record in numbered]
            self._drop_orphans(records)
            store = Store(
                self.path,
                self.spool,
                self._read_durations(connection),
                len(self.steps),
                connection,
                file,
                {record.request.id: number for number, record in numbered},
                resources.pop_all(),
            )
        return store, records

    def peek(self) -> list[Record]:
        """Return the records of the journal without locking or changing it."""
        with explained_errors(self.path):
            try:
                self._check_file()
            except FileNotFoundError:
                raise JournalError(f"there is no journal at {self.path}") from None
            with closing(self._connect_read_only()) as connection:
                if self._known_version(connection) < len(self.steps):
                    raise JournalError(
                        f"the journal {self.path} was written by an older mvsep-async: open it once with a client"
                    )
                return [record for _, record in self._read(connection)]

    def _prepare(self, resources: ExitStack) -> os.stat_result:
        """Lock the journal, create it if there is none, and return its status. `resources` release the locks.

        There are two locks: one by the name, which stays when the journal is replaced, and one on the journal itself,
        which stays when the lock file is removed. They are released after the connection was closed: closing any
        descriptor of a file releases all POSIX locks of the process on it.
        """
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
            lock = FileLock(self._beside(".lock"))
            lock.acquire()
            resources.callback(lock.release)
            try:
                self._check_file()
            except FileNotFoundError:
                self._create()
            return self._lock_file(resources)
        except LockedError as error:
            raise in_use(self.path, error.pid, os.getpid()) from error

    def _lock_file(self, resources: ExitStack) -> os.stat_result:
        if os.name == "nt":  # where a file that is open can be neither removed nor replaced
            return self.path.stat()
        lock = FileLock(self.path, pid=False)
        try:
            lock.acquire()
        except OSError:  # without `flock`, as on some network shares
            file = self.path.stat()
        else:
            resources.callback(lock.release)
            file = lock.locked_file()
        check_still_there(self.path, file)
        if not _is_own(file, self.path.parent):
            raise JournalError(
                f"the journal {self.path} belongs to another user (uid {file.st_uid}) and is not trusted: give "
                "another path, or take it over with chown"
            )
        return file

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
            migrate(connection, self.steps)
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
        migrate(connection, self.steps)
        # Only a write shows whether the file and its folder are writable.
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(f"PRAGMA user_version = {len(self.steps)}")
        connection.execute("ROLLBACK")

    def _known_version(self, connection: sqlite3.Connection) -> int:
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        version = version_of(connection)
        if application in (MOVED_ID, FILLING_ID) and not self.moving:
            raise moved(self.path)
        if application not in (APPLICATION_ID, MOVED_ID, FILLING_ID) or version < 1:
            raise not_a_journal(self.path, "it is a database of another program")
        if version > len(self.steps):
            raise newer(self.path, version, len(self.steps))
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
            JobDuration(algorithm, size, waiting, processing)
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
