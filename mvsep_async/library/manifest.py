"""The manifest of a target folder: which songs its stems were made from, in an SQLite file. Everything here blocks."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import sqlite3
import tempfile
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, Final

from attrs import define, field

from mvsep_async.errors import JournalError
from mvsep_async.journal.lock import FileLock, LockedError
from mvsep_async.library.records import (
    FAILURE_COLUMNS,
    SONG_COLUMNS,
    FailedSong,
    Renames,
    SeparatedSong,
    failure_row,
    read_failure,
    read_song,
    song_row,
)
from mvsep_async.naming import caseless

__all__ = ["Manifest"]

logger = logging.getLogger("mvsep_async")

_NO_LOCKS: Final = frozenset({errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL})
"""Errors of `flock` on file systems without it."""

_VERSION: Final = 2
_APPLICATION: Final = 0x4D56534C
"""`MVSL`: distinguishes a manifest from other SQLite files."""

_SONGS: Final = f"SELECT {', '.join(SONG_COLUMNS)} FROM songs"
_FAILURES: Final = f"SELECT {', '.join(FAILURE_COLUMNS)} FROM failures"

_SCHEMA: Final = f"""
    CREATE TABLE IF NOT EXISTS songs (
        source BLOB NOT NULL, method TEXT NOT NULL, method_name TEXT NOT NULL, title TEXT NOT NULL,
        size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, content TEXT NOT NULL, audio_length INTEGER NOT NULL,
        seconds REAL, credits INTEGER, place TEXT NOT NULL, place_key TEXT NOT NULL, files TEXT NOT NULL,
        kept TEXT NOT NULL, tagged INTEGER NOT NULL, timelines TEXT NOT NULL, run TEXT NOT NULL,
        finished REAL NOT NULL, renames TEXT, PRIMARY KEY (source, method)
    ) WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS songs_place ON songs (place_key);
    CREATE INDEX IF NOT EXISTS songs_content ON songs (content, method);
    CREATE INDEX IF NOT EXISTS songs_length ON songs (audio_length);
    CREATE TABLE IF NOT EXISTS failures (
        source BLOB NOT NULL, method TEXT NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
        content TEXT NOT NULL, audio_length INTEGER NOT NULL, kind TEXT NOT NULL, message TEXT NOT NULL,
        PRIMARY KEY (content, method)
    ) WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS failures_source ON failures (source, method);
    CREATE INDEX IF NOT EXISTS failures_length ON failures (audio_length);
    PRAGMA application_id = {_APPLICATION};
    PRAGMA user_version = {_VERSION};
"""


@define(eq=False)
class Manifest:
    """The manifest of one target folder, usable from any thread, one call at a time."""

    path: Path
    _db: sqlite3.Connection
    _file_lock: FileLock | None = None
    _lock: threading.RLock = field(factory=threading.RLock)

    @classmethod
    def open(cls, path: Path) -> Manifest:
        """Open the manifest for writing, create it if it does not exist, and lock it.

        Raises `JournalError` if another process has it, it is damaged, newer than this version, or not writable.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = _acquire(path)
        except LockedError as error:
            who = f"process {error.pid}" if error.pid else "another process"
            raise JournalError(
                f"{who} is working on the library {path.parent.parent}: wait for it, or end it"
            ) from error
        except OSError as error:
            raise JournalError(f"the manifest {path} cannot be written: {error.strerror or error}") from error
        with ExitStack() as undo, _explained(path):
            if lock is not None:
                undo.callback(lock.release)
            if not path.exists():
                _create(path)
            db = undo.enter_context(closing(sqlite3.connect(path, check_same_thread=False, isolation_level=None)))
            _check(path, db)
            # One plain file, no `-wal` and `-shm` beside it: music often lives on network drives, where those do not
            # work. A song is done every few seconds at most, so a sync for each is no burden.
            db.execute("PRAGMA synchronous = FULL")
            db.executescript(_SCHEMA)
            _create_claims(db)
            undo.pop_all()
        return cls(path, db, lock)

    @classmethod
    def open_read_only(cls, path: Path) -> Manifest:
        """Open the manifest without writing to the target folder; without one, an empty manifest in memory.

        Only what a killed process was about to write is undone first: until then, SQLite reads nothing.
        """
        with ExitStack() as undo, _explained(path):
            exists = path.exists()
            if exists:
                _undo_unfinished(path)
            name = f"{path.absolute().as_uri()}?mode=ro" if exists else ""
            db = undo.enter_context(closing(sqlite3.connect(name, uri=exists, check_same_thread=False)))
            if exists:
                _check(path, db)
            else:
                db.executescript(_SCHEMA)
            db.isolation_level = None
            _create_claims(db)
            undo.pop_all()
        return cls(path, db)

    def song(self, source: str, method: str) -> SeparatedSong | None:
        """Return the separation of the song of this name, whatever audio its file has by now."""
        found = self._all(f"{_SONGS} WHERE source = ? AND method = ?", os.fsencode(source), method)
        return read_song(found[0]) if found else None

    def songs_with(self, content: str, method: str) -> list[SeparatedSong]:
        """Return the separations of this audio, under whatever name, at most a few."""
        found = self._all(f"{_SONGS} WHERE content = ? AND method = ? LIMIT 8", content, method)
        return [read_song(row) for row in found]

    def failure(self, source: str, method: str) -> FailedSong | None:
        """Return how the song of this name failed, whatever audio its file has by now."""
        found = self._all(f"{_FAILURES} WHERE source = ? AND method = ? LIMIT 1", os.fsencode(source), method)
        return read_failure(found[0]) if found else None

    def failure_of(self, content: str, method: str) -> FailedSong | None:
        """Return how this audio failed, under whatever name."""
        found = self._all(f"{_FAILURES} WHERE content = ? AND method = ?", content, method)
        return read_failure(found[0]) if found else None

    def knows_length(self, audio_length: int) -> bool:
        """Tell whether any audio of this length is known: if not, the audio itself need not be read to be compared."""
        return bool(
            self._all(
                "SELECT 1 FROM songs WHERE audio_length = ? UNION ALL SELECT 1 FROM failures WHERE audio_length = ? "
                "LIMIT 1",
                audio_length,
                audio_length,
            )
        )

    def claim(self, place: str, source: str, *, moved: str | None = None) -> str | None:
        """Reserve a place for a song, or return the name of the song that has it already.

        `moved`: the earlier name of the song, whose places are its own.
        """
        name, before, key = os.fsencode(source), os.fsencode(moved or source), caseless(place)
        with self._lock, _explained(self.path):
            holder = self._db.execute(
                "SELECT source FROM claims WHERE place_key = ? UNION ALL "
                "SELECT source FROM songs WHERE place_key = ? AND source NOT IN (?, ?) LIMIT 1",
                (key, key, name, before),
            ).fetchone()
            if holder is not None and holder[0] != name:
                return os.fsdecode(holder[0])
            self._db.execute("INSERT OR IGNORE INTO claims VALUES (?, ?)", (key, name))
        return None

    def record(self, song: SeparatedSong) -> None:
        """Store a song that is done, and forget that it failed; on disk when this returns."""
        with self._transaction():
            self._insert(song)
            self._db.execute("DELETE FROM failures WHERE content = ? AND method = ?", (song.content, song.method))

    def rename(self, before: str, song: SeparatedSong, renames: Renames = ()) -> None:
        """Store a song under its name instead of `before`, and the renames of its files that are still to be done."""
        with self._transaction():
            if before != song.source:
                self._db.execute(
                    "DELETE FROM songs WHERE source = ? AND method = ?", (os.fsencode(before), song.method)
                )
            self._insert(song, renames)

    def unfinished_renames(self) -> list[tuple[SeparatedSong, Renames]]:
        """Return the songs whose files a killed process was about to rename."""
        columns = ", ".join((*SONG_COLUMNS, "renames"))
        found = self._all(f"SELECT {columns} FROM songs WHERE renames IS NOT NULL")
        return [(read_song(row[:-1]), [(before, after) for before, after in json.loads(row[-1])]) for row in found]

    def record_failure(self, failed: FailedSong) -> None:
        """Store that a song failed; on disk when this returns."""
        with self._transaction():
            self._replace("failures", FAILURE_COLUMNS, failure_row(failed))

    def songs(self, *, run: str | None = None) -> Iterator[SeparatedSong]:
        """Yield all songs, or those of one run, by name; a few are held at a time."""
        with self._lock, _explained(self.path), closing(self._db.cursor()) as cursor:
            which = "" if run is None else "AND run = ?"
            cursor.execute(
                f"{_SONGS} WHERE substr(source, 1, 1) <> x'2f' {which} ORDER BY source, method",
                () if run is None else (run,),
            )
            while found := cursor.fetchmany(200):
                yield from map(read_song, found)

    def sources_at(self, path: str) -> list[str]:
        """Return the separated songs with this path below the source folder, or below it if it is a folder."""
        name = os.fsencode(path)
        found = self._all(
            "SELECT DISTINCT source FROM songs WHERE source = ? OR (source > ? AND source < ?) ORDER BY source",
            name,
            name + b"/",
            name + b"0",  # the byte after the slash
        )
        return [os.fsdecode(source) for (source,) in found]

    def count_since(self, time: float, downloading: Iterable[tuple[str, str]] = ()) -> int:
        """Return how many songs were separated since this Unix time, with those that are being downloaded."""
        with self._lock:
            ((recorded,),) = self._all("SELECT count(*) FROM songs WHERE finished >= ?", time)
            known = [self.song(source, method) for source, method in downloading]
            return int(recorded) + sum(song is None or song.finished < time for song in known)

    def replaced_songs(self) -> list[SeparatedSong]:
        """Return the songs whose stems are set aside."""
        return [read_song(row) for row in self._all(f"{_SONGS} WHERE substr(source, 1, 1) = x'2f'")]

    def forget(self, song: SeparatedSong) -> None:
        """Remove a song."""
        with self._transaction():
            self._db.execute(
                "DELETE FROM songs WHERE source = ? AND method = ?", (os.fsencode(song.source), song.method)
            )

    def close(self) -> None:
        """Close and unlock the file."""
        with self._lock:
            self._db.close()
            if self._file_lock is not None:
                self._file_lock.release()

    def _all(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with self._lock, _explained(self.path):
            return self._db.execute(query, values).fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._lock, _explained(self.path):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def _insert(self, song: SeparatedSong, renames: Renames = ()) -> None:
        more = (caseless(song.place), json.dumps(renames) if renames else None)
        self._replace("songs", (*SONG_COLUMNS, "place_key", "renames"), (*song_row(song), *more))

    def _replace(self, table: str, columns: Sequence[str], values: Sequence[object]) -> None:
        marks = ", ".join("?" * len(values))
        self._db.execute(f"INSERT OR REPLACE INTO {table} ({', '.join(columns)}) VALUES ({marks})", values)


def _acquire(path: Path) -> FileLock | None:
    """Lock a manifest. On a network share without `flock`, lock a local file instead: only one machine should write."""
    lock = FileLock(path.with_name(path.name + ".lock"))
    try:
        lock.acquire()
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        logger.warning(
            "the file system of %s has no locks (%s): do not run `library` with this target on two machines at once",
            path,
            error.strerror,
        )
    else:
        return lock
    digest = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:16]
    lock = FileLock(Path(tempfile.gettempdir(), f"mvsep-async-{digest}.lock"))
    try:
        lock.acquire()
    except OSError as error:
        logger.warning("two runs of `library` at once are not noticed: %s", error)
        return None
    return lock


def _create(path: Path) -> None:
    """Create a manifest under another name and rename it, so that a killed process leaves a complete one or none."""
    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)
    with closing(sqlite3.connect(new, isolation_level=None)) as db:
        db.executescript(_SCHEMA)
    new.replace(path)


def _undo_unfinished(path: Path) -> None:
    """Roll back the transaction of a killed process, if there is one."""
    if path.with_name(path.name + "-journal").exists():
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True)) as db:
            db.execute("SELECT count(*) FROM sqlite_master").fetchone()


def _create_claims(db: sqlite3.Connection) -> None:
    """Create the table of places given in this run; SQLite puts it into a temporary file when it grows."""
    db.execute("CREATE TEMP TABLE claims (place_key TEXT PRIMARY KEY, source BLOB NOT NULL) WITHOUT ROWID")


def _check(path: Path, db: sqlite3.Connection) -> None:
    if path.stat().st_size == 0:
        raise JournalError(
            f"the manifest {path} is empty, so it was damaged: restore it from a backup, or move it away to separate "
            "and pay the songs of the library again"
        )
    (application,) = db.execute("PRAGMA application_id").fetchone()
    (version,) = db.execute("PRAGMA user_version").fetchone()
    empty = db.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
    if not empty and application != _APPLICATION:
        raise JournalError(f"{path} is not a manifest of a library: move it away")
    if version > _VERSION:
        raise JournalError(
            f"the manifest {path} was written by a newer mvsep-async (format {version}, this version reads up to "
            f"{_VERSION}): update mvsep-async"
        )
    if not empty and version < _VERSION:
        raise JournalError(f"the manifest {path} is of a development version (format {version}): move it away")


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise JournalError(
            f"the manifest {path} cannot be used: {error}. Nothing was sent. Without it, songs whose stems exist are "
            "separated and paid again: restore it from a backup, or move it away to accept that"
        ) from error
