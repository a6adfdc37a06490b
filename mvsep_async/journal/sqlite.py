"""The journal in an SQLite file: what the client calls, on the event loop."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import anyio
from attrs import define, field

from mvsep_async.concurrency import in_thread
from mvsep_async.errors import JournalError
from mvsep_async.jobs.facts import Facts
from mvsep_async.jobs.journal import Record
from mvsep_async.jobs.lifecycle import JobState
from mvsep_async.jobs.request import JobRequest
from mvsep_async.journal.notes import Notes
from mvsep_async.journal.rows import facts_row, path_value, request_row
from mvsep_async.journal.thread import WorkThread

if TYPE_CHECKING:
    from mvsep_async.journal.store import Store

__all__ = ["SqliteJournal"]

_log = logging.getLogger(__name__)

_LINGER: Final = 0.05
"""Seconds that a note nobody waits for may stay unwritten, so that many are written together."""

_LONGEST_PAUSE: Final = 30.0
"""Seconds, at most, between two tries at a disk that refuses what nobody waits for."""


@define(eq=False)
class _Batch:
    """One transaction, and all who wait for it."""

    synced: bool = False
    notes: Notes = field(factory=Notes)
    over: anyio.Event = field(factory=anyio.Event)
    error: Exception | None = None


class SqliteJournal:
    """A `Journal` in the SQLite file `path`, with a lock file `<path>.lock` and a folder `<path>.spool` beside it.

    All access is in a thread of its own. What is noted while that thread writes goes into the next transaction, as one,
    whoever waits for it; a task that is cancelled while it waits changes nothing for the others or for the file.

    When the file cannot be written (a full disk, a lost mount) `flush` raises `JournalError`, so that no song is sent
    of which nothing would be known after a crash. What was noted is kept in memory and tried again: at the next
    `flush`, and by `run`, which logs a warning and goes on, since jobs at the service are better watched than dropped.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        # Two names of one file have one lock and one spool folder.
        self.path = Path(os.path.realpath(path))
        self._spool = self.path.with_name(self.path.name + ".spool")
        self._thread: WorkThread | None = None
        self._store: Store | None = None
        self._notes = Notes()
        self._keys: dict[str, str] = {}
        self._flying: _Batch | None = None
        self._next: _Batch | None = None
        self._unsynced = True
        self._noted: anyio.Event | None = None

    @property
    def spool(self) -> Path:
        """The folder for songs that came as bytes; whoever puts the first one there makes it."""
        return self._spool

    @classmethod
    async def peek(cls, path: str | os.PathLike[str]) -> Sequence[Record]:
        """Return what a journal holds, in request of submission, without its lock: another process may be using it.

        Raises `JournalError` where there is none or it cannot be read.
        """
        journal = cls(path)
        return await in_thread(lambda: _store(journal).peek())

    async def open(self) -> Sequence[Record]:
        """Lock and read the journal, making a new one if there is none, in a folder whose parent exists.

        Songs in the spool folder that no job needs any more are removed. Raises `JournalError` if another client has
        it, it is damaged, newer than this version or something else altogether, or cannot be written.
        """
        if self._thread is not None:
            raise JournalError(f"the journal {self.path} is open already")
        self._thread = WorkThread("mvsep-journal")
        self._noted = anyio.Event()
        try:
            self._store = await self._thread.do(partial(_store, self))
            records = await self._thread.do(self._store.open)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self._end().wait()  # or whoever tries again at once would find it locked
            raise
        self._keys = {record.request.key: record.request.id for record in records if record.request.key is not None}
        return records

    async def run(self) -> None:
        """Write what is noted within some 50 ms, until cancelled; never ends by an error of the disk."""
        pause = _LINGER
        while self._noted is not None:
            await self._noted.wait()
            await anyio.sleep(pause)
            self._noted = anyio.Event()
            if self._thread is None:
                return
            try:
                await self.flush()
            except JournalError as error:
                if pause == _LINGER:
                    _log.warning("%s; trying again", error)
                pause = min(max(2 * pause, 1.0), _LONGEST_PAUSE)
                self._noted.set()
            else:
                pause = _LINGER

    def add(self, request: JobRequest) -> None:
        """Note a new job, queued; raises `JournalError` for one that cannot be kept, and for a key that is taken."""
        row = request_row(request, spool=self._spool)
        if request.key is not None:
            holder = self._keys.setdefault(request.key, request.id)
            if holder != request.id:
                raise JournalError(f"job {holder} has the key {request.key!r} already", job=request.id)
        self._notes.added[request.id] = row
        self._stir()

    def update(self, job: str, state: JobState, facts: Facts) -> None:
        """Note where a job stands now."""
        self._notes.changed[job] = facts_row(state, facts)
        self._stir()

    def file(self, job: str, path: Path, *, size: int | None, safe: int) -> None:
        """Note a file of a job: its size, and how many bytes of it are safe on disk."""
        self._notes.files[job, path_value(path)] = (size, safe)
        self._stir()

    def forget(self, requests: Sequence[JobRequest]) -> None:
        """Note that their jobs shall be pruned, with the files' entries and the songs in the spool folder."""
        self._notes.forget([request.id for request in requests])
        for request in requests:
            if request.key is not None and self._keys.get(request.key) == request.id:
                del self._keys[request.key]
        self._stir()

    async def flush(self, *, synced: bool = False) -> None:
        """Return when all noted so far is written: it survives this process being killed.

        `synced`: and would survive the machine losing power. Raises `JournalError` if it could not be written; it
        stays noted.
        """
        covering = self._covering(synced)
        if covering is None:
            return
        await covering.over.wait()
        if covering.error is not None:
            raise JournalError(str(covering.error)) from covering.error

    async def close(self) -> None:
        """Write what is left and unlock, which is also done when that raises `JournalError`."""
        if self._thread is None:
            return
        with anyio.CancelScope(shield=True):
            try:
                await self.flush()
            finally:
                await self._end().wait()

    def _stir(self) -> None:
        if self._noted is not None:
            self._noted.set()

    def _covering(self, synced: bool) -> _Batch | None:
        """Return the transaction after which all noted by now is written, `None` when it is."""
        if self._thread is None:
            raise JournalError(f"the journal {self.path} is not open")
        flying = self._flying
        if not self._notes:
            if flying is None and not (synced and self._unsynced):
                return None
            if flying is not None and (flying.synced or not synced):
                return flying
        batch = self._next
        if batch is None:
            batch = self._next = _Batch()
        batch.synced |= synced
        if flying is None:
            self._launch()
        return batch

    def _launch(self) -> None:
        """Begin the transaction that somebody waits for, if there is one."""
        batch, self._next = self._next, None
        if batch is None:
            return
        if self._thread is None or self._store is None:
            batch.error = JournalError(f"the journal {self.path} was closed meanwhile")
            batch.over.set()
            return
        batch.notes, self._notes = self._notes, batch.notes
        self._flying = batch
        self._thread.post(partial(self._store.write, batch.notes, synced=batch.synced), partial(self._landed, batch))

    def _landed(self, batch: _Batch, _: None, error: Exception | None) -> None:
        """Take note of a transaction's end, tell who waits, and begin the next."""
        self._flying = None
        if error is None:
            self._unsynced = not batch.synced
            if batch.notes.forgotten and self._thread is not None and self._store is not None:
                self._thread.post(self._store.tidy, self._tidied)
        else:
            batch.notes.take_up(self._notes)
            self._notes = batch.notes
        batch.error = error
        batch.over.set()
        self._launch()

    def _tidied(self, _: None, error: Exception | None) -> None:
        if error is not None:
            _log.warning("pruned jobs still take up room: %s", error)

    def _end(self) -> anyio.Event:
        """Have the file closed after all that the thread has still to do, and the thread ended."""
        thread, self._thread = self._thread, None
        ended = anyio.Event()
        assert thread is not None
        if self._store is None:
            ended.set()
        else:
            thread.post(self._store.close, lambda *_: ended.set())
        thread.stop()
        return ended


def _store(journal: SqliteJournal) -> Store:
    """Make the blocking half, in a thread: importing sqlite3 takes milliseconds."""
    try:
        from mvsep_async.journal.store import Store
    except ImportError as error:
        raise JournalError(f"a journal needs the sqlite3 module, which this Python lacks: {error}") from error
    return Store(journal.path, journal.spool)
