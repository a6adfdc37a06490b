"""What lives between entering and leaving a client's block: the parts, joined."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from os import PathLike
from pathlib import Path
from typing import Final

import anyio
import httpx
from anyio import CancelScope, to_thread
from anyio.abc import TaskGroup
from attrs import define, evolve, field

from mvsep_async.catalogue.cache import DiskCache
from mvsep_async.catalogue.store import CatalogueStore
from mvsep_async.creating.finder import Finder
from mvsep_async.creating.launch import Launcher
from mvsep_async.creating.search import Search
from mvsep_async.endpoints.account import AccountAPI
from mvsep_async.endpoints.separations import SeparationsAPI
from mvsep_async.endpoints.site import SiteAPI
from mvsep_async.errors import ClientClosedError, InvalidRequestError, MVSepError, UploadError
from mvsep_async.http.budget import Budget
from mvsep_async.http.call import Caller, Json
from mvsep_async.http.gate import Gate
from mvsep_async.http.hosts import Host
from mvsep_async.http.redaction import protect
from mvsep_async.http.retry import PatientCaller
from mvsep_async.http.wire import Wire
from mvsep_async.intake import Intake
from mvsep_async.jobs.facts import Facts
from mvsep_async.jobs.job import Job
from mvsep_async.jobs.keeping import Journal, NoJournal
from mvsep_async.jobs.ledger import Ledger
from mvsep_async.jobs.lifecycle import State
from mvsep_async.jobs.order import Order, Settings, Target, new_id
from mvsep_async.jobs.outage import Outage
from mvsep_async.jobs.progress import Progress
from mvsep_async.observe.events import BudgetWaited, Listener, Retried, Submitted, told
from mvsep_async.options import Options
from mvsep_async.results.fetcher import Fetcher
from mvsep_async.scheduling.scheduler import FREE_SLOTS, PREMIUM_SLOTS, Scheduler
from mvsep_async.sources import Held, Source
from mvsep_async.transfer.network import make_http
from mvsep_async.turns import Turns
from mvsep_async.watching.polling import Lookout
from mvsep_async.watching.watcher import Watcher

__all__ = ["Session"]

_GRACE: Final = 180.0
"""Seconds that the service may need until an accepted job is in its lists, and is found by its hash: the three minutes
that were seen of URL jobs."""

_GUEST_GRACE: Final = 10.0
"""The same for a job made elsewhere, which most often is an old one: a wrong hash shall be told soon."""

_CLOSING: Final = 0.2
"""Seconds for the connections' goodbyes when the client closes."""

_SEEING_OFF: Final = 1.0
"""Seconds for callers' downloads to keep what they have when the client closes."""

_DATED: Final = 14
"""Digits that a file job's hash begins with: its date. The short hash of a URL job has none."""


@define(eq=False)
class Session:
    """The parts of one open client."""

    options: Options
    http: httpx.AsyncClient
    journal: Journal
    tasks: TaskGroup
    caller: Caller
    catalogue: CatalogueStore
    intake: Intake
    ledger: Ledger = field(init=False)
    scheduler: Scheduler = field(init=False)
    watcher: Watcher = field(init=False)
    stack: AsyncExitStack = field(init=False)
    closed: bool = False
    _turns: Turns = field(factory=Turns)
    _visitors: set[CancelScope] = field(factory=set)
    _left: anyio.Event = field(factory=anyio.Event)

    @classmethod
    async def open(cls, options: Options, http: httpx.AsyncClient | None) -> Session:
        """Open everything; what was opened is closed again when the rest cannot be."""
        async with AsyncExitStack() as stack:
            if http is None:
                # Reading the certificate authorities takes some 20 ms: not on the caller's loop.
                http = await to_thread.run_sync(make_http, options.timeout)
                stack.push_async_callback(_close_http, http)
            journal = _journal(options.journal)
            records = await journal.open()
            stack.push_async_callback(_close_journal, journal)
            tell = told(options.on_event)
            gate = Gate(Budget(fixed=options.requests_per_minute), on_wait=lambda seconds: tell(BudgetWaited(seconds)))
            if options.token is not None:
                protect(options.token)
            wire = Wire(http, options.base, options.token, gate, options.timeout)
            caller = PatientCaller(
                wire, pace=options.pace, on_retry=lambda what, error: tell(Retried(what, str(error)))
            )
            cache = None if options.cache is None else DiskCache(options.cache, str(options.base))
            catalogue = CatalogueStore(SiteAPI(caller).algorithms, cache=cache)
            intake = Intake(catalogue.get, AccountAPI(caller).user, journal.spool)
            stack.push_async_callback(intake.close)
            tasks = await stack.enter_async_context(_tasks())
            session = cls(options, http, journal, tasks, caller, catalogue, intake)
            session._join(wire, gate, tell)
            for record in records:
                session.ledger.restore(record)
            for job in list(session.ledger.jobs.values()):
                session.scheduler.resume(job)
            tasks.start_soon(session.scheduler.run)
            session.stack = stack.pop_all()
        return session

    def _join(self, wire: Wire, gate: Gate, tell: Listener) -> None:
        options = self.options
        pace = options.pace
        separations, account = SeparationsAPI(wire), AccountAPI(wire)
        self.ledger = Ledger(self, self.journal, lambda job, before: self.scheduler.react(job, before), tell)
        self.watcher = Watcher(
            self.ledger,
            separations,
            None if options.token is None else account,
            options.base,
            gate,
            Lookout(options.poll_interval),
            options.patience,
            pace,
            grace=_GRACE * pace,
            on_account=lambda user: self.scheduler.take_account(user),
        )
        self.scheduler = Scheduler(
            self.ledger,
            Launcher(self.ledger, separations, options.base),
            self.watcher,
            Finder(self.ledger, account, Search(_GRACE * pace), Outage(options.patience, pace)),
            Fetcher(self.ledger, self.http, SeparationsAPI(self.caller), options.patience, pace),
            SeparationsAPI(self.caller),
            account,
            options.concurrency,
            options.patience,
            pace=pace,
            group_cap=options.group_cap,
        )

    async def close(self) -> None:
        """Stop at once, leaving nothing behind: what is unfinished stays at the service, and in the journal."""
        self.closed = True
        self.scheduler.close()
        self.tasks.cancel_scope.cancel()
        try:
            await self._see_off()
            await self.stack.aclose()
        finally:
            self.scheduler.leave()
            for job in self.ledger.jobs.values():
                job.let_go()

    async def _see_off(self) -> None:
        """End what callers' tasks do with the parts, and let them put down what they hold."""
        with CancelScope(shield=True), anyio.move_on_after(_SEEING_OFF):
            while self._visitors:
                self._left = anyio.Event()
                for scope in self._visitors:
                    scope.cancel()
                await self._left.wait()

    async def accept(
        self,
        source: Source,
        settings: Settings,
        filename: str | None,
        group: str | None,
        priority: int,
        key: str | None,
        metadata: Json,
        target: Target | None = None,
        *,
        bulk: bool = False,
    ) -> Job:
        """Take in a job and put it in line; with `key`, give the one that there is.

        With `bulk`, give the one that the journal holds for the same song, and one that failed for a song that cannot
        be sent.
        """
        order = Order(new_id(), None, settings, filename, group, priority, key, self.intake.metadata(metadata), target)
        async with self._turns.of(key):
            return self.ledger.known(key=key) or await self._accept(order, source, bulk=bulk)

    async def _accept(self, order: Order, source: Source, *, bulk: bool) -> Job:
        held: Held = None
        mark = None
        try:
            held = await self.intake.hold(source, order.filename, order.settings)
            if bulk and self.options.journal is not None:
                mark = await _fingerprint(held, order.settings)
            async with self._turns.of(mark):
                known = self.ledger.known(fingerprint=mark)
                job = known or await self._enter(evolve(order, source=held), mark)
        except (InvalidRequestError, UploadError, OSError) as error:
            await self.intake.drop(held)
            if not bulk:
                raise
            failed = error if isinstance(error, MVSepError) else InvalidRequestError(f"{source!r}: {error}")
            named = source if isinstance(source, str | PathLike) else None
            name = order.filename or _shown(named, source)
            return self._rejected(evolve(order, source=named, filename=name), failed)
        except BaseException:
            await self.intake.drop(held)
            raise
        if known is not None:
            await self.intake.drop(held)
        return job

    async def _enter(self, order: Order, fingerprint: str | None) -> Job:
        """Take a job in and put it in line; when this is cancelled or fails, there is no job."""
        job = self.ledger.enter(order, fingerprint=fingerprint)
        if self.options.journal is not None:
            try:
                await self.journal.settle()
            except BaseException:
                self.ledger.forget([job])
                raise
        self.ledger.tell(Submitted(job.id, order.settings.algorithm, order.group))
        self.scheduler.submit(job)
        return job

    async def settle(self, job: Job, target: Target | None) -> list[Path]:
        """Wait until a job is over and its files are where `target` says, and return their paths.

        Raises the error of a later download only, not of one that was asked for with the job.
        """
        await job.ended()
        failed_there = job.state is State.FAILED and job.order.target == target
        if target is None or job.facts.separation is None or failed_there:
            return []
        return await self.download(job, target)

    def attach(self, hash: str, host: Host | None) -> Job:
        """Watch a job that was made elsewhere."""
        remote = not hash[:_DATED].isdecimal()
        facts = Facts(remote=hash, host=host) if remote else Facts(hash=hash, host=host)
        state = State.FETCHING if remote else State.WAITING
        job = self.ledger.enter_guest(Order(new_id(), None, Settings()), state, facts)
        self.watcher.watch(job, grace=_GUEST_GRACE * self.options.pace)
        self.watcher.hasten(job)  # most often it is over already
        return job

    def width(self) -> int:
        """Return how many jobs may be at the service, as far as is known: those of a free account at first."""
        user = self.scheduler.user
        return self.options.concurrency or (PREMIUM_SLOTS if user is not None and user.is_premium else FREE_SLOTS)

    async def widened(self) -> None:
        """Return when the account has said what `width` is."""
        await self.scheduler.introduced.wait()

    def place(self, job: Job) -> Progress:
        return self.scheduler.line.progress(job)

    def follow(self, job: Job) -> Progress:
        return self.scheduler.line.follow(job)

    async def cancel(self, job: Job) -> bool:
        with self.visit():
            return await self.scheduler.cancel(job)

    async def download(self, job: Job, target: Target) -> list[Path]:
        with self.visit():
            return await self.scheduler.download(job, target)

    @contextmanager
    def visit(self) -> Iterator[None]:
        """Let a caller's own task work with the parts in this block; closing ends it with `ClientClosedError`."""
        if self.closed:
            raise ClientClosedError("the client is closed: its block was left")
        scope = CancelScope()
        self._visitors.add(scope)
        try:
            with scope:
                yield
        finally:
            self._visitors.discard(scope)
            self._left.set()
        if scope.cancelled_caught:
            raise ClientClosedError("the client was closed meanwhile: its block was left")

    def _rejected(self, order: Order, error: MVSepError) -> Job:
        error.job = order.id
        return self.ledger.enter_guest(order, State.FAILED, Facts(error=error))


@asynccontextmanager
async def _tasks() -> AsyncIterator[TaskGroup]:
    """Own the client's tasks: none of them outlives the block."""
    async with anyio.create_task_group() as tasks:
        yield tasks
        tasks.cancel_scope.cancel()


async def _close_http(http: httpx.AsyncClient) -> None:
    with CancelScope(shield=True), anyio.move_on_after(_CLOSING):
        await http.aclose()


async def _close_journal(journal: Journal) -> None:
    with CancelScope(shield=True):
        await journal.close()


def _journal(path: Path | None) -> Journal:
    if path is None:
        return NoJournal()
    from mvsep_async.journal.sqlite import SqliteJournal

    return SqliteJournal(path)


async def _fingerprint(source: Held, settings: Settings) -> str | None:
    from mvsep_async.journal.fingerprint import fingerprint_of

    return await fingerprint_of(source, settings)


def _shown(named: str | PathLike[str] | None, source: object) -> str | None:
    """Return what stands in for the name of a source that has none."""
    return f"<{type(source).__name__}>" if named is None else None
