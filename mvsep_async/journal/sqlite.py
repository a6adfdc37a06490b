"""The journal in an SQLite file, as the client calls it on the event loop."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import anyio
from attrs import define, field

from mvsep_async.backoff import Backoff
from mvsep_async.concurrency import in_thread
from mvsep_async.errors import JournalError
from mvsep_async.jobs.facts import Facts
from mvsep_async.jobs.journal import JobDuration, Record
from mvsep_async.jobs.lifecycle import JobState
from mvsep_async.jobs.request import JobRequest
from mvsep_async.journal.changes import PendingChanges
from mvsep_async.journal.rows import facts_row, request_row
from mvsep_async.journal.thread import WorkThread

if TYPE_CHECKING:
    from mvsep_async.journal.store import Store

__all__ = ["SqliteJournal"]

_log = logging.getLogger(__name__)

_LINGER: Final = 0.05
"""Seconds that a change may stay unwritten if no `flush` waits for it, so that many are written together."""

_PAUSES: Final = Backoff(first=1.0, longest=30.0)
"""Seconds between two attempts to write to a failing disk."""


@define(eq=False)
class _Batch:
    """One transaction, and the event for the tasks that wait for it."""

    synced: bool = False
    changes: PendingChanges = field(factory=PendingChanges)
    over: anyio.Event = field(factory=anyio.Event)
    error: Exception | None = None


class SqliteJournal:
    """A `Journal` in the SQLite file `path`, with a lock file `<path>.lock` and a folder `<path>.spool` beside it.

    All access is in one dedicated thread. Changes that come while it writes go into the next transaction together;
    cancelling a task that waits for a transaction does not affect it.

    If the file cannot be written (a full disk, a lost mount), `flush` raises `JournalError`, so no song is sent that
    would be unknown after a crash. The changes stay in memory and are written by the next `flush` or by `run`, which
    logs a warning and continues, since jobs at the service still have to be polled.
    """

    def __init__(self, path: str | os.PathLike[str], *, moving: bool = False) -> None:
        """`moving`: also open a journal with the mark of a move."""
        # Resolved, so that all links to a file share one lock and one spool folder.
        self.path = Path(os.path.realpath(path))
        self._spool = self.path.with_name(self.path.name + ".spool")
        self.moving = moving
        self._thread: WorkThread | None = None
        self._store: Store | None = None
        self._pending = PendingChanges()
        self._keys: dict[str, str] = {}
        self._in_flight: _Batch | None = None
        self._next: _Batch | None = None
        self._unsynced = True
        self._changed: anyio.Event | None = None

    @property
    def spool(self) -> Path:
        """The folder for songs that came as bytes; it is created with the first one."""
        return self._spool

    @classmethod
    async def peek(cls, path: str | os.PathLike[str]) -> Sequence[Record]:
        """Return the records of a journal in the order of submission, without locking it, so it may be in use.

        Raises `JournalError` if it does not exist or cannot be read.
        """
        journal = cls(path)
        return await in_thread(lambda: _store(journal).peek())

    async def open(self) -> Sequence[Record]:
        """Lock and read the journal; create it if there is none, and its folder if the parent folder exists.

        Songs in the spool folder that no job needs are removed. Raises `JournalError` if the journal is in use,
        damaged, written by a later version, not a journal, or not writable.
        """
        if self._thread is not None:
            raise JournalError(f"the journal {self.path} is open already")
        self._thread = WorkThread("mvsep-journal")
        self._changed = anyio.Event()
        try:
            self._store = await self._thread.do(partial(_store, self))
            records = await self._thread.do(self._store.open)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self._end().wait()  # so that the lock is released before the caller tries again
            raise
        self._keys = {record.request.key: record.request.id for record in records if record.request.key is not None}
        return records

    async def run(self) -> None:
        """Write changes within about 50 ms until cancelled; disk errors are logged and retried."""
        failures = 0
        while self._changed is not None:
            await self._changed.wait()
            await anyio.sleep(max(_LINGER, _PAUSES.pause(failures)))
            self._changed = anyio.Event()
            if self._thread is None:
                return
            try:
                await self.flush()
            except JournalError as error:
                if not failures:
                    _log.warning("%s; trying again", error)
                failures += 1
                self._changed.set()
            else:
                failures = 0

    def add(self, request: JobRequest) -> None:
        """Add a queued job. Raises `JournalError` for a request that cannot be stored, or a key that is in use."""
        row = request_row(request, spool=self._spool)
        if request.key is not None:
            holder = self._keys.setdefault(request.key, request.id)
            if holder != request.id:
                raise JournalError(f"the key {request.key!r} belongs to job {holder}: use another one", job=request.id)
        self._pending.added[request.id] = row
        self._wake()

    def amend(self, request: JobRequest) -> None:
        """Replace the request of a job; its key stays the same."""
        row = request_row(request, spool=self._spool)
        where = self._pending.added if request.id in self._pending.added else self._pending.amended
        where[request.id] = row
        self._wake()

    def update(self, job: str, state: JobState, facts: Facts) -> None:
        """Change the state and facts of a job."""
        self._pending.changed[job] = facts_row(state, facts)
        self._wake()

    def forget(self, requests: Sequence[JobRequest]) -> None:
        """Remove the jobs of these requests, and their songs in the spool folder."""
        self._pending.forget([request.id for request in requests])
        for request in requests:
            if request.key is not None and self._keys.get(request.key) == request.id:
                del self._keys[request.key]
        self._wake()

    @property
    def durations(self) -> Sequence[JobDuration]:
        """The durations of recent jobs, the oldest first, as read when the journal was opened."""
        return () if self._store is None else self._store.durations

    def learn(self, duration: JobDuration) -> None:
        """Record how long a job took. Only the latest durations of each algorithm are kept."""
        row = (duration.algorithm, duration.size, duration.waiting, duration.processing)
        self._pending.durations.append(row)
        self._wake()

    async def flush(self, *, synced: bool = False) -> None:
        """Wait until all changes so far are written, so that they survive a kill of the process.

        `synced`: they also survive a loss of power. Raises `JournalError` if they could not be written; they are kept
        and written later.
        """
        transaction = self._transaction(synced)
        if transaction is None:
            return
        await transaction.over.wait()
        if transaction.error is not None:
            raise JournalError(str(transaction.error)) from transaction.error

    async def close(self) -> None:
        """Write the remaining changes and unlock; it is unlocked also if that raises `JournalError`."""
        if self._thread is None:
            return
        with anyio.CancelScope(shield=True):
            try:
                await self.flush()
            finally:
                await self._end().wait()

    async def mark(self) -> int:
        """Return the mark of the open journal: `APPLICATION_ID`, or of a move `MOVED_ID` or `FILLING_ID`."""
        assert self._thread is not None
        assert self._store is not None
        store = self._store
        return await self._thread.do(lambda: store.mark)

    async def set_mark(self, mark: int) -> None:
        """Set the mark. With one of a move, no client can open the journal."""
        assert self._thread is not None
        assert self._store is not None
        await self._thread.do(partial(self._store.set_mark, mark))

    def _wake(self) -> None:
        if self._changed is not None:
            self._changed.set()

    def _transaction(self, synced: bool) -> _Batch | None:
        """Return the transaction that completes the writing of all changes so far, `None` if all are written."""
        if self._thread is None:
            raise JournalError(f"the journal {self.path} is not open")
        in_flight = self._in_flight
        if not self._pending:
            if in_flight is None and not (synced and self._unsynced):
                return None
            if in_flight is not None and (in_flight.synced or not synced):
                return in_flight
        batch = self._next
        if batch is None:
            batch = self._next = _Batch()
        batch.synced |= synced
        if in_flight is None:
            self._launch()
        return batch

    def _launch(self) -> None:
        """Start the next transaction, if a `flush` waits for one."""
        batch, self._next = self._next, None
        if batch is None:
            return
        if self._thread is None or self._store is None:
            batch.error = JournalError(f"the journal {self.path} was closed")
            batch.over.set()
            return
        batch.changes, self._pending = self._pending, batch.changes
        self._in_flight = batch
        self._thread.post(partial(self._store.write, batch.changes, synced=batch.synced), partial(self._written, batch))

    def _written(self, batch: _Batch, _: None, error: Exception | None) -> None:
        """Record the end of a transaction, wake the tasks that wait for it, and start the next."""
        self._in_flight = None
        if error is None:
            self._unsynced = not batch.synced
            if batch.changes.forgotten and self._thread is not None and self._store is not None:
                self._thread.post(self._store.tidy, self._tidied)
        else:
            batch.changes.merge(self._pending)
            self._pending = batch.changes
        batch.error = error
        batch.over.set()
        self._launch()

    def _tidied(self, _: None, error: Exception | None) -> None:
        if error is not None:
            _log.warning("the disk space of pruned jobs could not be freed: %s", error)

    def _end(self) -> anyio.Event:
        """Close the file after the thread's remaining calls and end the thread; return the event of that."""
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
    """Create the store, in a thread: importing sqlite3 takes milliseconds."""
    try:
        from mvsep_async.journal.store import Store
    except ImportError as error:
        raise JournalError(f"a journal needs the sqlite3 module, which this Python lacks: {error}") from error
    return Store(journal.path, journal.spool, moving=journal.moving)
