"""Poll the jobs at the service as the policy decides, and apply the responses to the registry."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import anyio
from anyio.abc import TaskGroup
from attrs import define, field

from mvsep_async.concurrency import Wakeup
from mvsep_async.endpoints.account import AccountAPI
from mvsep_async.endpoints.separations import SeparationsAPI
from mvsep_async.errors import MVSepError
from mvsep_async.http.call import Priority
from mvsep_async.http.gate import Gate
from mvsep_async.http.hosts import Host
from mvsep_async.jobs.entry import JobEntry
from mvsep_async.jobs.lifecycle import AT_SERVICE, JobEvent, JobState
from mvsep_async.jobs.outage import Outage
from mvsep_async.jobs.progress import Progress
from mvsep_async.jobs.registry import JobRegistry
from mvsep_async.models.job_status import JobKind, JobStatus
from mvsep_async.models.stage import Stage
from mvsep_async.models.user import User
from mvsep_async.naming import tag_in
from mvsep_async.observe.events import Retried
from mvsep_async.polling.address import Address, Endpoint
from mvsep_async.polling.estimate import Estimate
from mvsep_async.polling.live import LiveJob, LiveProgress
from mvsep_async.polling.lookup import JobLookup, Location, host_unknown
from mvsep_async.polling.policy import Poll, PollPolicy
from mvsep_async.polling.status import classify_status
from mvsep_async.sources import is_url

__all__ = ["Poller"]

logger = logging.getLogger("mvsep_async")

STUCK: Final = 60.0
"""Seconds between two searches of the history for a URL job that stays in `FETCHING`."""


@define(eq=False)
class _Tracked:
    """The state of polling one job."""

    live: LiveJob
    began: float
    location: Location
    outage: Outage
    search_at: float
    """When to search the history for it, if the service is still fetching its song."""

    @property
    def job(self) -> JobEntry:
        return self.live.job


@define(eq=False)
class Poller:
    """Polls the jobs at the service. `grace`: seconds after the create in which "not found" means "not yet"."""

    registry: JobRegistry
    separations: SeparationsAPI
    account: AccountAPI | None
    base: Host
    gate: Gate
    policy: PollPolicy
    patience: float
    time_scale: float
    grace: float
    on_account: Callable[[User], None]
    clock: Callable[[], float] = anyio.current_time
    wall: Callable[[], float] = field(factory=lambda: time.time)
    _live: LiveProgress = field(init=False)
    _lookup: JobLookup = field(init=False)
    _tracked: dict[str, _Tracked] = field(factory=dict)
    _wake: Wakeup = field(factory=Wakeup)

    def __attrs_post_init__(self) -> None:
        self._live = LiveProgress(self.registry, self.time_scale, self.clock)
        self._lookup = JobLookup(self.registry, self.separations, self.account, self.base, self.clock)

    def watch(self, job: JobEntry, *, grace: float | None = None) -> None:
        """Start polling `job`, which the service has."""
        now = self.clock()
        grace = self.grace if grace is None else grace
        accepted_at = job.facts.accepted_at
        age = 0.0 if accepted_at is None else max(self.wall() - accepted_at, 0.0)
        self._tracked[job.id] = _Tracked(
            LiveJob(job, Estimate(now - age, self.time_scale)),
            began=now,
            location=Location(grace_until=now + grace),
            outage=Outage(self.patience, self.time_scale),
            search_at=now + grace,
        )
        self.policy.watch(job.id, now)
        self._wake.set()

    def forget(self, job: JobEntry) -> float:
        """Stop polling `job`; return for how many seconds it was polled."""
        tracked = self._tracked.pop(job.id, None)
        if tracked is None:
            return 0.0
        self.policy.forget(job.id)
        self._wake.set()
        return self.clock() - tracked.began

    def poll_soon(self, job: JobEntry) -> None:
        """Poll `job` as soon as possible, after a hint that it changed."""
        if job.id in self._tracked:
            self.policy.poll_soon(job.id, self.clock())
            self._wake.set()

    def is_young(self, job: JobEntry) -> bool:
        """Return whether no poll has found `job` yet and the service may need more time to show it."""
        tracked = self._tracked.get(job.id)
        return tracked is not None and tracked.location.may_be_late(self.clock())

    @contextmanager
    def cancelling(self, job: JobEntry) -> Iterator[None]:
        """Do not fail `job` as not found while the block cancels it."""
        tracked = self._tracked.get(job.id)
        if tracked is None:
            yield
            return
        tracked.location.cancels += 1
        try:
            yield
        finally:
            tracked.location.cancels -= 1

    async def ask(self, job: JobEntry, priority: Priority) -> JobStatus:
        """Request the status of a job from its most likely address."""
        tracked = self._tracked.get(job.id)
        known = self._lookup.addresses(job)
        return await self._lookup.ask(known[0 if tracked is None else tracked.location.turn % len(known)], priority)

    async def run(self) -> None:
        """Poll until cancelled."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._live.run, lambda: [tracked.live for tracked in self._tracked.values()])
            while True:
                with anyio.move_on_after(self._begin_polls(tasks)):
                    await self._wake.wait()

    def _begin_polls(self, tasks: TaskGroup) -> float:
        """Begin all polls that are due; return the seconds until the next one may be due."""
        while True:
            now = self.clock()
            poll, wait = self.policy.next(
                now,
                per_minute=self.gate.per_minute,
                spare=self.gate.spare(),
                others=self.gate.budget.others(now),
                followed={name for name, tracked in self._tracked.items() if tracked.job.has_subscribers},
            )
            if poll is None:
                return wait
            if poll.job is None:
                tasks.start_soon(self._poll_account)
            else:
                tasks.start_soon(self._poll, self._tracked[poll.job], poll)

    async def _poll(self, tracked: _Tracked, poll: Poll) -> None:
        if not self._is_polled(tracked):
            return  # left to another client before this task began, perhaps without a hash
        priority = Priority.LIKELY if poll.hinted else Priority.POLL
        try:
            address, status = await self._lookup.find(tracked.job, tracked.location, priority)
        except MVSepError as error:
            if self._is_polled(tracked):
                self._failed(tracked, error)
        else:
            if self._is_polled(tracked):
                tracked.outage.ended()
                await self._apply(tracked, address, status)
                await self._search_if_stuck(tracked)
        finally:
            self._wake.set()

    def _is_polled(self, tracked: _Tracked) -> bool:
        """Return whether the job is still tracked by this object: it may have been forgotten during a request."""
        return self._tracked.get(tracked.job.id) is tracked and tracked.job.state in AT_SERVICE

    def _failed(self, tracked: _Tracked, error: MVSepError) -> None:
        """Record a failed poll; fail the job if `patience` is exceeded."""
        job, now = tracked.job, self.clock()
        self.policy.failed(job.id, now)
        self.registry.emit(Retried("poll", str(error), job.id))
        self._try_next_address(tracked)
        if tracked.outage.failed(now):
            self.registry.apply(job, JobEvent.FAILED, error=error.of(job.id, job.hash))
        else:
            self._live.failed(tracked.live, f"{error.message}; asking again")

    async def _apply(self, tracked: _Tracked, address: Address, status: JobStatus) -> None:
        """Apply the result of a poll to the job."""
        job = tracked.job
        if status.kind is JobKind.NOT_FOUND:
            await self._not_found(tracked, status)
            return
        tracked.location.found, tracked.location.not_found = True, 0
        if address != self._lookup.addresses(job)[0]:
            self._moved(tracked, address)
        fetching = address.endpoint is Endpoint.GET_REMOTE
        update = classify_status(job.id, status, fetching=fetching)
        match update.event:
            case None:
                self._polled(tracked, update.progress)
            case JobEvent.FETCHED:
                self._fetched(tracked, status)
            case JobEvent.STATUS_DONE:
                self._live.learn(tracked.live)
                self.registry.apply(job, JobEvent.STATUS_DONE, separation=status.separation)
            case JobEvent.FAILED | JobEvent.CANCELLED as event:
                self.registry.apply(job, event, error=update.error)
            case event:
                self.registry.apply(job, event)
                self._polled(tracked, update.progress)

    async def _not_found(self, tracked: _Tracked, status: JobStatus) -> None:
        job, location = tracked.job, tracked.location
        if location.missing:
            # A hash that was never found and has not the job's tag may be wrong: the job may have another one.
            if not location.found and job.request.uploads and not tag_in(status.hash, job.id):
                hash = await self._lookup.find_in_history(job)
                if not self._is_polled(tracked):
                    return
                if hash is not None:
                    self.registry.refine(job, hash=hash)
                    self._begin_again(tracked)
                    return
            update = classify_status(job.id, status, fetching=False)
            self.registry.apply(job, JobEvent.FAILED, error=update.error)
            return
        self.policy.answered(job.id)
        if location.not_found:
            self.policy.poll_soon(job.id, self.clock())
        else:
            self._try_next_address(tracked)

    def _moved(self, tracked: _Tracked, address: Address) -> None:
        """Record that a job was found at another address than expected."""
        job = tracked.job
        if job.state is JobState.FETCHING and address.endpoint is Endpoint.GET:
            self.registry.apply(job, JobEvent.FETCHED, hash=address.hash, host=address.host)
        elif address.host != (job.facts.host or self.base):
            self.registry.refine(job, host=address.host)
        known = self._lookup.addresses(job)
        tracked.location.turn = known.index(address) if address in known else 0

    def _fetched(self, tracked: _Tracked, status: JobStatus) -> None:
        """Record that the service has fetched the song of a URL job, which has another hash afterwards."""
        job = tracked.job
        if job.state is JobState.FETCHING:
            self.registry.apply(job, JobEvent.FETCHED, hash=status.hash, host=self._host(job, status))
        else:
            self.registry.refine(job, hash=status.hash, host=self._host(job, status))
        self._begin_again(tracked)

    def _begin_again(self, tracked: _Tracked) -> None:
        """Look for a job that has another hash, which may take a moment to be found."""
        tracked.location = Location(grace_until=self.clock() + self.grace, cancels=tracked.location.cancels)
        self._polled(tracked, Progress(stage=Stage.WAITING))

    def _host(self, job: JobEntry, status: JobStatus) -> Host | None:
        """Return the host that has a URL job after fetching: the one in the link, if that belongs to the service."""
        named = None if status.link is None else Host.of_link(status.link, base=job.facts.host or self.base)
        return named or job.facts.host

    def _try_next_address(self, tracked: _Tracked) -> None:
        """Poll a job at its next address soon, if its host is unknown.

        The host is unknown after the response to the create was lost, since the service's lists do not name it.
        """
        if host_unknown(tracked.job) and not tracked.location.found:
            tracked.location.turn += 1
            self.policy.poll_soon(tracked.job.id, self.clock())

    def _polled(self, tracked: _Tracked, progress: Progress) -> None:
        self.policy.answered(tracked.job.id)
        self._live.polled(tracked.live, progress)

    async def _search_if_stuck(self, tracked: _Tracked) -> None:
        """Search the history for a URL job that stays in `FETCHING`: it may be there under its long hash."""
        job, url = tracked.job, tracked.job.request.source
        if job.state is not JobState.FETCHING or not is_url(url) or self.clock() < tracked.search_at:
            return
        tracked.search_at = self.clock() + STUCK * self.time_scale
        found = await self._lookup.find_in_history(job)
        same = [other for other in self._tracked.values() if other.job.request.source == url]
        # Several jobs with the same URL cannot be distinguished.
        if found is not None and len(same) == 1 and self._is_polled(tracked) and job.state is JobState.FETCHING:
            self.registry.apply(job, JobEvent.FETCHED, hash=found)
            self._begin_again(tracked)

    async def _poll_account(self) -> None:
        """Request the account's unfinished jobs: one request instead of one for each job."""
        if self.account is None:
            self.policy.listed(None, self.clock())
            return
        try:
            user = await self.account.user(priority=Priority.POLL)
        except MVSepError as error:
            logger.info("the account could not be asked: %s", error)
            self.policy.failed(None, self.clock())
        else:
            self.policy.listed(self._unfinished(user), self.clock())
            self.on_account(user)
        finally:
            self._wake.set()

    def _unfinished(self, user: User) -> set[str] | int | None:
        queue = user.current_queue
        if queue.jobs is None:
            return queue.count
        known = (self.registry.find("hash", entry.hash) for entry in queue.jobs)
        return {job.id for job in known if job is not None}
