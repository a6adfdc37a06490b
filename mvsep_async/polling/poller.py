"""Poll the jobs at the service as the policy decides, and apply the responses to the registry."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import anyio
from anyio.abc import TaskGroup
from attrs import define, evolve, field

from mvsep_async.endpoints.account import AccountAPI
from mvsep_async.endpoints.separations import SeparationsAPI
from mvsep_async.errors import MVSepError
from mvsep_async.http.call import Priority
from mvsep_async.http.gate import Gate
from mvsep_async.http.hosts import Host
from mvsep_async.jobs.entry import JobEntry
from mvsep_async.jobs.journal import JobDuration
from mvsep_async.jobs.lifecycle import AT_SERVICE, JobEvent, JobState
from mvsep_async.jobs.outage import Outage
from mvsep_async.jobs.progress import Progress
from mvsep_async.jobs.registry import JobRegistry
from mvsep_async.models.job_status import JobKind, JobStatus
from mvsep_async.models.stage import Stage
from mvsep_async.models.user import User
from mvsep_async.observe.events import Retried
from mvsep_async.polling.address import Address, Endpoint, addresses, hash_in_history
from mvsep_async.polling.durations import Durations
from mvsep_async.polling.estimate import Estimate
from mvsep_async.polling.policy import Poll, PollPolicy
from mvsep_async.polling.status import classify_status
from mvsep_async.sources import is_url

__all__ = ["Poller"]

logger = logging.getLogger("mvsep_async")

TICK: Final = 0.8
"""Seconds between two estimates of a job's progress, so that a progress bar moves at least once a second."""

NOT_FOUND_TWICE: Final = 2
"""Consecutive polls that do not find a job, the last one at every host, before the job fails as not found."""

STUCK: Final = 60.0
"""Seconds between two searches of the history for a URL job that stays in `FETCHING`."""

HISTORY: Final = 20
"""Entries of the history that such a search reads: one page."""


@define(eq=False)
class _Tracked:
    """The state of polling one job."""

    job: JobEntry
    began: float
    grace_until: float
    outage: Outage
    estimate: Estimate
    search_at: float
    """When to search the history for it, if the service is still fetching its song."""
    progress: Progress = field(factory=lambda: Progress(stage=Stage.WAITING))
    """The progress that the last poll showed."""
    found: bool = False
    """Whether a poll has found it under its current hash."""
    not_found: int = 0
    """Consecutive polls that did not find it."""
    turn: int = 0
    """Index of the address at which it is polled."""
    cancels: int = 0
    """Number of cancels in progress."""


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
    durations: Durations = field(factory=Durations)
    _tracked: dict[str, _Tracked] = field(factory=dict)
    _wake: anyio.Event = field(factory=anyio.Event)

    def __attrs_post_init__(self) -> None:
        self.durations.learn(self.registry.journal.durations)

    def watch(self, job: JobEntry, *, grace: float | None = None) -> None:
        """Start polling `job`, which the service has."""
        now = self.clock()
        grace = self.grace if grace is None else grace
        accepted_at = job.facts.accepted_at
        age = 0.0 if accepted_at is None else max(self.wall() - accepted_at, 0.0)
        self._tracked[job.id] = _Tracked(
            job,
            began=now,
            grace_until=now + grace,
            outage=Outage(self.patience, self.time_scale),
            estimate=Estimate(now - age, self.time_scale),
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
        return tracked is not None and self._may_be_late(tracked)

    @contextmanager
    def cancelling(self, job: JobEntry) -> Iterator[None]:
        """Do not fail `job` as not found while the block cancels it."""
        tracked = self._tracked.get(job.id)
        if tracked is None:
            yield
            return
        tracked.cancels += 1
        try:
            yield
        finally:
            tracked.cancels -= 1

    async def ask(self, job: JobEntry, priority: Priority) -> JobStatus:
        """Request the status of a job from its most likely address."""
        tracked = self._tracked.get(job.id)
        known = self._addresses(job)
        return await self._ask(known[0 if tracked is None else tracked.turn % len(known)], priority)

    async def run(self) -> None:
        """Poll until cancelled."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._show_estimates)
            while True:
                self._wake = anyio.Event()
                wait = self._begin_polls(tasks)
                with anyio.move_on_after(wait):
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
        priority = Priority.LIKELY if poll.hinted else Priority.POLL
        try:
            address, status = await self._find(tracked, priority)
        except MVSepError as error:
            if self._is_polled(tracked):
                self._failed(tracked, error)
        else:
            if self._is_polled(tracked):
                tracked.outage.ended()
                self._apply(tracked, address, status)
                await self._search_if_stuck(tracked)
        finally:
            self._wake.set()

    async def _find(self, tracked: _Tracked, priority: Priority) -> tuple[Address, JobStatus]:
        """Request a job's status where it was last found, and at all other addresses before it counts as not found."""
        known = self._addresses(tracked.job)
        address = known[tracked.turn % len(known)]
        status = await self._ask(address, priority)
        if status.kind is not JobKind.NOT_FOUND or self._may_be_late(tracked):
            return address, status
        tracked.not_found += 1
        if tracked.not_found < NOT_FOUND_TWICE or tracked.cancels:
            return address, status
        unanswered: MVSepError | None = None
        for other in known:
            if other == address:
                continue
            try:
                elsewhere = await self._ask(other, priority)
            except MVSepError as error:
                logger.info("%s could not be asked for a job: %s", other.host, error)
                unanswered = error
            else:
                if elsewhere.kind is not JobKind.NOT_FOUND:
                    return other, elsewhere
        if unanswered is not None and _host_unknown(tracked.job):
            raise unanswered  # that host may be the one that has it
        return address, status

    async def _ask(self, address: Address, priority: Priority) -> JobStatus:
        ask = self.separations.get if address.endpoint is Endpoint.GET else self.separations.get_remote
        return await ask(address.hash, host=address.host, priority=priority)

    def _addresses(self, job: JobEntry) -> tuple[Address, ...]:
        source = job.request.source
        return addresses(
            job.facts,
            fetching=job.state is JobState.FETCHING,
            uploaded=source is not None and not is_url(source),
            base=self.base,
        )

    def _is_polled(self, tracked: _Tracked) -> bool:
        """Return whether this tracking of a job is still current: the job may have been forgotten meanwhile."""
        return self._tracked.get(tracked.job.id) is tracked and tracked.job.state in AT_SERVICE

    def _may_be_late(self, tracked: _Tracked) -> bool:
        return not tracked.found and self.clock() < tracked.grace_until

    def _failed(self, tracked: _Tracked, error: MVSepError) -> None:
        """Record a failed poll; fail the job if `patience` is exceeded."""
        job, now = tracked.job, self.clock()
        self.policy.failed(job.id, now)
        self.registry.emit(Retried("poll", str(error), job.id))
        self._try_next_address(tracked)
        if tracked.outage.failed(now):
            self.registry.apply(job, JobEvent.FAILED, error=error.of(job.id, job.hash))
        else:
            tracked.progress = evolve(tracked.progress, message=f"{error.message}; asking again")
            self._show(tracked, now)

    def _apply(self, tracked: _Tracked, address: Address, status: JobStatus) -> None:
        """Apply the result of a poll to the job."""
        job, now = tracked.job, self.clock()
        if status.kind is JobKind.NOT_FOUND:
            self._not_found(tracked, status, now)
            return
        tracked.found, tracked.not_found = True, 0
        if address != self._addresses(job)[0]:
            self._moved(tracked, address)
        fetching = address.endpoint is Endpoint.GET_REMOTE
        update = classify_status(job.id, status, fetching=fetching)
        match update.event:
            case None:
                self._polled(tracked, update.progress, now)
            case JobEvent.FETCHED:
                self._fetched(tracked, status, now)
            case JobEvent.STATUS_DONE:
                self._learn(tracked, now)
                self.registry.apply(job, JobEvent.STATUS_DONE, separation=status.separation)
            case JobEvent.FAILED | JobEvent.CANCELLED as event:
                self.registry.apply(job, event, error=update.error)
            case event:
                self.registry.apply(job, event)
                self._polled(tracked, update.progress, now)

    def _not_found(self, tracked: _Tracked, status: JobStatus, now: float) -> None:
        if tracked.not_found >= NOT_FOUND_TWICE and not tracked.cancels:
            update = classify_status(tracked.job.id, status, fetching=False)
            self.registry.apply(tracked.job, JobEvent.FAILED, error=update.error)
            return
        self.policy.answered(tracked.job.id)
        if tracked.not_found:
            self.policy.poll_soon(tracked.job.id, now)
        else:
            self._try_next_address(tracked)

    def _moved(self, tracked: _Tracked, address: Address) -> None:
        """Record that a job was found at another address than expected."""
        job = tracked.job
        if job.state is JobState.FETCHING and address.endpoint is Endpoint.GET:
            self.registry.apply(job, JobEvent.FETCHED, hash=address.hash, host=address.host)
        elif address.host != (job.facts.host or self.base):
            self.registry.refine(job, host=address.host)
        known = self._addresses(job)
        tracked.turn = known.index(address) if address in known else 0

    def _fetched(self, tracked: _Tracked, status: JobStatus, now: float) -> None:
        """Record that the service has fetched the song of a URL job, which has another hash afterwards."""
        job = tracked.job
        if job.state is JobState.FETCHING:
            self.registry.apply(job, JobEvent.FETCHED, hash=status.hash, host=self._host(job, status))
        else:
            self.registry.refine(job, hash=status.hash, host=self._host(job, status))
        self._begin_again(tracked, now)

    def _begin_again(self, tracked: _Tracked, now: float) -> None:
        """Reset the tracking for another hash of a job, which may take a moment to be found."""
        tracked.found, tracked.not_found, tracked.turn = False, 0, 0
        tracked.grace_until = now + self.grace
        self._polled(tracked, Progress(stage=Stage.WAITING), now)

    def _host(self, job: JobEntry, status: JobStatus) -> Host | None:
        """Return the host that has a URL job after fetching: the one in the link, if that belongs to the service."""
        named = None if status.link is None else Host.of_link(status.link, base=job.facts.host or self.base)
        return named or job.facts.host

    def _try_next_address(self, tracked: _Tracked) -> None:
        """Poll a job at its next address soon, if its host is unknown.

        The host is unknown after the response to the create was lost, since the service's lists do not name it.
        """
        if _host_unknown(tracked.job) and not tracked.found:
            tracked.turn += 1
            self.policy.poll_soon(tracked.job.id, self.clock())

    def _polled(self, tracked: _Tracked, progress: Progress, now: float) -> None:
        tracked.progress = evolve(progress, stage=Stage(tracked.job.state.value))
        tracked.estimate.polled(tracked.progress, now, waiting=self.durations.waiting())
        self.policy.answered(tracked.job.id)
        self._show(tracked, now)

    def _show(self, tracked: _Tracked, now: float) -> None:
        """Publish the progress of the last poll with the estimated fraction and time left."""
        job = tracked.job
        estimated = tracked.estimate.at(
            tracked.progress,
            now,
            before=job.progress.fraction,
            processing=self.durations.processing(job.request.settings.algorithm, job.progress.bytes_total),
            waiting=self.durations.waiting(),
            downloads=job.request.target is not None,
        )
        self.registry.show(job, estimated)

    async def _show_estimates(self) -> None:
        """Update the progress of jobs with subscribers between their polls."""
        while True:
            await anyio.sleep(TICK * self.time_scale)
            now = self.clock()
            for tracked in list(self._tracked.values()):
                if tracked.job.has_subscribers and tracked.job.state in AT_SERVICE:
                    self._show(tracked, now)

    def _learn(self, tracked: _Tracked, now: float) -> None:
        """Record the duration of a finished job, for the estimates of later ones."""
        job = tracked.job
        durations = None if job.facts.accepted_at is None else tracked.estimate.durations(now)
        if durations is None:
            return
        waiting, processing = durations
        size, algorithm = job.progress.bytes_total, job.request.settings.algorithm
        duration = JobDuration(algorithm=algorithm, size=size, waiting=waiting, processing=processing)
        self.durations.learn([duration])
        self.registry.journal.learn(duration)

    async def _search_if_stuck(self, tracked: _Tracked) -> None:
        """Search the history for a URL job that stays in `FETCHING`: it may be there under its long hash."""
        job, url = tracked.job, str(tracked.job.request.source)
        if job.state is not JobState.FETCHING or not is_url(url) or self.account is None:
            return
        if self.clock() < tracked.search_at:
            return
        tracked.search_at = self.clock() + STUCK * self.time_scale
        try:
            history = await self.account.history(limit=HISTORY, priority=Priority.POLL)
        except MVSepError as error:
            logger.info("the history could not be searched for job %s: %s", job.id, error)
            return
        unknown = [entry for entry in history if self.registry.find(hash=entry.hash) is None]
        found = hash_in_history(unknown, url, algorithm=job.request.settings.algorithm)
        same = [other for other in self._tracked.values() if other.job.request.source == url]
        # Several jobs with the same URL cannot be distinguished.
        if found is not None and len(same) == 1 and self._is_polled(tracked) and job.state is JobState.FETCHING:
            self.registry.apply(job, JobEvent.FETCHED, hash=found)
            self._begin_again(tracked, self.clock())

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
        known = (self.registry.find(hash=entry.hash) for entry in queue.jobs)
        return {job.id for job in known if job is not None}


def _host_unknown(job: JobEntry) -> bool:
    """Tell whether the host that has the job is unknown, since the answer to its create was lost."""
    return job.facts.host is None and job.facts.accepted_at is None and job.request.source is not None
