"""Clients of the modelled service: ours, made of the package's own parts, fixed-interval clients, and an oracle."""

from __future__ import annotations

import heapq
from abc import ABC, abstractmethod
from collections.abc import Callable
from itertools import count
from math import inf, log
from random import Random
from statistics import median, quantiles
from typing import TypeVar

from attrs import define, evolve, field, frozen

from benchmarks.scheduling.world import WINDOW, Clock, Scenario, Service, Song, songs
from mvsep_async.http.budget import Budget
from mvsep_async.http.call import Priority
from mvsep_async.jobs.lifecycle import JobEvent, JobState, next_state
from mvsep_async.models.stage import Stage
from mvsep_async.polling.policy import PollPolicy
from mvsep_async.scheduling.queue import FairQueue
from mvsep_async.scheduling.slots import Slots

__all__ = ["Client", "Fixed", "Oracle", "Ours", "Outcome"]

T = TypeVar("T")


@frozen(kw_only=True)
class Outcome:
    """The results of a client in a scenario. All times are in seconds."""

    use: float
    """Share of the slots' time in which something was in them."""
    lasted: float
    """Until the last song got its slot; use is counted till then, so that one long last job blurs nothing."""
    noticed: tuple[float, ...]
    """From done at the service to done known to the client, of each job."""
    shown: tuple[float, ...] = (0.0,)
    """From the beginning of a stage at the service (done included) to the poll that shows it."""
    longest_gap: float = 0.0
    """The longest time in which one job that is followed was not polled."""
    poll_share: float = 0.0
    """Share of the requests of a minute that polls used."""
    requests: int
    refused_requests: int
    refused_creates: int
    slowest_create: float
    """The longest time that a create waited for the budget."""
    jobs: int

    @property
    def noticed_median(self) -> float:
        return median(self.noticed)

    @property
    def noticed_p95(self) -> float:
        return quantiles(self.noticed, n=20)[-1]

    @property
    def shown_median(self) -> float:
        return median(self.shown)

    @property
    def shown_p95(self) -> float:
        return quantiles(self.shown, n=20)[-1] if len(self.shown) > 1 else self.shown[0]

    @property
    def requests_per_job(self) -> float:
        return self.requests / self.jobs


@define
class Wire:
    """The connection to the service: latency, the service's limit, and the client's budget where it has one."""

    clock: Clock
    service: Service
    budget: Budget | None
    requests: int = 0
    slowest_create: float = 0.0
    _waiting: list[tuple[Priority, int, float, Callable[[], None]]] = field(factory=list, init=False)
    _numbers: count[int] = field(factory=count, init=False)
    _random: Random = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._random = Random(self.service.scenario.seed + 2)

    def send(
        self, priority: Priority, serve: Callable[[], T], answered: Callable[[T], None], upload: float = 0.0
    ) -> None:
        """Call `serve` once the budget allows the request, and pass on its result."""
        entry = (priority, next(self._numbers), self.clock.now, lambda: self._go(priority, serve, answered, upload))
        heapq.heappush(self._waiting, entry)
        self._pump()

    def spare(self) -> int:
        """Return how many polls could be sent now."""
        if self.budget is None:
            return 1
        return 0 if self._waiting else self.budget.spare(self.clock.now)

    def _pump(self) -> None:
        while self._waiting:
            priority, _, since, _ = self._waiting[0]
            wait = self.budget.wait(priority, self.clock.now) if self.budget else 0.0
            if wait > 0:
                if wait < inf:
                    self.clock.after(wait, self._pump)
                return
            _, _, _, go = heapq.heappop(self._waiting)
            if self.budget:
                self.budget.sent()
            if priority is Priority.CREATE:
                self.slowest_create = max(self.slowest_create, self.clock.now - since)
            go()

    def _go(self, priority: Priority, serve: Callable[[], T], answered: Callable[[T], None], upload: float) -> None:
        self.requests += 1
        began = self.clock.now
        one_way = self._random.lognormvariate(log(self.service.scenario.latency), 0.4) / 2

        def arrive() -> None:
            remaining, wait = self.service.limiter.hit(self.clock.now)
            if wait:
                self.clock.after(one_way, lambda: self._refused(priority, serve, answered, upload, wait))
            else:
                reply(serve(), remaining)

        def reply(answer: T, remaining: int) -> None:
            self.clock.after(one_way, lambda: finish(answer, remaining))

        def finish(answer: T, remaining: int) -> None:
            if self.budget:
                limit = self.service.scenario.per_minute
                now = self.clock.now
                self.budget.answered(now, limit=limit, remaining=remaining, took=now - began)
            answered(answer)
            self._pump()

        # The service counts a request once its body is there: a front server collects it before.
        self.clock.after(one_way + upload, arrive)

    def _refused(
        self, priority: Priority, serve: Callable[[], T], answered: Callable[[T], None], upload: float, wait: float
    ) -> None:
        if self.budget:
            self.budget.answered(self.clock.now, limit=self.service.scenario.per_minute, remaining=0)
            self.budget.rate_limited(self.clock.now, wait)
            self.send(priority, serve, answered, upload)
        else:
            self.clock.after(wait, lambda: self.send(priority, serve, answered, upload))


@define
class Client(ABC):
    """The base of all clients: a queue of songs, a slot before each create, and the results.

    `shared`: the service if other clients use it too; otherwise each has its own.
    """

    scenario: Scenario
    shared: Service | None = None
    name: str = ""
    service: Service = field(init=False)
    clock: Clock = field(init=False)
    wire: Wire = field(init=False)
    slots: Slots = field(init=False)
    queue: FairQueue[str] = field(factory=lambda: FairQueue(lambda job: (None, 0)), init=False)
    songs: dict[str, Song] = field(init=False)
    states: dict[str, JobState] = field(init=False)
    noticed: dict[str, float] = field(factory=dict, init=False)
    refused_creates: int = field(default=0, init=False)
    _begun: dict[str, float] = field(factory=dict, init=False)
    last_start: float = field(default=0.0, init=False)

    def __attrs_post_init__(self) -> None:
        self.service = Service(self.scenario, Clock()) if self.shared is None else self.shared
        self.clock = self.service.clock
        self.wire = Wire(self.clock, self.service, self.budget())
        self.slots = Slots(self.scenario.slots)
        self.songs = {f"{self.name}job{number}": song for number, song in enumerate(songs(self.scenario))}
        self.states = dict.fromkeys(self.songs, JobState.QUEUED)
        for job in self.songs:
            self.queue.push(job)

    def budget(self) -> Budget | None:
        return Budget()

    @property
    def finished(self) -> bool:
        return len(self.noticed) == len(self.songs)

    def run(self) -> Outcome:
        """Separate all songs and return the results."""
        self.fill()
        self.clock.run(lambda: self.finished)
        return self.outcome()

    def busy(self, until: float) -> float:
        """Return the seconds of slots that its jobs held until then."""
        ends = ((self._begun[job], self.service.jobs[job][2]) for job in self.songs)
        return sum(max(0.0, min(end, until) - begun) for begun, end in ends)

    def outcome(self) -> Outcome:
        """Return the results."""
        until = self.last_start
        busy = self.busy(until) + self.service.busy_with_others(until)
        return Outcome(
            use=busy / (until * self.scenario.slots),
            lasted=until,
            noticed=tuple(at - self.service.jobs[job][2] for job, at in self.noticed.items()),
            requests=self.wire.requests,
            refused_requests=self.service.limiter.refusals,
            refused_creates=self.refused_creates,
            slowest_create=self.wire.slowest_create,
            jobs=len(self.songs),
        )

    def fill(self) -> None:
        """Begin creates for as long as there are slots."""
        while self.slots.free(self.clock.now) and (job := self.queue.peek()) is not None:
            self._create(job)
        again = self.slots.next_change(self.clock.now)
        if again < inf and len(self.queue):
            self.clock.at(again, self.fill)

    def _create(self, job: str) -> None:
        self.queue.take(job)
        self.slots.acquire(job)
        self.apply(job, JobEvent.SLOT_TAKEN)
        self._begun[job] = self.last_start = self.clock.now
        song = self.songs[job]
        self.wire.send(
            Priority.CREATE,
            lambda: self.service.create(job, song),
            lambda accepted: self._created(job, accepted),
            song.upload,
        )

    def _created(self, job: str, accepted: bool) -> None:
        if accepted:
            self.apply(job, JobEvent.ACCEPTED)
            self.slots.accepted(self.clock.now)
            self.accepted(job)
        else:
            self.refused_creates += 1
            self.apply(job, JobEvent.NOT_ACCEPTED)
            self.slots.refused(self.clock.now)
            self.slots.release(job)
            self.queue.push_first(job)
        self.fill()

    def apply(self, job: str, event: JobEvent) -> None:
        self.states[job] = next_state(job, self.states[job], event)

    def over(self, job: str) -> None:
        """Record that the end of a job was noticed, and use its slot."""
        self.apply(job, JobEvent.STATUS_DONE)
        self.noticed[job] = self.clock.now
        self.slots.release(job)
        self.fill()

    @abstractmethod
    def accepted(self, job: str) -> None:
        """Begin to poll a job."""


@define
class Ours(Client):
    """The package's own parts, driven as the scheduler drives them. `followed`: whether every job is followed."""

    followed: bool = True
    policy: PollPolicy = field(init=False)
    shown: list[float] = field(factory=list, init=False)
    polls: int = field(default=0, init=False)
    asked: int = field(default=0, init=False)
    """How often the policy was asked: at each change, and after each wait."""
    longest_gap: float = field(default=0.0, init=False)
    _polled_at: dict[str, float] = field(factory=dict, init=False)
    _stages: dict[str, Stage] = field(factory=dict, init=False)
    _asking: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self.policy = PollPolicy(self.scenario.poll_interval)

    def outcome(self) -> Outcome:
        it = super().outcome()
        minutes = max(self.clock.now / WINDOW, 1.0)
        return evolve(
            it,
            shown=tuple(self.shown),
            longest_gap=self.longest_gap,
            poll_share=self.polls / (minutes * self.scenario.per_minute),
        )

    def accepted(self, job: str) -> None:
        self.policy.watch(job, self.clock.now)
        self._polled_at[job] = self.clock.now
        self._stages[job] = Stage.UPLOADING
        self.poll()

    def fill(self) -> None:
        """Ask the account before a probe, as the dispatcher does."""
        if self._asking:
            return
        if len(self.queue) and self.slots.is_probe(self.clock.now):
            self._asking = True
            self.wire.send(Priority.CREATE, self.service.user, self._has_room)
        else:
            super().fill()

    def _has_room(self, answer: tuple[set[str] | None, int | None]) -> None:
        self._asking = False
        self._observed(answer)
        super().fill()

    def poll(self) -> None:
        """Begin the polls that are due."""
        budget = self.wire.budget
        assert budget is not None
        self.asked += 1
        while True:
            now = self.clock.now
            poll, wait = self.policy.next(
                now,
                per_minute=budget.limit,
                spare=self.wire.spare(),
                others=budget.others(now),
                followed=self._stages if self.followed else (),
            )
            if poll is None:
                break
            self.polls += 1
            priority = Priority.LIKELY if poll.hinted else Priority.POLL
            if poll.job is None:
                self.wire.send(priority, self.service.user, self._listed)
            else:
                self._poll(poll.job, priority)
        if wait < inf:
            asked = self.asked
            self.clock.after(wait, lambda: self.poll() if asked == self.asked else None)

    def _poll(self, job: str, priority: Priority) -> None:
        self.longest_gap = max(self.longest_gap, self.clock.now - self._polled_at[job])
        self._polled_at[job] = self.clock.now
        self.wire.send(priority, lambda: self.service.stage(job), lambda stage: self._show(job, stage))

    def _show(self, job: str, stage: Stage) -> None:
        self.policy.answered(job)
        if stage is not self._stages[job]:
            self._stages[job] = stage
            self.shown.append(self.clock.now - self.service.began(job, stage))
        if stage is Stage.DONE:
            self.policy.forget(job)
            del self._stages[job]
            self.over(job)
        self.poll()

    def _listed(self, answer: tuple[set[str] | None, int | None]) -> None:
        listed, unfinished = answer
        ours = None if listed is None else listed & self._stages.keys()
        self.policy.listed(unfinished if ours is None else ours, self.clock.now)
        self._observed(answer)
        self.fill()
        self.poll()

    def _observed(self, answer: tuple[set[str] | None, int | None]) -> None:
        listed, unfinished = answer
        if unfinished is not None:
            waiting = sum(state is JobState.WAITING for state in self.states.values())
            ours = waiting if listed is None else len(listed & self._stages.keys())
            self.slots.account_reported(unfinished, self.clock.now, ours=ours)


@define
class Fixed(Client):
    """Polls each job at a fixed interval, as most clients do; `careful` ones keep the same budget as ours."""

    every: float = 5.0
    careful: bool = True

    def budget(self) -> Budget | None:
        return Budget() if self.careful else None

    def accepted(self, job: str) -> None:
        self.clock.after(self.every, lambda: self._poll(job))

    def _poll(self, job: str) -> None:
        self.wire.send(Priority.POLL, lambda: self.service.stage(job), lambda stage: self._show(job, stage))

    def _show(self, job: str, stage: Stage) -> None:
        if stage is Stage.DONE:
            self.over(job)
        else:
            self.accepted(job)


@define
class Oracle(Client):
    """Knows every end at the moment it comes, and when a slot is free; polls only to get the result."""

    _waits_until: float = field(default=0.0, init=False)

    def accepted(self, job: str) -> None:
        self.clock.at(self.service.jobs[job][2], lambda: self._ended(job))

    def _ended(self, job: str) -> None:
        self.over(job)
        self.wire.send(Priority.POLL, lambda: None, lambda _: None)

    def fill(self) -> None:
        self.slots.relimit(self.scenario.slots)  # a refusal has nothing to teach it
        while self.service.unfinished() + self._creating() < self.scenario.slots and self.slots.free(self.clock.now):
            job = self.queue.peek()
            if job is None:
                return
            self._create(job)
        if self.scenario.other_jobs and self.slots.free(self.clock.now) and self._waits_until <= self.clock.now:
            self._waits_until = self.service.room_at()
            self.clock.at(self._waits_until, self.fill)

    def _creating(self) -> int:
        return sum(state is JobState.CREATING for state in self.states.values())
