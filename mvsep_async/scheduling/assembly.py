"""Open a client: build its parts in order, connect them, and close them in reverse order."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import anyio
from anyio import CancelScope

from mvsep_async.catalogue.cache import DiskCache
from mvsep_async.catalogue.store import CatalogueStore
from mvsep_async.concurrency import CallerScopes, Wakeup, Yielder, in_thread, loop_clock
from mvsep_async.config import ClientConfig
from mvsep_async.download.downloader import Downloader
from mvsep_async.download.target import check_target
from mvsep_async.endpoints.account import AccountAPI
from mvsep_async.endpoints.separations import SeparationsAPI
from mvsep_async.endpoints.site import SiteAPI
from mvsep_async.http.budget import Budget
from mvsep_async.http.call import Caller
from mvsep_async.http.gate import Gate
from mvsep_async.http.redaction import protect
from mvsep_async.http.retry import PatientCaller
from mvsep_async.http.wire import Wire
from mvsep_async.jobs.coordinator import Coordinator
from mvsep_async.jobs.journal import Journal, Record
from mvsep_async.jobs.outage import Outage
from mvsep_async.jobs.registry import JobRegistry
from mvsep_async.observe.events import BudgetWaited, Listener, Retried, emitter
from mvsep_async.polling.policy import PollPolicy
from mvsep_async.polling.poller import Poller
from mvsep_async.scheduling.account import AccountWatch
from mvsep_async.scheduling.cancel import Canceller
from mvsep_async.scheduling.dispatcher import Dispatcher
from mvsep_async.scheduling.scheduler import Scheduler
from mvsep_async.scheduling.session import Session
from mvsep_async.submission.compress import Compressor
from mvsep_async.submission.create import Launcher
from mvsep_async.submission.prepare import RequestPreparer
from mvsep_async.submission.recovery import Recovery
from mvsep_async.submission.recovery_policy import Search
from mvsep_async.submission.submit import Submitter
from mvsep_async.submission.upload_queue import UploadQueue
from mvsep_async.transport.bandwidth import Bandwidth
from mvsep_async.transport.client import make_http

if TYPE_CHECKING:
    import httpx

__all__ = ["open_session"]

_GRACE: Final = 180.0
"""Most seconds until the service lists an accepted job and finds it by its hash: for URL jobs, three minutes were seen
in live use."""

_DOUBT: Final = 30.0
"""Seconds by which the stamps of clients with a shared journal may differ from the order of their creates."""

_CLOSING: Final = 0.2
"""Seconds that open connections have to close when the client closes."""


@asynccontextmanager
async def open_session(config: ClientConfig, http: httpx.AsyncClient | None) -> AsyncIterator[Session]:
    """Open the parts of a client and resume the journal's jobs; closing leaves unfinished jobs as they are."""
    scheduler: Scheduler | None = None
    try:
        async with AsyncExitStack() as stack:
            if http is None:
                # Reading the certificate authorities takes about 20 ms, too long for the caller's event loop.
                http = await in_thread(make_http, config.timeout)
                stack.push_async_callback(_close_http, http)
            coordinator, records = await stack.enter_async_context((config.open_journal or _open_journal)(config))
            journal = coordinator.journal
            callers = CallerScopes()
            emit = emitter(config.on_event)
            wire = _wire(config, http, emit, coordinator)
            caller = PatientCaller(
                wire, time_scale=config.time_scale, on_retry=lambda what, error: emit(Retried(what, str(error)))
            )
            cache = None if config.cache is None else DiskCache(config.cache, str(config.base))
            catalogue = CatalogueStore(SiteAPI(caller).algorithms, cache=cache)
            preparer = RequestPreparer(catalogue.get, AccountAPI(caller).user, config.token, journal.spool, callers)
            stack.push_async_callback(preparer.close)
            registry = JobRegistry(journal, emit, coordinator.wall)
            scheduler = _scheduler(config, registry, coordinator, wire, caller, http)
            submitter = Submitter(
                preparer,
                registry,
                coordinator,
                callers,
                check_target,
                scheduler.dispatcher.submit,
                scheduler.resume_failed,
                durable=config.journal is not None,
            )
            tasks = await stack.enter_async_context(anyio.create_task_group())
            session = Session(
                config, caller, catalogue, preparer, submitter, callers, registry, coordinator, scheduler, tasks
            )
            try:
                await _restore(registry, scheduler, records)
                tasks.start_soon(scheduler.run)
                yield session
            finally:
                callers.closed = True
                scheduler.close()
                tasks.cancel_scope.cancel()
                await callers.cancel_all()
    finally:
        if scheduler is not None:
            registry = scheduler.registry
            scheduler.emit_left()
            for job in (*registry.jobs.values(), *registry.elsewhere.values()):
                job.close_subscribers()


def _wire(config: ClientConfig, http: httpx.AsyncClient, emit: Listener, coordinator: Coordinator) -> Wire:
    gate = Gate(
        Budget(fixed=config.requests_per_minute),
        on_wait=lambda seconds: emit(BudgetWaited(seconds)),
        allowance=coordinator.allowance,
    )
    if config.token is not None:
        protect(config.token)
    bandwidth = None if config.limit_rate is None else Bandwidth(config.limit_rate)
    return Wire(http, config.base, config.token, gate, config.timeout, bandwidth)


def _scheduler(
    config: ClientConfig,
    registry: JobRegistry,
    coordinator: Coordinator,
    wire: Wire,
    caller: Caller,
    http: httpx.AsyncClient,
) -> Scheduler:
    time_scale, clock = config.time_scale, loop_clock()
    separations, account = SeparationsAPI(wire), AccountAPI(wire)
    wake = Wakeup()
    uploads = UploadQueue(clock, wake.set)
    launcher = Launcher(registry, coordinator, separations, config.base, clock, uploads)
    if config.compress_uploads:
        launcher.compress = Compressor().compress
    dispatcher = Dispatcher(
        registry,
        coordinator,
        launcher,
        AccountWatch(account, SiteAPI(wire)),
        config.concurrency,
        config.patience,
        time_scale,
        config.group_cap,
        clock,
        uploads,
        wake,
    )
    poller = Poller(
        registry,
        separations,
        None if config.token is None else account,
        config.base,
        wire.gate,
        PollPolicy(config.poll_interval),
        config.patience,
        time_scale,
        grace=_GRACE * time_scale,
        on_account=dispatcher.update_account,
        clock=clock,
    )
    recovery = Recovery(
        registry,
        account,
        Search(_GRACE * time_scale),
        Outage(config.patience, time_scale),
        clock,
        doubt=_DOUBT if coordinator.shared else 0.0,
    )
    downloader = Downloader(
        registry,
        http,
        SeparationsAPI(caller),
        config.patience,
        time_scale,
        config.may_be_private,
        wire.bandwidth,
        confirm=partial(coordinator.confirm, patient=True) if coordinator.shared else None,
    )
    canceller = Canceller(registry, coordinator, dispatcher, poller, SeparationsAPI(caller))
    return Scheduler(registry, coordinator, dispatcher, poller, recovery, downloader, canceller)


async def _restore(registry: JobRegistry, scheduler: Scheduler, records: Sequence[Record]) -> None:
    """Add all jobs of the journal to the registry, then resume them."""
    yielder = Yielder()
    for record in records:
        registry.restore(record)
        await yielder.maybe_yield()
    for job in list(registry.jobs.values()):
        scheduler.resume(job)
        await yielder.maybe_yield()


async def _close_http(http: httpx.AsyncClient) -> None:
    with CancelScope(shield=True), anyio.move_on_after(_CLOSING):
        await http.aclose()


@asynccontextmanager
async def _open_journal(config: ClientConfig) -> AsyncIterator[tuple[Coordinator, Sequence[Record]]]:
    """Open the journal of a client; yield its coordinator, and the jobs to resume."""
    match config.journal:
        case None:
            yield Coordinator(Journal()), ()
        case Path() as path:
            from mvsep_async.journal.sqlite import open_journal

            async with open_journal(path) as (journal, records):
                yield Coordinator(journal), records
        case url:
            from mvsep_async.postgres.backend import PostgresBackend
            from mvsep_async.postgres.coordinator import open_coordinator
            from mvsep_async.postgres.identity import token_of_account

            async with open_coordinator(
                PostgresBackend(url, token_of_account(config.token), str(config.base.main)),
                lease=config.lease,
                shared_files=config.shared_files,
                patience=config.patience,
                requests_per_minute=config.requests_per_minute,
            ) as coordinator:
                yield coordinator, ()  # jobs are taken over while it runs
