"""Move the jobs of an account from an SQLite journal into a shared one, and back.

At every moment exactly one of the two journals can be used: the SQLite file is marked as moved before the jobs are
written to the database in one transaction, and keeps the mark until they are deleted there in one transaction. So a
move that was interrupted loses nothing and pays for nothing twice: the same move again finishes it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from anyio import to_thread
from attrs import astuple, evolve

from mvsep_async.concurrency import in_thread
from mvsep_async.errors import JournalError
from mvsep_async.http.token import Token
from mvsep_async.jobs.coordinator import JobView
from mvsep_async.jobs.journal import JobDuration, Record
from mvsep_async.jobs.request import JobRequest
from mvsep_async.journal.changes import PendingChanges, Row
from mvsep_async.journal.rows import facts_row, request_row
from mvsep_async.journal.schema import APPLICATION_ID, FILLING_ID, MOVED_ID
from mvsep_async.journal.sqlite import SqliteJournal, open_journal
from mvsep_async.journal.summary import is_over
from mvsep_async.postgres.account import AccountTables, open_account
from mvsep_async.postgres.rows import machine_of, turn_group
from mvsep_async.postgres.statements import AccountLock
from mvsep_async.postgres_url import PostgresURL
from mvsep_async.sources import Spooled

__all__ = ["move_to_postgres", "move_to_sqlite"]


async def move_to_postgres(
    path: Path, url: PostgresURL, token: Token | None, service: str, *, shared_files: bool = False
) -> int:
    """Move all jobs of an SQLite journal into a database, and return how many.

    The file stays, marked as moved. Raises `JournalError` if it is in use, or if the database has some of its jobs.
    """
    if not await to_thread.run_sync(path.exists):
        raise JournalError(f"there is no journal at {path}")
    async with open_account(url, token, service) as tables, open_journal(path, moving=True) as (source, records):
        mark = await source.mark()
        if mark == FILLING_ID:
            raise JournalError(f"jobs were being moved to the journal {path}: run that command again first")
        interrupted = mark == MOVED_ID
        there = await _present(tables, records)
        if there and not (interrupted and len(there) == len(records)):
            raise _mixed(url, there)
        if not there:
            await _copy_spooled(records, tables.spool)
            await source.set_mark(MOVED_ID)
            try:
                await _insert(tables, records, source.durations, shared_files=shared_files)
            except Exception as error:
                if not _outcome_unknown(error):
                    await source.set_mark(mark)
                raise
        await _remove_spooled(records, source.spool)
    return len(records)


async def move_to_sqlite(url: PostgresURL, path: Path, token: Token | None, service: str) -> int:
    """Move all jobs of an account from a database into an SQLite journal, and return how many.

    Raises `JournalError` if a process uses the account's jobs, if jobs need files of another machine, or if the file
    has jobs already.
    """
    async with open_account(url, token, service) as tables:
        await _check_unused(tables, url)
        async with open_journal(path, moving=True) as (target, records):
            if records and await target.mark() != FILLING_ID:
                raise JournalError(f"the journal {path} has {len(records)} jobs already: give a new file")
            if not records or await _present(tables, records):
                await target.set_mark(FILLING_ID)
                await _forget(target, records)
                try:
                    async with tables.connection.transaction():
                        records = await _check_out(tables, target.spool, url)
                        await _write_out(tables, target, records)
                except Exception as error:
                    if not _outcome_unknown(error):
                        await _forget(target, records)
                        await target.set_mark(APPLICATION_ID)
                    raise
            await target.set_mark(APPLICATION_ID)
            await _remove_spooled(records, tables.spool)
    return len(records)


async def _insert(
    tables: AccountTables, records: Sequence[Record], durations: Sequence[JobDuration], *, shared_files: bool
) -> None:
    """Write jobs in one transaction. They belong to no process, so the next one takes them over."""
    store = tables.store
    latest = {record.request.content: record.request.id for record in records}
    added = {
        record.request.id: request_row(_moved_request(record, tables.spool, latest), spool=tables.spool)
        for record in records
    }
    changed = {record.request.id: facts_row(record.state, record.facts) for record in records}
    machines = {
        record.request.id: (
            turn_group(record.request.group),
            machine_of(record.request, store.me.machine, shared_files=shared_files),
        )
        for record in records
    }
    learned: list[Row] = [astuple(one) for one in durations]
    async with tables.connection.transaction():
        await tables.connection.execute(
            "INSERT INTO mvsep.accounts (id) VALUES (%s) ON CONFLICT DO NOTHING", (tables.account,)
        )
        written = await store.jobs.write(
            tables.connection, PendingChanges(added=added, changed=changed, durations=learned), machines
        )
        if written.conflicts or written.elsewhere:
            same = ", ".join(list(written.conflicts.values())[:3])
            raise JournalError(f"the database has jobs with the same keys or songs ({same}): nothing was moved")
        await store.processes.leave(tables.connection)


def _moved_request(record: Record, spool: Path, latest: Mapping[str | None, str]) -> JobRequest:
    """Return the request of a job for the database, where only the latest job of a song is found by it."""
    request = _with_spool(record, spool).request
    return request if latest[request.content] == request.id else evolve(request, content=None)


async def _check_out(tables: AccountTables, spool: Path, url: PostgresURL) -> list[Record]:
    """Lock the account in the transaction that is open, copy its spooled songs, and return its jobs."""
    # A process that opens the journal meanwhile waits here for the account.
    await tables.store.jobs.lock_account(tables.connection, AccountLock.MOVE)
    await _check_unused(tables, url)
    views = await tables.views()
    _check_files(views, tables.store.me.machine)
    await _copy_spooled([view.record for view in views], spool)
    return [_with_spool(view.record, spool) for view in views]


async def _write_out(tables: AccountTables, target: SqliteJournal, records: Sequence[Record]) -> None:
    """Write jobs to the file, and delete them in the transaction that is open."""
    for record in records:
        target.add(record.request)
        target.update(record.request.id, record.state, record.facts)
    if not target.durations:  # else they were written by a move that was interrupted
        for duration in await tables.store.jobs.durations(tables.connection):
            target.learn(duration)
    await target.flush(synced=True)
    for table in ("jobs", "turns", "durations"):
        await tables.connection.execute(
            f"DELETE FROM mvsep.{table} WHERE account = %s",  # noqa: S608
            (tables.account,),
        )


async def _forget(target: SqliteJournal, records: Sequence[Record]) -> None:
    """Remove jobs from the file, while they are still in the database."""
    target.forget([record.request for record in records])
    await target.flush(synced=True)


async def _check_unused(tables: AccountTables, url: PostgresURL) -> None:
    processes = await tables.processes()
    if processes:
        names = ", ".join(process.name for process in processes)
        raise JournalError(f"the journal {url} is in use by {names}: stop them, or wait until they end")


def _outcome_unknown(error: Exception) -> bool:
    """Tell whether a transaction may have been committed: the connection was lost."""
    import psycopg

    return isinstance(error, psycopg.OperationalError)


def _check_files(views: Iterable[JobView], machine: str) -> None:
    elsewhere = [
        view.record.request.id
        for view in views
        if view.machine not in (None, machine) and view.record.request.uploads and not is_over(view.record)
    ]
    if elsewhere:
        raise JournalError(
            f"{len(elsewhere)} unfinished jobs need files of another machine ({elsewhere[0]} and others): finish them "
            "first, or move the journal there"
        )


async def _present(tables: AccountTables, records: Sequence[Record]) -> list[str]:
    rows = await tables.rows(
        "SELECT id FROM mvsep.jobs WHERE id = ANY(%s)", ([record.request.id for record in records],)
    )
    return [id for (id,) in rows]


def _mixed(url: PostgresURL, there: Sequence[str]) -> JournalError:
    return JournalError(
        f"the journal {url} has {len(there)} of these jobs already ({there[0]} and others): nothing was moved"
    )


def _with_spool(record: Record, spool: Path) -> Record:
    """Return a record whose spooled song is in this folder."""
    source = record.request.source
    if not isinstance(source, Spooled):
        return record
    moved = Spooled(spool / source.path.name, source.filename)
    return evolve(record, request=evolve(record.request, source=moved))


async def _copy_spooled(records: Iterable[Record], spool: Path) -> None:
    """Copy the spooled songs of jobs into another folder, unless they are there or no longer needed."""
    songs = [record.request.source.path for record in records if isinstance(record.request.source, Spooled)]
    if songs:
        await in_thread(_copy, songs, spool)


async def _remove_spooled(records: Iterable[Record], spool: Path) -> None:
    """Remove the songs of moved jobs from the folder that they were copied from."""
    names = [record.request.source.path.name for record in records if isinstance(record.request.source, Spooled)]
    if names:
        await in_thread(_remove, names, spool)


def _remove(names: Sequence[str], spool: Path) -> None:
    for name in names:
        (spool / name).unlink(missing_ok=True)


def _copy(songs: Sequence[Path], spool: Path) -> None:
    spool.mkdir(parents=True, exist_ok=True, mode=0o700)
    for song in songs:
        copy = spool / song.name
        if not song.exists() or copy.exists():
            continue
        part = copy.with_name(f"{copy.name}.copying")
        shutil.copyfile(song, part)
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        part.replace(copy)
