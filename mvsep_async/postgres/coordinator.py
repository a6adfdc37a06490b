"""The coordinator of a client with a shared journal: divides an account among processes by a PostgreSQL database."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from math import inf
from pathlib import Path
from typing import Any, ClassVar, TypeVar
from uuid import uuid4

import anyio
from attrs import define, field

from mvsep_async.concurrency import Wakeup
from mvsep_async.errors import JournalError
from mvsep_async.jobs.coordinator import CoordinatedClient, Coordinator, JobView
from mvsep_async.jobs.entry import JobEntry, LookupKey
from mvsep_async.jobs.journal import JobDuration
from mvsep_async.jobs.outage import Outage
from mvsep_async.postgres.allowance import LeasedRequests
from mvsep_async.postgres.backend import POLL, RETRY, Availability, Backend
from mvsep_async.postgres.connection import Connection, DatabaseUnavailableError, Transactions
from mvsep_async.postgres.decisions import TURN_PATIENCE, share_of
from mvsep_async.postgres.journal import PostgresJournal
from mvsep_async.postgres.lease import LeaseKeeper, suspend_proof_clock
from mvsep_async.postgres.mirrors import Mirrors, ReportedJobs
from mvsep_async.postgres.notices import Notice, NoticeKind
from mvsep_async.postgres.processes import Snapshot
from mvsep_async.postgres.rows import ViewReader
from mvsep_async.postgres.slots import Claimed, LeaseOverError
from mvsep_async.postgres.store import Store
from mvsep_async.postgres.takeover import Takeover

__all__ = ["SharedCoordinator", "open_coordinator"]

T = TypeVar("T")

logger = logging.getLogger("mvsep_async")


@asynccontextmanager
async def open_coordinator(
    backend: Backend,
    *,
    lease: float,
    shared_files: bool,
    patience: float,
    requests_per_minute: int | None,
    clock: Callable[[], float] = suspend_proof_clock,
    unix_time: Callable[[], float] = time.time,
) -> AsyncIterator[SharedCoordinator]:
    """Connect to the database, migrate its tables and get a lease. At the end, write what is left and end the lease.

    `clock`: the seconds of a clock that also runs while the process is suspended. `unix_time`: this machine's clock.
    Raises `ConfigurationError` or `JournalError` for a database that cannot be used.
    """
    try:
        store, spool = await backend.open()
        coordinator = SharedCoordinator(
            backend,
            store,
            spool,
            await backend.transactions.run(store.jobs.durations),
            lease,
            shared_files,
            patience,
            requests_per_minute,
            clock,
            unix_time,
        )
        try:
            await coordinator.begin()
            yield coordinator
        finally:
            with anyio.CancelScope(shield=True):
                await coordinator.end()
    finally:
        with anyio.CancelScope(shield=True):
            await backend.close()


@define(eq=False)
class SharedCoordinator(Coordinator):
    """Shares slots, requests and jobs with the other processes of an account through a PostgreSQL database."""

    _backend: Backend
    _store: Store
    _spool: Path
    _durations: Sequence[JobDuration]
    _lease_seconds: float
    _shared_files: bool
    _patience: float
    _fixed_limit: int | None
    _clock: Callable[[], float]
    _unix_time: Callable[[], float]
    shared: ClassVar[bool] = True
    journal: PostgresJournal = field(init=False)
    allowance: LeasedRequests = field(init=False)
    slots_elsewhere: Mapping[str, str | None] = field(factory=dict)
    _database: Transactions = field(init=False)
    _availability: Availability = field(init=False)
    _reader: ViewReader = field(init=False)
    _lease: LeaseKeeper = field(init=False)
    _takeover: Takeover = field(init=False)
    _mirrors: Mirrors = field(init=False)
    _reported: ReportedJobs = field(init=False)
    _client: CoordinatedClient | None = None
    _slots_changed: Wakeup = field(factory=Wakeup)
    _claim: str | None = None
    """The token of a claim whose outcome is unknown: the next claim uses it again, so it gets a slot granted before."""
    _turn_of: str | None = None
    """The process whose turn it is, if a slot is free for one of its jobs."""
    _cancelling: set[str] = field(factory=set)
    """Own jobs whose cancellation for another process has begun."""

    def __attrs_post_init__(self) -> None:
        self._database = self._backend.transactions
        self._availability = Availability(self._backend)
        self.allowance = LeasedRequests(self._database, self._store.requests, self._availability, self._fixed_limit)
        self._reader = ViewReader(spool=self._spool)
        self.journal = PostgresJournal(
            self._spool, self._durations, self._database, self._store, self._shared_files, self._give_up
        )
        self._lease = LeaseKeeper(
            self._database,
            self._store.processes,
            self._availability,
            self._lease_seconds,
            self._on_snapshot,
            self._clock,
            self._unix_time,
        )
        self._takeover = Takeover(self._database, self._store, self.journal, self._reader)
        self._mirrors = Mirrors(self._database, self._store.jobs, self._availability, self._reader)
        self._reported = ReportedJobs(self._database, self._store.jobs, self._availability)

    def connect(self, client: CoordinatedClient) -> None:
        self._client = client

    def wall(self) -> float:
        return self._lease.wall()

    @property
    def problem(self) -> str | None:
        return self._availability.problem

    def closing(self) -> None:
        self._backend.closing()

    async def begin(self) -> None:
        """Get a lease, and resume the jobs that were released, as an SQLite journal does when it is opened."""
        await self._lease.renew()
        await self._database.run(self._store.jobs.resume)

    async def end(self) -> None:
        """Write the remaining changes, and end the lease, so that other processes may take over at once."""
        try:
            await self.journal.flush()
        finally:
            self._lease.ended()
            try:
                with anyio.move_on_after(2):
                    await self._database.run(self._store.processes.leave)
            except JournalError as error:
                logger.info("the lease could not be ended and expires by itself: %s", error)

    async def run(self) -> None:
        client = self._client
        assert client is not None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.journal.run)
            tasks.start_soon(self._lease.run, self._on_renewed)
            tasks.start_soon(self._watch_slots, client)
            tasks.start_soon(self.allowance.run)
            tasks.start_soon(self._reported.run, client)
            tasks.start_soon(self._mirrors.run, client)
            await self._backend.listen(self._store.me.account, self._on_notice, self._set_listening)

    def _on_notice(self, notice: Notice) -> None:
        mine = notice.about == self._store.me.process
        match notice.kind:
            case NoticeKind.SLOTS:
                self._slots_changed.set()
            case NoticeKind.TURN if mine:
                self._slots_changed.set()
            case NoticeKind.JOBS:
                self._lease.renew_soon()
            case NoticeKind.OWNER if mine:
                self._lease.renew_soon()
            case NoticeKind.CHANGED:
                self._mirrors.changed(notice.about)

    def _set_listening(self, listening: bool) -> None:
        self._lease.listening = listening
        # Notices may have been missed.
        self._lease.renew_soon()
        self._slots_changed.set()
        self._mirrors.listening(listening)

    def _on_snapshot(self, snapshot: Snapshot) -> None:
        """Give up the jobs that other processes have taken over, before the renewed lease is valid for the others."""
        if snapshot.own is not None and self._client is not None:
            own = self._client.own_jobs()
            # A job that is not written yet cannot have been taken over.
            self._give_up([job.id for job in own if job.id not in snapshot.own and not self.journal.is_new(job.id)])
        self.slots_elsewhere = snapshot.elsewhere
        self.allowance.processes = snapshot.processes
        self.allowance.share = share_of(snapshot.holding, len(snapshot.elsewhere), snapshot.processes)

    async def _on_renewed(self, snapshot: Snapshot) -> None:
        """Take over jobs, and do what other processes ask for or have found out about the jobs of this one."""
        client = self._client
        assert client is not None
        await self._takeover.run(client)
        for job in set(snapshot.cancelling) - self._cancelling:
            client.cancel_requested(job)
        self._cancelling = set(snapshot.cancelling)
        self._reported.set(snapshot.reported, client)
        for job, (hash, remote, host) in snapshot.found.items():
            client.found(job, hash=hash, remote=remote, host=host)
        client.slots_changed()

    # Slots

    async def claim(self, candidate: JobEntry, *, limit: int, group_cap: int | None) -> str | None:
        if self.problem is not None or not self._lease.valid():
            self._lease.renew_soon()  # the dispatcher is woken when it is renewed
            return None
        token = self._claim or uuid4().hex
        self._claim = token
        granted: list[str] = []

        async def take(connection: Connection) -> Claimed:
            claimed = await self._store.slots.claim(
                connection, token, limit=limit, group_cap=group_cap, stamp=self.wall()
            )
            granted[:] = [] if claimed.job is None else [claimed.job]
            return claimed

        try:
            await self.journal.flush()
            claimed = await self._database.run(take)
        except LeaseOverError:
            self._lease.ended()
            self._lease.renew_soon()
            return None
        except JournalError as error:
            self._availability.unreachable(error)
            self._lease.renew_soon()  # the dispatcher is woken when the database is back
            return None
        except anyio.get_cancelled_exc_class():
            for job in granted:
                self.unclaim(job)
            raise
        self._claim = None
        self.slots_elsewhere, self._turn_of = claimed.elsewhere, claimed.turn_of
        if claimed.turn_of is not None:
            self._slots_changed.set()  # claim again after a while, in case that process does not take its turn
        return claimed.job

    def unclaim(self, job: str) -> None:
        entry = None if self._client is None else self._client.own_job(job)
        if entry is not None:
            self.journal.restore(job, entry.state, entry.facts)

    async def _watch_slots(self, client: CoordinatedClient) -> None:
        """Wake the dispatcher when other processes acquire or free slots."""
        while True:
            with anyio.move_on_after(inf if self._lease.listening else POLL):
                await self._slots_changed.wait()
            if self._turn_of is not None:
                self._turn_of = None
                with anyio.move_on_after(TURN_PATIENCE):
                    await self._slots_changed.wait()
            try:
                self.slots_elsewhere = await self._database.run(self._store.slots.elsewhere)
            except JournalError as error:
                self._availability.unreachable(error)
                await anyio.sleep(RETRY)
                self._slots_changed.set()
            else:
                client.slots_changed()

    # Jobs

    async def admit(self, job: JobEntry) -> JobView | None:
        await self._patiently(self.journal.flush)
        same = self.journal.conflicts.pop(job.id, None)
        return None if same is None else await self.find("id", same, patient=True)

    async def _patiently(self, call: Callable[[], Awaitable[T]]) -> T:
        """Return what `call` returns, as soon as the database is there; `patience` limits the wait."""
        outage = Outage(self._patience)
        while True:
            try:
                return await call()
            except DatabaseUnavailableError as error:
                self._availability.unreachable(error)
                if outage.failed(anyio.current_time()):
                    raise
                await anyio.sleep(outage.rest)

    async def find(self, by: LookupKey, value: str, *, patient: bool = False) -> JobView | None:
        jobs = self._store.jobs

        async def look() -> tuple[Any, ...] | None:
            await self.journal.flush()
            return await self._database.run(lambda connection: jobs.find(connection, by, value))

        row = await (self._patiently(look) if patient else look())
        if row is None:
            return None
        *columns, failure = row
        if patient and failure is not None:
            id = self._reader.view(row).record.request.id
            await self._patiently(lambda: self._database.run(lambda connection: jobs.resume(connection, id)))
            self._lease.renew_soon()
            row = *columns, None
        return self._reader.view(row)

    async def acquire(self, job: str) -> bool:
        await self.journal.flush()
        return await self._database.run(lambda connection: self._store.jobs.acquire(connection, job))

    def release(self, job: JobEntry) -> bool:
        if job.facts.error is not None:
            self.journal.release(job.id, job.facts.error)
        return True

    def can_continue(self, job: JobEntry) -> bool:
        if self._takeover.can_continue(job):
            return True
        self._lease.renew_soon()  # it is handed back then
        return False

    async def request_cancel(self, job: str) -> None:
        await self._database.run(lambda connection: self._store.jobs.request_cancel(connection, job))

    async def cancel_refused(self, job: str) -> None:
        self._cancelling.discard(job)
        await self._database.run(lambda connection: self._store.jobs.cancel_refused(connection, job))

    async def confirm(self, job: str, *, patient: bool = False) -> None:
        await self._lease.check(job, patient=patient)
        if self._client is not None and self._client.is_elsewhere(job):
            raise JournalError(f"job {job} was taken over by another process of this account", job=job)

    def _give_up(self, jobs: Sequence[str]) -> None:
        if self._client is not None:
            self._takeover.give_up(jobs, self._client)

    def keep_updated(self, job: JobEntry) -> None:
        self._mirrors.add(job)
