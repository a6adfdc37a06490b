"""The coordinator of a client with a shared journal: divides an account among processes by a PostgreSQL database."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from math import inf
from pathlib import Path
from typing import Any, Final, TypeVar
from uuid import uuid4

import anyio
from attrs import define, field

from mvsep_async.concurrency import Yielder
from mvsep_async.errors import ConfigurationError, JournalError
from mvsep_async.http.token import Token
from mvsep_async.jobs.coordinator import Engine, JobView
from mvsep_async.jobs.entry import JobEntry
from mvsep_async.jobs.journal import Journal
from mvsep_async.jobs.lifecycle import JobState
from mvsep_async.jobs.outage import Outage
from mvsep_async.postgres.allowance import LeasedRequests, RequestLeaser
from mvsep_async.postgres.backend import Backend, PostgresBackend
from mvsep_async.postgres.connection import Connection, DatabaseUnavailableError, Transactions
from mvsep_async.postgres.decisions import TURN_PATIENCE, Lease, share_of
from mvsep_async.postgres.journal import PostgresJournal
from mvsep_async.postgres.mirrors import Mirrors, ReportedJobs
from mvsep_async.postgres.notices import Notice, NoticeKind
from mvsep_async.postgres.processes import Snapshot
from mvsep_async.postgres.rows import ViewReader, needs_file
from mvsep_async.postgres.slots import Claimed, LeaseOverError
from mvsep_async.postgres.store import Store
from mvsep_async.postgres_url import PostgresURL

__all__ = ["SharedCoordinator", "open_coordinator"]

T = TypeVar("T")

logger = logging.getLogger("mvsep_async")

_RENEWALS: Final = 3
"""How often a lease is renewed before it ends."""

_MARGIN: Final = 1 / 6
"""The part of a lease by which it ends earlier here than in the database."""

_POLL: Final = 2.0
"""Seconds between two queries for changes if notices do not arrive, as through a pooler in transaction mode."""

_RETRY: Final = 1.0
"""Seconds between two attempts to reach the database."""

_CONFIRM: Final = 3.0
"""Seconds to wait for a renewed lease before the last byte of a create: a held body costs a connection."""


def open_coordinator(
    url: PostgresURL,
    token: Token | None,
    service: str,
    *,
    lease: float,
    shared_files: bool,
    patience: float,
    requests_per_minute: int | None,
) -> SharedCoordinator:
    """Return the coordinator for the journal in this database; `journal.open` connects to it.

    Raises `ConfigurationError` without a token, which tells the accounts in one database apart.
    """
    if token is None:
        raise ConfigurationError("a PostgreSQL journal needs an API token: set MVSEP_API_TOKEN, or pass api_token")
    return SharedCoordinator(PostgresBackend(url, token, service), lease, shared_files, patience, requests_per_minute)


def clock() -> float:
    """Return the seconds of a clock that also runs while the process or the machine is suspended."""
    boottime = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boottime is None else time.clock_gettime(boottime)


@define(eq=False)
class SharedCoordinator:
    """Shares slots, requests and jobs with the other processes of an account through a PostgreSQL database.

    The process has a lease, which it renews by the database's clock. While the lease may have expired, no create is
    finished, no job is cancelled and no downloaded file gets its name, since another process may have taken over the
    jobs.

    `clock`: the seconds of a clock that also runs while the process is suspended. `unix_time`: this machine's clock.
    """

    _backend: Backend
    _lease_seconds: float
    _shared_files: bool
    _patience: float
    _fixed_limit: int | None
    _clock: Callable[[], float] = field(default=clock, kw_only=True)
    _unix_time: Callable[[], float] = field(default=time.time, kw_only=True)
    shared: bool = True
    allowance: LeasedRequests = field(factory=lambda: LeasedRequests(anyio.current_time))
    slots_elsewhere: Mapping[str, str | None] = field(factory=dict)
    problem: str | None = None
    _database: Transactions = field(init=False)
    _journal: PostgresJournal = field(init=False)
    _lease: Lease = field(init=False)
    _engine: Engine | None = None
    _reader: ViewReader | None = None
    _name: str = field(factory=lambda: f"{socket.gethostname()} {os.getpid()}")
    _offset: float = 0.0
    """Seconds to add to this machine's Unix time to get the database's."""
    _listening: bool = False
    _unsure: bool = False
    """Whether jobs may have been taken over by a transaction whose outcome is not known."""
    _renew_now: anyio.Event = field(factory=anyio.Event)
    _renewed: anyio.Event = field(factory=anyio.Event)
    _slots_changed: anyio.Event = field(factory=anyio.Event)
    _claim: str | None = None
    """The token of a claim whose outcome is unknown: the next claim uses it again, so it gets a slot granted before."""
    _turn_of: str | None = None
    """The process whose turn it is, if a slot is free for one of its jobs."""
    _mirrors: Mirrors = field(init=False)
    _reported: ReportedJobs = field(init=False)
    _cancelling: set[str] = field(factory=set)
    """Own jobs whose cancellation for another process has begun."""
    _unreadable: set[str] = field(factory=set)
    """Jobs taken over whose files are on another machine."""

    def __attrs_post_init__(self) -> None:
        self._database = self._backend.transactions
        self._journal = PostgresJournal(self._database, self._shared_files, self._connect, self._disconnect, self._lost)
        self._lease = Lease(self._lease_seconds, self._lease_seconds * _MARGIN)
        self._mirrors = Mirrors(self._database, self._set_unavailable)
        self._reported = ReportedJobs(self._database, self._set_unavailable)

    @property
    def journal(self) -> Journal:
        return self._journal

    def connect(self, engine: Engine) -> None:
        self._engine = engine

    def wall(self) -> float:
        return self._unix_time() + self._offset

    def closing(self) -> None:
        self._backend.closing()

    async def _connect(self) -> tuple[Store, Path]:
        """Connect to the database, migrate its tables and get a lease."""
        store, spool = await self._backend.open()
        self._reader = ViewReader(spool=spool)
        await self._renew(store)
        await self._database.run(store.jobs.resume)  # as an SQLite journal does when it is opened
        return store, spool

    async def _disconnect(self) -> None:
        """End the lease, so that other processes may take over at once, and the connection."""
        self._lease.ended()
        try:
            with anyio.move_on_after(2):
                await self._database.run(self._journal.store.processes.leave)
        except JournalError as error:
            logger.info("the lease could not be ended and expires by itself: %s", error)
        await self._backend.close()

    async def run(self) -> None:
        store, engine = self._journal.store, self._engine
        assert engine is not None
        requests = RequestLeaser(
            self.allowance, self._database, store.requests, self._fixed_limit, self._set_unavailable
        )
        async with anyio.create_task_group() as tasks:
            for work in (self._journal.run, self._keep_lease, self._watch_slots):
                tasks.start_soon(work)
            tasks.start_soon(requests.run)
            tasks.start_soon(self._reported.run, store.jobs, engine)
            tasks.start_soon(self._mirrors.run, store.jobs, engine, self._view)
            await self._backend.listen(self._on_notice, self._set_listening)

    def _on_notice(self, notice: Notice) -> None:
        mine = notice.about == self._journal.store.me.process
        match notice.kind:
            case NoticeKind.SLOTS:
                self._slots_changed.set()
            case NoticeKind.TURN if mine:
                self._slots_changed.set()
            case NoticeKind.JOBS:
                self._renew_now.set()
            case NoticeKind.OWNER if mine:
                self._renew_now.set()
            case NoticeKind.CHANGED:
                self._mirrors.changed(notice.about)

    def _set_listening(self, listening: bool) -> None:
        self._listening = listening
        # Notices may have been missed.
        self._renew_now.set()
        self._slots_changed.set()
        self._mirrors.listening(listening)

    def _view(self, row: Sequence[Any]) -> JobView:
        assert self._reader is not None
        *columns, failure = row
        return self._reader.view(columns, failure=failure)

    def _set_unavailable(self, error: JournalError) -> None:
        if self.problem is None:
            logger.warning("%s; no create begins until it can be reached", error)
        self.problem = error.message

    def _set_available(self) -> None:
        if self.problem is not None:
            logger.warning("the shared journal %s can be reached again", self._backend)
        self.problem = None

    # Slots

    async def claim(self, candidate: JobEntry, *, limit: int, group_cap: int | None) -> str | None:
        if self.problem is not None or not self._lease.valid(self._clock()):
            self._renew_now.set()  # the dispatcher is woken when it is renewed
            return None
        token, store = self._claim or uuid4().hex, self._journal.store
        self._claim = token
        granted: list[str] = []

        async def take(connection: Connection) -> Claimed:
            claimed = await store.slots.claim(connection, token, limit=limit, group_cap=group_cap, stamp=self.wall())
            granted[:] = [] if claimed.job is None else [claimed.job]
            return claimed

        try:
            await self._journal.flush()
            claimed = await self._database.run(take)
        except LeaseOverError:
            self._lease.ended()
            self._renew_now.set()
            return None
        except JournalError as error:
            self._set_unavailable(error)
            self._renew_now.set()  # the dispatcher is woken when the database is back
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
        entry = None if self._engine is None else self._engine.own_job(job)
        if entry is not None:
            self._journal.restore(job, entry.state, entry.facts)

    async def _watch_slots(self) -> None:
        """Wake the dispatcher when other processes acquire or free slots."""
        while True:
            with anyio.move_on_after(inf if self._listening else _POLL):
                await self._slots_changed.wait()
            self._slots_changed = anyio.Event()
            if self._turn_of is not None:
                self._turn_of = None
                with anyio.move_on_after(TURN_PATIENCE):
                    await self._slots_changed.wait()
            try:
                self.slots_elsewhere = await self._database.run(self._journal.store.slots.elsewhere)
            except JournalError as error:
                self._set_unavailable(error)
                await anyio.sleep(_RETRY)
                self._slots_changed.set()
            else:
                self._to_engine(lambda engine: engine.slots_changed())

    # Jobs

    async def admit(self, job: JobEntry) -> JobView | None:
        await self._patiently(self._journal.flush)
        same = self._journal.conflicts.pop(job.id, None)
        return None if same is None else await self.find(id=same, patient=True)

    async def _patiently(self, call: Callable[[], Awaitable[T]]) -> T:
        """Return what `call` returns, as soon as the database is there; `patience` limits the wait."""
        outage = Outage(self._patience)
        while True:
            try:
                return await call()
            except DatabaseUnavailableError as error:
                self._set_unavailable(error)
                if outage.failed(anyio.current_time()):
                    raise
                await anyio.sleep(outage.rest)

    async def find(
        self,
        *,
        id: str | None = None,
        hash: str | None = None,
        key: str | None = None,
        fingerprint: str | None = None,
        content: str | None = None,
        patient: bool = False,
    ) -> JobView | None:
        store = self._journal.store
        given = {"id": id, "hash": hash, "key": key, "fingerprint": fingerprint, "content": content}
        column, value = next(((name, value) for name, value in given.items() if value is not None), ("id", ""))

        async def look() -> tuple[Any, ...] | None:
            await self._journal.flush()
            return await self._database.run(lambda connection: store.jobs.find(connection, column, value))

        row = await (self._patiently(look) if patient else look())
        if row is None:
            return None
        *columns, failure = row
        if patient and failure is not None:
            id = self._view(row).record.request.id
            await self._patiently(lambda: self._database.run(lambda connection: store.jobs.resume(connection, id)))
            self._renew_now.set()
            row = *columns, None
        return self._view(row)

    async def acquire(self, job: str) -> bool:
        store = self._journal.store
        await self._journal.flush()
        return await self._database.run(lambda connection: store.jobs.acquire(connection, job))

    def release(self, job: JobEntry) -> bool:
        if job.facts.error is not None:
            self._journal.release(job.id, job.facts.error)
        return True

    def can_continue(self, job: JobEntry) -> bool:
        if job.id not in self._unreadable or not _needs_its_machine(job):
            return True
        self._renew_now.set()  # it is handed back then
        return False

    async def request_cancel(self, job: str) -> None:
        store = self._journal.store
        await self._database.run(lambda connection: store.jobs.request_cancel(connection, job))

    async def cancel_refused(self, job: str) -> None:
        store = self._journal.store
        self._cancelling.discard(job)
        await self._database.run(lambda connection: store.jobs.cancel_refused(connection, job))

    async def confirm(self, job: str, *, patient: bool = False) -> None:
        while not self._lease.valid(self._clock()):
            self._renew_now.set()
            renewed = self._renewed
            with anyio.move_on_after(inf if patient else _CONFIRM) as scope:
                await renewed.wait()
            if scope.cancelled_caught:
                raise DatabaseUnavailableError(
                    "the shared journal cannot be reached, so another process may have taken over the job", job=job
                )
        if self._engine is not None and self._engine.is_elsewhere(job):
            raise JournalError(f"job {job} was taken over by another process of this account", job=job)

    def _lost(self, jobs: Sequence[str]) -> None:
        """Stop working on jobs that belong to another process."""
        for job in jobs:
            self._journal.drop(job)
            self._unreadable.discard(job)
            self._to_engine(lambda engine, job=job: engine.give_up(job))  # type: ignore[misc]

    # The lease

    async def _keep_lease(self) -> None:
        while True:
            self._renew_now = anyio.Event()
            pause = self._lease_seconds / _RENEWALS
            try:
                await self._renew_and_update()
            except JournalError as error:
                self._set_unavailable(error)
                pause = _RETRY
            with anyio.move_on_after(pause if self._listening else min(pause, _POLL)):
                await self._renew_now.wait()

    async def _renew_and_update(self) -> None:
        store = self._journal.store
        snapshot = await self._renew(store)
        engine = self._engine
        if engine is None:
            return
        await self._take_over(store, engine)
        await self._hand_back(store, engine)
        for job in set(snapshot.cancelling) - self._cancelling:
            engine.cancel_requested(job)
        self._cancelling = set(snapshot.cancelling)
        self._reported.set(snapshot.reported, engine)
        for job, (hash, remote, host) in snapshot.found.items():
            engine.found(job, hash=hash, remote=remote, host=host)
        engine.slots_changed()

    async def _renew(self, store: Store) -> Snapshot:
        sent_at, wall = self._clock(), self._unix_time()
        lapsed = not self._lease.valid(sent_at)
        snapshot = await self._database.run(
            lambda connection: store.processes.renew(
                connection, name=self._name, lease=self._lease_seconds, all_jobs=lapsed
            )
        )
        if snapshot.own is not None and self._engine is not None:
            own = self._engine.own_jobs()
            # A job that is not written yet cannot have been taken over.
            self._lost([job.id for job in own if job.id not in snapshot.own and not self._journal.is_new(job.id)])
        self._lease.renewed(sent_at)
        self._offset = snapshot.now - (wall + self._unix_time()) / 2
        self.allowance.processes = snapshot.processes
        self.slots_elsewhere = snapshot.elsewhere
        self.allowance.share = share_of(snapshot.holding, len(snapshot.elsewhere), snapshot.processes)
        self._set_available()
        self._renewed.set()
        self._renewed = anyio.Event()
        return snapshot

    async def _take_over(self, store: Store, engine: Engine) -> None:
        yielder = Yielder()

        async def take(connection: Connection) -> list[tuple[Any, ...]]:
            unsure, self._unsure = self._unsure, True
            unknown = await store.processes.own(connection) if unsure else ()
            missing = [job for job in unknown if engine.own_job(job) is None]
            return await store.processes.take_over(connection, also=missing)

        if self._unsure:
            await self._journal.flush()  # so that no job is there that was forgotten
        while rows := await self._database.run(take):
            self._unsure = False
            logger.info("taking over %d jobs of processes that have ended", len(rows))
            for row in rows:
                try:
                    view = self._view(row)
                except JournalError as error:
                    logger.error("a job of the shared journal cannot be taken over: %s", error)
                    continue
                id = view.record.request.id
                if engine.own_job(id) is not None:
                    self._lost([id])  # to the process that has ended, while this one was suspended
                if view.machine not in (None, store.me.machine):
                    self._unreadable.add(id)
                engine.take_over(view)
                await yielder.maybe_yield()
        self._unsure = False

    async def _hand_back(self, store: Store, engine: Engine) -> None:
        """Release jobs that need files of another machine, for a process there."""
        jobs = [
            job for job in self._unreadable if (entry := engine.own_job(job)) is not None and _needs_its_machine(entry)
        ]
        if jobs:
            await self._journal.flush()
            await self._database.run(lambda connection: store.processes.hand_back(connection, jobs))
            self._lost(jobs)

    def keep_updated(self, job: JobEntry) -> None:
        self._mirrors.add(job)

    def _to_engine(self, call: Callable[[Engine], None]) -> None:
        if self._engine is not None:
            call(self._engine)


def _needs_its_machine(job: JobEntry) -> bool:
    """Tell whether a job can continue only on the machine that has its song or its target."""
    if job.state is JobState.QUEUED:
        return needs_file(job.request)
    return job.state is JobState.DONE and job.request.target is not None
