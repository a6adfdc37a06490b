"""Polling the jobs at the service when the policy says so, and applying what the answers say to the registry."""

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
from mvsep_async.polling.address import Address, Endpoint, addresses, is_of_url
from mvsep_async.polling.durations import Durations
from mvsep_async.polling.estimate import Estimate
from mvsep_async.polling.policy import Poll, PollPolicy
from mvsep_async.polling.status import classify_status
from mvsep_async.sources import is_url

__all__ = ["Poller"]

logger = logging.getLogger("mvsep_async")

TICK: Final = 0.8
"""Seconds between two estimates of how far a job is: the bar moves at least once a second."""

NOT_FOUND_TWICE: Final = 2
"""Polls in a row that must not find a job, the last one at every host, before it is believed to be gone."""

STUCK: Final = 60.0
"""Seconds between two searches of the history for a URL job whose fetching does not end."""

HISTORY: Final = 20
"""Entries of the history that such a search reads: one page."""


@define(eq=False)
class _Course:
    """What the poller knows of one job while it is at the service."""

    job: JobEntry
    began: float
    grace_until: float
    outage: Outage
    estimate: Estimate
    search_at: float
    """When the history is searched for it, should the service still be fetching its song."""
    progress: Progress = field(factory=lambda: Progress(stage=Stage.WAITING))
    """What the last poll showed."""
    found: bool = False
    """Whether any poll has shown it since it has its present hash."""
    not_found: int = 0
    """Polls in a row that did not find it."""
    turn: int = 0
    """Which of its addresses is asked."""
    cancels: int = 0
    """Cancels of it that are under way here."""


@define(eq=False)
class Poller:
    """Polls the jobs at the service. `grace`: seconds after create in which "not found" means "not yet"."""

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
    wall: Callable[[], float] = time.time
    durations: Durations = field(factory=Durations)
    _courses: dict[str, _Course] = field(factory=dict)
    _wake: anyio.Event = field(factory=anyio.Event)

    def __attrs_post_init__(self) -> None:
        self.durations.learn(self.registry.journal.durations)

    def watch(self, job: JobEntry, *, grace: float | None = None) -> None:
        """Poll `job` from now on, which the service has."""
        now = self.clock()
        grace = self.grace if grace is None else grace
        accepted_at = job.facts.accepted_at
        age = 0.0 if accepted_at is None else max(self.wall() - accepted_at, 0.0)
        self._courses[job.id] = _Course(
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
        """Poll `job` no longer; return for how many seconds it was polled."""
        course = self._courses.pop(job.id, None)
        if course is None:
            return 0.0
        self.policy.forget(job.id)
        self._wake.set()
        return self.clock() - course.began

    def poll_soon(self, job: JobEntry) -> None:
        """Poll `job` as soon as may be: something says that it changed."""
        if job.id in self._courses:
            self.policy.poll_soon(job.id, self.clock())
            self._wake.set()

    def is_young(self, job: JobEntry) -> bool:
        """Tell whether the service has not shown `job` yet, and may need more time to do so."""
        course = self._courses.get(job.id)
        return course is not None and self._may_be_late(course)

    @contextmanager
    def cancelling(self, job: JobEntry) -> Iterator[None]:
        """Leave it to the block, which cancels `job`, to say so when polls do not find it any more."""
        course = self._courses.get(job.id)
        if course is None:
            yield
            return
        course.cancels += 1
        try:
            yield
        finally:
            course.cancels -= 1

    async def ask(self, job: JobEntry, priority: Priority) -> JobStatus:
        """Ask the service for the status of a job that it has, where it is most likely known."""
        course = self._courses.get(job.id)
        known = self._addresses(job)
        return await self._ask(known[0 if course is None else course.turn % len(known)], priority)

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
        """Begin all polls that are due; return the seconds until the next may be."""
        while True:
            now = self.clock()
            poll, wait = self.policy.next(
                now,
                per_minute=self.gate.budget.limit,
                spare=self.gate.spare(),
                others=self.gate.budget.others(now),
                followed={name for name, course in self._courses.items() if course.job.has_subscribers},
            )
            if poll is None:
                return wait
            if poll.job is None:
                tasks.start_soon(self._poll_account)
            else:
                tasks.start_soon(self._poll, self._courses[poll.job], poll)

    async def _poll(self, course: _Course, poll: Poll) -> None:
        priority = Priority.LIKELY if poll.hinted else Priority.POLL
        try:
            address, status = await self._find(course, priority)
        except MVSepError as error:
            if self._is_polled(course):
                self._failed(course, error)
        else:
            if self._is_polled(course):
                course.outage.ended()
                self._apply(course, address, status)
                await self._search_if_stuck(course)
        finally:
            self._wake.set()

    async def _find(self, course: _Course, priority: Priority) -> tuple[Address, JobStatus]:
        """Ask for a job where it was last found; before it is believed to be gone, wherever else it may be."""
        known = self._addresses(course.job)
        address = known[course.turn % len(known)]
        status = await self._ask(address, priority)
        if status.kind is not JobKind.NOT_FOUND or self._may_be_late(course):
            return address, status
        course.not_found += 1
        if course.not_found < NOT_FOUND_TWICE or course.cancels:
            return address, status
        for other in known:
            if other != address and (elsewhere := await self._ask_other(other, priority)) is not None:
                return other, elsewhere
        return address, status

    async def _ask_other(self, address: Address, priority: Priority) -> JobStatus | None:
        """Return the status of a job at an address that it is not known to have, `None` where it is not found."""
        try:
            status = await self._ask(address, priority)
        except MVSepError as error:
            logger.info("%s could not be asked for a job: %s", address.host, error)
            return None
        return None if status.kind is JobKind.NOT_FOUND else status

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

    def _is_polled(self, course: _Course) -> bool:
        """Tell whether a job is still polled, and was not forgotten and watched again meanwhile."""
        return self._courses.get(course.job.id) is course and course.job.state in AT_SERVICE

    def _may_be_late(self, course: _Course) -> bool:
        return not course.found and self.clock() < course.grace_until

    def _failed(self, course: _Course, error: MVSepError) -> None:
        """Note a poll that brought no answer: the job ends with the error when patience does."""
        job, now = course.job, self.clock()
        self.policy.failed(job.id, now)
        self.registry.emit(Retried("poll", str(error), job.id))
        self._try_next_address(course)
        if course.outage.failed(now):
            self.registry.apply(job, JobEvent.FAILED, error=error.of(job.id, job.hash))
        else:
            course.progress = evolve(course.progress, message=f"{error.message}; asking again")
            self._show(course, now)

    def _apply(self, course: _Course, address: Address, status: JobStatus) -> None:
        """Apply what a poll showed."""
        job, now = course.job, self.clock()
        if status.kind is JobKind.NOT_FOUND:
            self._not_found(course, status, now)
            return
        course.found, course.not_found = True, 0
        if address != self._addresses(job)[0]:
            self._moved(course, address)
        fetching = address.endpoint is Endpoint.GET_REMOTE
        update = classify_status(job.id, status, fetching=fetching, young=False)
        match update.event:
            case None:
                self._polled(course, update.progress, now)
            case JobEvent.FETCHED:
                self._fetched(course, status, now)
            case JobEvent.SAID_DONE:
                self._learn(course, now)
                self.registry.apply(job, JobEvent.SAID_DONE, separation=status.separation)
            case JobEvent.FAILED | JobEvent.CANCELLED as event:
                self.registry.apply(job, event, error=update.error)
            case event:
                self.registry.apply(job, event)
                self._polled(course, update.progress, now)

    def _not_found(self, course: _Course, status: JobStatus, now: float) -> None:
        if course.not_found >= NOT_FOUND_TWICE and not course.cancels:
            update = classify_status(course.job.id, status, fetching=False, young=False)
            self.registry.apply(course.job, JobEvent.FAILED, error=update.error)
            return
        self.policy.answered(course.job.id)
        if course.not_found:
            self.policy.poll_soon(course.job.id, now)
        else:
            self._try_next_address(course)

    def _moved(self, course: _Course, address: Address) -> None:
        """Note that a job was found elsewhere than where it was expected."""
        job = course.job
        if job.state is JobState.FETCHING and address.endpoint is Endpoint.GET:
            self.registry.apply(job, JobEvent.FETCHED, hash=address.hash, host=address.host)
        elif address.host != (job.facts.host or self.base):
            self.registry.refine(job, host=address.host)
        known = self._addresses(job)
        course.turn = known.index(address) if address in known else 0

    def _fetched(self, course: _Course, status: JobStatus, now: float) -> None:
        """Note that the service has the song of a URL job, which goes by another hash from now on."""
        job = course.job
        if job.state is JobState.FETCHING:
            self.registry.apply(job, JobEvent.FETCHED, hash=status.hash, host=self._host(job, status))
        else:
            self.registry.refine(job, hash=status.hash, host=self._host(job, status))
        self._begin_again(course, now)

    def _begin_again(self, course: _Course, now: float) -> None:
        """Begin with another hash of a job, which may take a moment to be found."""
        course.found, course.not_found, course.turn = False, 0, 0
        course.grace_until = now + self.grace
        self._polled(course, Progress(stage=Stage.WAITING), now)

    def _host(self, job: JobEntry, status: JobStatus) -> Host | None:
        """Return the host that has a URL job once its song is fetched, if it is named and is the service's."""
        named = None if status.link is None else Host.of_link(status.link, base=job.facts.host or self.base)
        return named or job.facts.host

    def _try_next_address(self, course: _Course) -> None:
        """Have a job asked for elsewhere next time, soon, if it is not known where it is.

        That is so where the answer to its create was lost: the lists that showed it name no host.
        """
        facts = course.job.facts
        untold = facts.host is None and facts.accepted_at is None and course.job.request.source is not None
        if untold and not course.found:
            course.turn += 1
            self.policy.poll_soon(course.job.id, self.clock())

    def _polled(self, course: _Course, progress: Progress, now: float) -> None:
        course.progress = evolve(progress, stage=Stage(course.job.state.value))
        course.estimate.polled(course.progress, now, waiting=self.durations.waiting())
        self.policy.answered(course.job.id)
        self._show(course, now)

    def _show(self, course: _Course, now: float) -> None:
        """Show what the last poll said, and how far the job is likely to be by now."""
        job = course.job
        estimated = course.estimate.at(
            course.progress,
            now,
            before=job.progress.fraction,
            processing=self.durations.processing(job.request.settings.algorithm, job.progress.bytes_total),
            waiting=self.durations.waiting(),
            downloads=job.request.target is not None,
        )
        self.registry.show(job, estimated)

    async def _show_estimates(self) -> None:
        """Move the progress of the jobs that somebody follows on between their polls."""
        while True:
            await anyio.sleep(TICK * self.time_scale)
            now = self.clock()
            for course in list(self._courses.values()):
                if course.job.has_subscribers and course.job.state in AT_SERVICE:
                    self._show(course, now)

    def _learn(self, course: _Course, now: float) -> None:
        """Learn from a job that is done how long such jobs take."""
        job = course.job
        took = None if job.facts.accepted_at is None else course.estimate.took(now)
        if took is None:
            return
        waiting, processing = took
        size, algorithm = job.progress.bytes_total, job.request.settings.algorithm
        duration = JobDuration(algorithm=algorithm, size=size, waiting=waiting, processing=processing)
        self.durations.learn([duration])
        self.registry.journal.learn(duration)

    async def _search_if_stuck(self, course: _Course) -> None:
        """Search the history for a URL job whose fetching does not end: its file may be there under the long hash."""
        job, url = course.job, course.job.request.source
        if job.state is not JobState.FETCHING or not is_url(url) or self.account is None:
            return
        if self.clock() < course.search_at:
            return
        course.search_at = self.clock() + STUCK * self.time_scale
        try:
            history = await self.account.history(limit=HISTORY, priority=Priority.POLL)
        except MVSepError as error:
            logger.info("the history could not be searched for job %s: %s", job.id, error)
            return
        algorithm = job.request.settings.algorithm
        hashes = {
            entry.hash
            for entry in history
            if is_of_url(entry.hash, str(url))
            and self.registry.find(hash=entry.hash) is None
            and (entry.algorithm is None or algorithm in (None, entry.algorithm.sep_type))
        }
        same = sum(
            other.job.state is JobState.FETCHING and other.job.request.source == url for other in self._courses.values()
        )
        # Where there are several, nothing says which is which: the service may yet say so itself.
        if len(hashes) == 1 and same == 1 and self._is_polled(course) and job.state is JobState.FETCHING:
            self.registry.apply(job, JobEvent.FETCHED, hash=hashes.pop())
            self._begin_again(course, self.clock())

    async def _poll_account(self) -> None:
        """Ask the account for all its unfinished jobs: one request instead of one for each."""
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
