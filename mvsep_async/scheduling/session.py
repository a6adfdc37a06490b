"""What lives between entering and leaving a client's block: the parts, joined."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from os import PathLike
from pathlib import Path
from typing import Final, TypeAlias

import anyio
import httpx
from anyio import CancelScope
from anyio.abc import TaskGroup
from attrs import define, field

from mvsep_async.catalogue.cache import DiskCache
from mvsep_async.catalogue.store import CatalogueStore
from mvsep_async.concurrency import CallerScopes, KeyedLock, Yielder, in_thread
from mvsep_async.config import ClientConfig
from mvsep_async.download.downloader import Downloader
from mvsep_async.endpoints.account import AccountAPI
from mvsep_async.endpoints.separations import SeparationsAPI
from mvsep_async.endpoints.site import SiteAPI
from mvsep_async.errors import InvalidRequestError, MVSepError, UploadError
from mvsep_async.http.budget import Budget
from mvsep_async.http.call import Caller, Json
from mvsep_async.http.gate import Gate
from mvsep_async.http.hosts import Host
from mvsep_async.http.redaction import protect
from mvsep_async.http.retry import PatientCaller
from mvsep_async.http.wire import Wire
from mvsep_async.jobs.facts import Facts
from mvsep_async.jobs.fingerprint import fingerprint_of
from mvsep_async.jobs.job import Job
from mvsep_async.jobs.journal import Journal, NoJournal
from mvsep_async.jobs.lifecycle import JobState
from mvsep_async.jobs.outage import Outage
from mvsep_async.jobs.progress import Progress
from mvsep_async.jobs.registry import JobRegistry
from mvsep_async.jobs.request import JobRequest, JobSettings, Target, new_id
from mvsep_async.observe.events import BudgetWaited, Listener, Retried, Submitted, emitter
from mvsep_async.polling.policy import PollPolicy
from mvsep_async.polling.poller import Poller
from mvsep_async.scheduling.dispatcher import Dispatcher
from mvsep_async.scheduling.scheduler import Scheduler
from mvsep_async.scheduling.slots import allowed
from mvsep_async.sources import PreparedSource, Source
from mvsep_async.submission.create import Launcher
from mvsep_async.submission.prepare import SourcePreparer
from mvsep_async.submission.recovery import Recovery
from mvsep_async.submission.recovery_policy import Search
from mvsep_async.transport.client import make_http

__all__ = ["Session"]

_GRACE: Final = 180.0
"""Seconds that the service may need until an accepted job is in its lists, and is found by its hash: the three minutes
that were seen of URL jobs."""

_ATTACH_GRACE: Final = 10.0
"""The same for a job made elsewhere, which most often is an old one: a wrong hash is reported soon."""

_CLOSING: Final = 0.2
"""Seconds for the connections' goodbyes when the client closes."""

_DATED: Final = 14
"""Digits that a file job's hash begins with: its date. The short hash of a URL job has none."""


_Ordering: TypeAlias = Callable[..., JobRequest]
"""Makes the request for a song, which may be given another name."""


@define(eq=False)
class Session:
    """The parts of one open client."""

    options: ClientConfig
    http: httpx.AsyncClient
    journal: Journal
    tasks: TaskGroup
    caller: Caller
    catalogue: CatalogueStore
    preparer: SourcePreparer
    callers: CallerScopes
    registry: JobRegistry = field(init=False)
    dispatcher: Dispatcher = field(init=False)
    scheduler: Scheduler = field(init=False)
    poller: Poller = field(init=False)
    stack: AsyncExitStack = field(init=False)
    _key_locks: KeyedLock = field(factory=KeyedLock)

    @classmethod
    async def open(cls, options: ClientConfig, http: httpx.AsyncClient | None) -> Session:
        """Open everything; what was opened is closed again when the rest cannot be."""
        async with AsyncExitStack() as stack:
            if http is None:
                # Reading the certificate authorities takes some 20 ms: not on the caller's loop.
                http = await in_thread(make_http, options.timeout)
                stack.push_async_callback(_close_http, http)
            journal = _journal(options.journal)
            records = await journal.open()
            stack.push_async_callback(_close_journal, journal)
            emit = emitter(options.on_event)
            gate = Gate(Budget(fixed=options.requests_per_minute), on_wait=lambda seconds: emit(BudgetWaited(seconds)))
            if options.token is not None:
                protect(options.token)
            wire = Wire(http, options.base, options.token, gate, options.timeout)
            caller = PatientCaller(
                wire, time_scale=options.time_scale, on_retry=lambda what, error: emit(Retried(what, str(error)))
            )
            cache = None if options.cache is None else DiskCache(options.cache, str(options.base))
            catalogue = CatalogueStore(SiteAPI(caller).algorithms, cache=cache)
            callers = CallerScopes()
            preparer = SourcePreparer(catalogue.get, AccountAPI(caller).user, options.token, journal.spool, callers)
            stack.push_async_callback(preparer.close)
            tasks = await stack.enter_async_context(_tasks())
            session = cls(options, http, journal, tasks, caller, catalogue, preparer, callers)
            session._join(wire, gate, emit)
            yielder = Yielder()
            for record in records:
                session.registry.restore(record)
                await yielder.maybe_yield()
            for job in list(session.registry.jobs.values()):
                session.scheduler.resume(job)
                await yielder.maybe_yield()
            tasks.start_soon(session.scheduler.run)
            session.stack = stack.pop_all()
        return session

    def _join(self, wire: Wire, gate: Gate, emit: Listener) -> None:
        options = self.options
        time_scale = options.time_scale
        separations, account = SeparationsAPI(wire), AccountAPI(wire)
        self.registry = JobRegistry(self, self.journal, lambda job, before: self.scheduler.react(job, before), emit)
        self.poller = Poller(
            self.registry,
            separations,
            None if options.token is None else account,
            options.base,
            gate,
            PollPolicy(options.poll_interval),
            options.patience,
            time_scale,
            grace=_GRACE * time_scale,
            on_account=lambda user: self.dispatcher.take_account(user),
        )
        launcher = Launcher(self.registry, separations, options.base)
        self.dispatcher = Dispatcher(
            self.registry, launcher, account, options.concurrency, options.patience, time_scale, options.group_cap
        )
        self.scheduler = Scheduler(
            self.registry,
            self.dispatcher,
            launcher,
            self.poller,
            Recovery(self.registry, account, Search(_GRACE * time_scale), Outage(options.patience, time_scale)),
            Downloader(self.registry, self.http, SeparationsAPI(self.caller), options.patience, time_scale),
            SeparationsAPI(self.caller),
        )

    async def close(self) -> None:
        """Stop at once, leaving nothing behind: what is unfinished stays at the service, and in the journal."""
        self.callers.closed = True
        self.scheduler.close()
        self.tasks.cancel_scope.cancel()
        try:
            await self.callers.cancel_all()
            await self.stack.aclose()
        finally:
            self.scheduler.leave()
            for job in self.registry.jobs.values():
                job.close_subscribers()

    @property
    def closed(self) -> bool:
        """Whether the client's block was left."""
        return self.callers.closed

    async def accept(
        self,
        source: Source,
        settings: JobSettings,
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
        await self.callers.maybe_yield()
        metadata = self.preparer.metadata(metadata)

        def request(held: PreparedSource, name: str | None = filename, mark: str | None = None) -> JobRequest:
            return JobRequest(new_id(), held, settings, name, group, priority, key, metadata, target, mark)

        if key is None and not bulk:
            return await self._take(source, filename, settings, request)
        with self.callers.enter():
            async with self._key_locks.for_key(key):
                take = self._take_if_new if bulk else self._take
                return self.registry.known(key=key) or await take(source, filename, settings, request)

    async def _take(self, source: Source, filename: str | None, settings: JobSettings, request: _Ordering) -> Job:
        held = await self.preparer.prepare_source(source, filename, settings)
        try:
            return await self._enter(request(held))
        except BaseException:
            await self.preparer.discard_source(held)
            raise

    async def _take_if_new(
        self, source: Source, filename: str | None, settings: JobSettings, request: _Ordering
    ) -> Job:
        held: PreparedSource = None
        entered = False
        try:
            held = await self.preparer.prepare_source(source, filename, settings)
            mark = None if self.options.journal is None else await fingerprint_of(held, settings)
            async with self._key_locks.for_key(mark):
                known = self.registry.known(fingerprint=mark)
                job = known or await self._enter(request(held, mark=mark))
                entered = known is None
                return job
        except (InvalidRequestError, UploadError, OSError) as error:
            failed = error if isinstance(error, MVSepError) else InvalidRequestError(f"{source!r}: {error}")
            named = source if isinstance(source, str | PathLike) else None
            return self._rejected(request(named, filename or _shown(named, source)), failed)
        finally:
            if not entered:
                await self.preparer.discard_source(held)

    async def _enter(self, request: JobRequest) -> Job:
        """Take a job in and put it in line; when this is cancelled or fails, there is no job."""
        job = self.registry.enter(request)
        if self.options.journal is not None:
            try:
                await self.journal.flush()
            except BaseException:
                self.registry.forget([job])
                raise
        self.registry.emit(Submitted(job.id, request.settings.algorithm, request.group))
        self.dispatcher.submit(job)
        return job

    async def wait_and_download(self, job: Job, target: Target | None) -> list[Path]:
        """Wait until a job is over and its files are where `target` says, and return their paths.

        Raises the error of a later download only, not of one that was asked for with the job.
        """
        await job.ended()
        failed_there = job.state is JobState.FAILED and job.request.target == target
        if target is None or job.facts.separation is None or failed_there:
            return []
        return await self.download(job, target)

    def attach(self, hash: str, host: Host | None) -> Job:
        """Watch a job that was made elsewhere."""
        remote = not hash[:_DATED].isdecimal()
        facts = Facts(remote=hash, host=host) if remote else Facts(hash=hash, host=host)
        state = JobState.FETCHING if remote else JobState.WAITING
        job = self.registry.attach(JobRequest(new_id(), None, JobSettings()), state, facts)
        self.poller.watch(job, grace=_ATTACH_GRACE * self.options.time_scale)
        self.poller.poll_soon(job)  # most often it is over already
        return job

    def width(self) -> int:
        """Return how many jobs may be at the service, as far as is known: those of a free account at first."""
        return self.options.concurrency or allowed(self.dispatcher.user)

    async def widened(self) -> None:
        """Return when the account has said what `width` is."""
        await self.dispatcher.account_known.wait()

    def place(self, job: Job) -> Progress:
        return self.dispatcher.queue_progress.progress(job)

    def follow(self, job: Job) -> Progress:
        return self.dispatcher.queue_progress.follow(job)

    async def cancel(self, job: Job) -> bool:
        with self.callers.enter():
            return await self.scheduler.cancel(job)

    async def download(self, job: Job, target: Target, *, mirror: bool = False) -> list[Path]:
        with self.callers.enter():
            return await self.scheduler.download(job, target, mirror=mirror)

    async def delete(self, job: Job) -> bool:
        with self.callers.enter():
            return await self.scheduler.delete(job)

    def _rejected(self, request: JobRequest, error: MVSepError) -> Job:
        error.job = request.id
        return self.registry.attach(request, JobState.FAILED, Facts(error=error))


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


def _shown(named: str | PathLike[str] | None, source: object) -> str | None:
    """Return what stands in for the name of a source that has none."""
    return f"<{type(source).__name__}>" if named is None else None
