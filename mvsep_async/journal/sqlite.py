"""The journal in an SQLite file, as the client calls it on the event loop."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
from attrs import define, field

from mvsep_async.concurrency import in_thread
from mvsep_async.errors import JournalError
from mvsep_async.jobs.journal import Record
from mvsep_async.jobs.request import JobRequest
from mvsep_async.journal.buffer import BufferedJournal
from mvsep_async.journal.changes import PendingChanges
from mvsep_async.journal.thread import WorkThread

if TYPE_CHECKING:
    from mvsep_async.journal.file import JournalFile
    from mvsep_async.journal.store import Store

__all__ = ["SqliteJournal", "open_journal", "peek_journal"]

logger = logging.getLogger("mvsep_async")


@asynccontextmanager
async def open_journal(
    path: str | os.PathLike[str], *, moving: bool = False
) -> AsyncIterator[tuple[SqliteJournal, Sequence[Record]]]:
    """Lock and read the journal in a file, and give it with its jobs in the order of submission.

    It is created if there is none, and its folder if the parent folder exists. Songs in the spool folder that no job
    needs are removed. At the end, the remaining changes are written. `moving`: also open a journal with the mark of a
    move. Raises `JournalError` if the journal is in use, damaged, written by a later version, not a journal, or not
    writable.
    """
    thread = WorkThread("mvsep-journal")
    stores: list[Store] = []

    def open_file() -> list[Record]:
        store, records = _file(path, moving).open()
        stores.append(store)
        return records

    def close() -> None:
        for store in stores:
            store.close()

    try:
        records = await thread.do(open_file)
        keys = {record.request.key: record.request.id for record in records if record.request.key is not None}
        journal = SqliteJournal(stores[0].spool, stores[0].durations, thread, stores[0], keys)
        try:
            yield journal, records
        finally:
            await journal.end()
    finally:
        ended = anyio.Event()
        thread.post(close, lambda *_: ended.set())
        thread.stop()
        with anyio.CancelScope(shield=True):
            await ended.wait()  # so that the lock is released before the caller tries again


async def peek_journal(path: str | os.PathLike[str]) -> Sequence[Record]:
    """Return the records of a journal in the order of submission, without locking it, so it may be in use.

    Raises `JournalError` if it does not exist or cannot be read.
    """
    return await in_thread(lambda: _file(path).peek())


def _file(path: str | os.PathLike[str], moving: bool = False) -> JournalFile:
    """Return the file of a journal. Call it in a thread: importing sqlite3 takes milliseconds."""
    try:
        from mvsep_async.journal.file import JournalFile
    except ImportError as error:
        raise JournalError(f"a journal needs the sqlite3 module, which this Python lacks: {error}") from error
    # Resolved, so that all links to a file share one lock and one spool folder.
    return JournalFile(Path(os.path.realpath(path)), moving)


@define(eq=False)
class _Batch:
    """One transaction, and the event for the tasks that wait for it."""

    synced: bool = False
    changes: PendingChanges = field(factory=PendingChanges)
    over: anyio.Event = field(factory=anyio.Event)
    error: Exception | None = None


@define(eq=False)
class SqliteJournal(BufferedJournal):
    """A `Journal` in an SQLite file, with a lock file `<path>.lock` and a folder `<path>.spool` beside it.

    All access is in one dedicated thread. Changes that come while it writes go into the next transaction together;
    cancelling a task that waits for a transaction does not affect it.
    """

    _thread: WorkThread
    _store: Store
    _keys: dict[str, str]
    _in_flight: _Batch | None = field(default=None, init=False)
    _next: _Batch | None = field(default=None, init=False)
    _unsynced: bool = field(default=True, init=False)
    _closed: bool = field(default=False, init=False)

    def add(self, request: JobRequest) -> None:
        """Add a queued job. Raises `JournalError` for a request that cannot be stored, or a key that is in use."""
        holder = request.id if request.key is None else self._keys.get(request.key, request.id)
        if holder != request.id:
            raise JournalError(f"the key {request.key!r} belongs to job {holder}: use another one", job=request.id)
        super().add(request)
        if request.key is not None:
            self._keys[request.key] = request.id

    def forget(self, requests: Sequence[JobRequest]) -> None:
        """Remove the jobs of these requests, and their songs in the spool folder."""
        super().forget(requests)
        for request in requests:
            if request.key is not None and self._keys.get(request.key) == request.id:
                del self._keys[request.key]

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

    async def end(self) -> None:
        """Write the remaining changes; later ones are not written."""
        try:
            with anyio.CancelScope(shield=True):
                await self.flush()
        finally:
            self._closed = True

    async def mark(self) -> int:
        """Return the mark of the journal: `APPLICATION_ID`, or of a move `MOVED_ID` or `FILLING_ID`."""
        return await self._thread.do(lambda: self._store.mark)

    async def set_mark(self, mark: int) -> None:
        """Set the mark. With one of a move, no client can open the journal."""
        await self._thread.do(partial(self._store.set_mark, mark))

    def _transaction(self, synced: bool) -> _Batch | None:
        """Return the transaction that completes the writing of all changes so far, `None` if all are written."""
        if self._closed:
            raise self._closed_error()
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
        if self._closed:
            batch.error = self._closed_error()
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
            if batch.changes.forgotten and not self._closed:
                self._thread.post(self._store.tidy, self._tidied)
        else:
            batch.changes.merge(self._pending)
            self._pending = batch.changes
        batch.error = error
        batch.over.set()
        self._launch()

    def _tidied(self, _: None, error: Exception | None) -> None:
        if error is not None:
            logger.warning("the disk space of pruned jobs could not be freed: %s", error)

    def _closed_error(self) -> JournalError:
        return JournalError(f"the journal {self._store.path} was closed")
