"""What a target folder holds, and from which songs it was made: one SQLite file in it. Everything here blocks."""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

from attrs import asdict, define, field, frozen

from mvsep_async.errors import JournalError
from mvsep_async.journal.lock import FileLock, LockedError
from mvsep_async.library.layout import place_key
from mvsep_async.library.timeline import Course, Span

__all__ = ["Manifest", "ManifestFile", "Row"]

_VERSION: Final = 1
_APPLICATION: Final = 0x4D56534C
"""`MVSL`: tells our files from other SQLite files."""

_SCHEMA: Final = f"""
    CREATE TABLE IF NOT EXISTS songs (
        source BLOB NOT NULL, work TEXT NOT NULL, way TEXT NOT NULL, title TEXT NOT NULL, size INTEGER NOT NULL,
        mtime_ns INTEGER NOT NULL, seconds REAL, credits INTEGER, place TEXT NOT NULL, place_key TEXT NOT NULL,
        files TEXT NOT NULL, kept TEXT NOT NULL, tagged INTEGER NOT NULL, courses TEXT NOT NULL, run TEXT NOT NULL,
        finished REAL NOT NULL, PRIMARY KEY (source, work)
    ) WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS songs_place ON songs (place_key);
    PRAGMA application_id = {_APPLICATION};
    PRAGMA user_version = {_VERSION};
"""


@frozen
class ManifestFile:
    """A stem. `path`: relative to the target folder, with `/`; `hash`, `host`: of the job that made it."""

    step: str
    stem: str
    path: str
    size: int
    hash: str | None = None
    host: str | None = None


@frozen(kw_only=True)
class Row:
    """A song that was separated in one way.

    `source`: its path relative to the source folder. `work`: the way, for short, `way`: its name. `kept`: of each step
    the stems that were wanted, `None` for all. `seconds`, `credits`: `None` where not known. `run`: the run that made
    it, `finished`: when, as a Unix time. `tagged`: whether the stems have the song's tags.
    """

    source: str
    work: str
    way: str
    title: str
    size: int
    mtime_ns: int
    seconds: float | None
    credits: int | None
    place: str
    files: tuple[ManifestFile, ...]
    kept: dict[str, list[str] | None]
    tagged: bool = False
    courses: tuple[Course, ...] = ()
    run: str = ""
    finished: float = 0.0


@define(eq=False)
class Manifest:
    """The manifest of one target folder, usable from any thread, one call at a time."""

    path: Path
    _db: sqlite3.Connection
    _file_lock: FileLock | None = None
    _lock: threading.RLock = field(factory=threading.RLock)

    @classmethod
    def open(cls, path: Path) -> Manifest:
        """Open the manifest for writing, making it if there is none, and keep others out of it.

        Raises `JournalError` if another process has it, it is damaged, newer than this version, or cannot be written.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = FileLock(path.with_name(path.name + ".lock"))
            lock.acquire()
        except LockedError as error:
            who = f"process {error.pid}" if error.pid else "another process"
            raise JournalError(
                f"{who} is working on the library {path.parent.parent}: wait for it, or end it"
            ) from None
        except OSError as error:
            raise JournalError(f"the manifest {path} cannot be written: {error.strerror or error}") from error
        try:
            with _explained(path):
                db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
                try:
                    _check(path, db)
                    # One plain file, no `-wal` and `-shm` beside it: music often lives on network drives, where those
                    # do not work. A song is done every few seconds at most, so a sync for each is no burden.
                    db.execute("PRAGMA synchronous = FULL")
                    db.executescript(_SCHEMA)
                    _make_claims(db)
                except BaseException:
                    db.close()
                    raise
        except BaseException:
            lock.release()
            raise
        return cls(path, db, lock)

    @classmethod
    def look_into(cls, path: Path) -> Manifest:
        """Open the manifest without writing to the target folder, not even where there is none yet."""
        with _explained(path):
            there = path.exists()
            name = f"{path.absolute().as_uri()}?mode=ro" if there else ""
            db = sqlite3.connect(name, uri=there, check_same_thread=False)
            try:
                if there:
                    _check(path, db)
                else:
                    db.executescript(_SCHEMA)
                db.isolation_level = None
                _make_claims(db)
            except BaseException:
                db.close()
                raise
        return cls(path, db)

    def row(self, source: str, work: str) -> Row | None:
        """Return what is known of a song in one way."""
        with self._lock, _explained(self.path):
            found = self._db.execute(
                f"SELECT {_COLUMNS} FROM songs WHERE source = ? AND work = ?",  # noqa: S608 -- names of our own
                (os.fsencode(source), work),
            ).fetchone()
        return None if found is None else _row(found)

    def claim(self, key: str, source: str) -> str | None:
        """Give the place `key` to a song, or return the name of the song that has it already."""
        name = os.fsencode(source)
        with self._lock, _explained(self.path):
            holder = self._db.execute(
                "SELECT source FROM claims WHERE place_key = ? UNION ALL "
                "SELECT source FROM songs WHERE place_key = ? AND source <> ? LIMIT 1",
                (key, key, name),
            ).fetchone()
            if holder is not None and holder[0] != name:
                return os.fsdecode(holder[0])
            self._db.execute("INSERT OR IGNORE INTO claims VALUES (?, ?)", (key, name))
        return None

    def record(self, row: Row) -> None:
        """Take in a song that is done; on disk when this returns."""
        values = (
            os.fsencode(row.source), row.work, row.way, row.title, row.size, row.mtime_ns, row.seconds, row.credits,
            row.place, place_key(row.place), json.dumps([asdict(file) for file in row.files]), json.dumps(row.kept),
            row.tagged,
            json.dumps([[one.step, [[span.phase, span.start, span.end] for span in one.spans]] for one in row.courses]),
            row.run, row.finished,
        )  # fmt: skip
        with self._lock, _explained(self.path):
            marks = ", ".join("?" * len(values))
            self._db.execute(f"INSERT OR REPLACE INTO songs ({_COLUMNS}) VALUES ({marks})", values)  # noqa: S608

    def rows(self, *, run: str | None = None) -> Iterator[Row]:
        """Give all rows, or those of one run, the latest last; a few are held at a time."""
        with self._lock, _explained(self.path), closing(self._db.cursor()) as cursor:
            which = "" if run is None else "WHERE run = ?"
            cursor.execute(
                f"SELECT {_COLUMNS} FROM songs {which} ORDER BY source, work",  # noqa: S608
                () if run is None else (run,),
            )
            while found := cursor.fetchmany(200):
                yield from map(_row, found)

    def close(self) -> None:
        """Close the file and let others at it."""
        with self._lock:
            self._db.close()
        if self._file_lock is not None:
            self._file_lock.release()


_COLUMNS: Final = (
    "source, work, way, title, size, mtime_ns, seconds, credits, place, place_key, files, kept, tagged, courses, run, "
    "finished"
)


def _row(found: tuple[Any, ...]) -> Row:
    (
        source,
        work,
        way,
        title,
        size,
        mtime_ns,
        seconds,
        credits_,
        place,
        _,
        files,
        kept,
        tagged,
        courses,
        run,
        finished,
    ) = found
    return Row(
        source=os.fsdecode(source),
        work=work,
        way=way,
        title=title,
        size=size,
        mtime_ns=mtime_ns,
        seconds=seconds,
        credits=credits_,
        place=place,
        files=tuple(ManifestFile(**file) for file in json.loads(files)),
        kept=json.loads(kept),
        tagged=bool(tagged),
        courses=tuple(Course(step, tuple(Span(*span) for span in spans)) for step, spans in json.loads(courses)),
        run=run,
        finished=finished,
    )


def _make_claims(db: sqlite3.Connection) -> None:
    """Places given in this run: in a temporary file that SQLite makes for itself when they become many."""
    db.execute("CREATE TEMP TABLE claims (place_key TEXT PRIMARY KEY, source BLOB NOT NULL) WITHOUT ROWID")


def _check(path: Path, db: sqlite3.Connection) -> None:
    (application,) = db.execute("PRAGMA application_id").fetchone()
    (version,) = db.execute("PRAGMA user_version").fetchone()
    empty = db.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
    if not empty and application != _APPLICATION:
        raise JournalError(f"{path} is not a manifest of a library: move it away")
    if version > _VERSION:
        raise JournalError(
            f"the manifest {path} was written by a newer mvsep-async (version {version} of it, this one "
            f"knows {_VERSION}): update this one"
        )


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise JournalError(
            f"the manifest {path} cannot be used: {error}. Nothing was sent because of that; move the file away to "
            "begin anew, and songs whose stems are there will be separated, and paid, again"
        ) from error
