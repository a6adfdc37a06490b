"""Looking at the jobs that the service has, when the policy says so, and telling the registry what was seen."""

from __future__ import annotations

import logging
from collections.abc import Callable

import anyio
from anyio.abc import TaskGroup
from attrs import define, field

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
from mvsep_async.observe.events import Retried
from mvsep_async.polling.policy import Poll, PollKind, PollPolicy, Sight
from mvsep_async.polling.status import classify_status

__all__ = ["Poller"]

logger = logging.getLogger("mvsep_async")


@define(eq=False)
class _Course:
    """What the poller remembers of a job while it is at the service."""

    began: float
    grace_until: float
    outage: Outage
    first_place: int | None = None
    found: bool = False
    """Whether any look has shown it."""
    guess: Host | None = None
    """Where it is looked for, if its answer was lost: the lists that showed it name no host."""


@define(eq=False)
class Poller:
    """Follows the jobs at the service. `grace`: seconds after create in which "not found" means "not yet"."""

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
    _courses: dict[str, _Course] = field(factory=dict)
    _wake: anyio.Event = field(factory=anyio.Event)

    def watch(self, job: JobEntry, *, grace: float | None = None) -> None:
        """Follow `job` from now on."""
        now = self.clock()
        grace = self.grace if grace is None else grace
        self._courses[job.id] = _Course(now, now + grace, Outage(self.patience, self.time_scale))
        settings = job.request.settings
        self.policy.watch(
            job.id,
            now,
            key=(settings.algorithm, settings.options),
            size=job.progress.bytes_total,
            remote=job.state is JobState.FETCHING,
        )
        self._wake.set()

    def forget(self, job: JobEntry) -> float:
        """Follow `job` no longer; return for how many seconds it was followed."""
        course = self._courses.pop(job.id, None)
        if course is None:
            return 0.0
        self.policy.forget(job.id)
        self._wake.set()
        return self.clock() - course.began

    def poll_soon(self, job: JobEntry) -> None:
        """Look at `job` at once: somebody says that it changed."""
        if job.id in self._courses:
            self.policy.poll_soon(job.id, self.clock())
            self._wake.set()

    async def run(self) -> None:
        """Look whenever the policy says so."""
        async with anyio.create_task_group() as tasks:
            while True:
                self._wake = anyio.Event()
                wait = self._begin_looks(tasks)
                with anyio.move_on_after(wait):
                    await self._wake.wait()

    def _begin_looks(self, tasks: TaskGroup) -> float:
        """Begin all looks that are due; return the seconds until the next may be."""
        while True:
            now = self.clock()
            look, wait = self.policy.next(now, per_minute=self.gate.budget.limit, spare=self.gate.spare())
            if look is None:
                return wait
            if look.kind is PollKind.ACCOUNT:
                tasks.start_soon(self._look_at_account, look)
            elif (job := self.registry.jobs.get(look.job or "")) is None:
                self.policy.forget(look.job or "")
            else:
                tasks.start_soon(self._look_at, job, look)

    async def _look_at(self, job: JobEntry, look: Poll) -> None:
        course = self._courses.get(job.id)
        if course is None or job.state not in AT_SERVICE:
            self.policy.forget(job.id)
            return
        try:
            status = await self.ask(job, Priority.LIKELY if look.likely else Priority.LOOK)
        except MVSepError as error:
            self._missed(job, course, error)
        else:
            course.outage.ended()
            if job.state in AT_SERVICE and self._courses.get(job.id) is course:
                self._take(job, course, status)
        finally:
            self._wake.set()

    def is_young(self, job: JobEntry) -> bool:
        """Tell whether the service has not shown `job` yet, and may need more time to do so."""
        course = self._courses.get(job.id)
        return course is not None and not course.found and self.clock() < course.grace_until

    async def ask(self, job: JobEntry, priority: Priority) -> JobStatus:
        """Ask the service for the status of a job that it has, by whichever hash it goes now."""
        facts, course = job.facts, self._courses.get(job.id)
        if job.state is JobState.FETCHING:
            return await self.separations.get_remote(facts.remote or "", host=facts.host, priority=priority)
        host = facts.host or (None if course is None else course.guess)
        return await self.separations.get(facts.hash or "", host=host, priority=priority)

    def _missed(self, job: JobEntry, course: _Course, error: MVSepError) -> None:
        now = self.clock()
        self.policy.missed(job.id, now)
        self.registry.emit(Retried("look", str(error), job.id))
        if job.state not in AT_SERVICE:
            return
        self._look_elsewhere(job, course)
        if course.outage.failed(now):
            self.registry.apply(job, JobEvent.FAILED, error=error.of(job.id, job.hash))
        else:
            self.registry.show(job, Progress(stage=Stage.WAITING, message=f"{error.message}; asking again"))

    def _take(self, job: JobEntry, course: _Course, status: JobStatus) -> None:
        """Take in what a look showed."""
        now = self.clock()
        # Of a job that is looked for at other hosts too, only the one it was sent to is believed that there is none.
        reading = classify_status(job.id, status, job.state, young=now < course.grace_until or course.guess is not None)
        if status.kind is JobKind.NOT_FOUND:
            self._look_elsewhere(job, course)
        else:
            course.found = True
            if course.guess is not None:
                self.registry.refine(job, host=course.guess)
                course.guess = None
        if course.first_place is None:
            course.first_place = status.queue_position
        match reading.event:
            case None:
                self._show(job, course, reading.progress, now)
            case JobEvent.FETCHED:
                # The real job begins its life only now; it may take a moment to be found.
                course.grace_until = now + self.grace
                self.registry.apply(
                    job, JobEvent.FETCHED, progress=reading.progress, hash=status.hash, host=self._host(job, status)
                )
            case JobEvent.SAID_DONE:
                self.policy.seen(job.id, Sight(Stage.DONE), now)
                self.registry.apply(job, JobEvent.SAID_DONE, separation=status.separation)
                return
            case JobEvent.FAILED | JobEvent.CANCELLED as event:
                self.registry.apply(job, event, error=reading.error)
                return
            case event:
                self.registry.apply(job, event)
                self._show(job, course, reading.progress, now)
        self.policy.seen(job.id, _sight(job, reading.progress), now)

    def _look_elsewhere(self, job: JobEntry, course: _Course) -> None:
        """Have a job whose host is not known looked for at the next one, soon."""
        facts, places = job.facts, (None, *self.base.siblings)
        untold = facts.host is None and facts.accepted_at is None and job.request.source is not None
        if untold and not course.found and len(places) > 1:
            course.guess = places[(places.index(course.guess) + 1) % len(places)]
            self.policy.poll_soon(job.id, self.clock())

    def _host(self, job: JobEntry, status: JobStatus) -> Host | None:
        """Return the host that has a URL job once its song is fetched, if it is named and is the service's."""
        named = None if status.link is None else Host.of_link(status.link, base=job.facts.host or self.base)
        return named or job.facts.host

    def _show(self, job: JobEntry, course: _Course, progress: Progress, now: float) -> None:
        self.registry.show(
            job,
            progress,
            first_place=course.first_place,
            share_of_time=self.policy.share_of_time(job.id, now),
        )

    async def _look_at_account(self, look: Poll) -> None:
        """Ask the account for all its unfinished jobs: one request in place of one for each."""
        if self.account is None:
            self.policy.listed(None, self.clock())
            return
        try:
            user = await self.account.user(priority=Priority.LIKELY if look.likely else Priority.LOOK)
        except MVSepError as error:
            logger.info("the account could not be asked: %s", error)
            self.policy.missed(None, self.clock())
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


def _sight(job: JobEntry, progress: Progress) -> Sight:
    return Sight(
        stage=job.stage,
        queue_position=progress.queue_position,
        queue_length=progress.queue_length,
        chunks_done=progress.chunks_done,
        chunks_total=progress.chunks_total,
    )
