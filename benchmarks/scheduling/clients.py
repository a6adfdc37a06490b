"""Clients of the modelled service: ours, made of the package's own parts, those of others, and an oracle."""

from __future__ import annotations

import heapq
from abc import ABC, abstractmethod
from collections.abc import Callable
from itertools import count
from math import inf, log
from random import Random
from statistics import median, quantiles
from typing import TypeVar

from attrs import define, field, frozen

from benchmarks.scheduling.world import Clock, Scenario, Service, Song, songs
from mvsep_async.http.budget import Budget
from mvsep_async.http.call import Priority
from mvsep_async.jobs.lifecycle import JobEvent, JobState, after
from mvsep_async.models.stage import Stage
from mvsep_async.polling.policy import PollKind, PollPolicy, Sight
from mvsep_async.scheduling.queue import FairQueue
from mvsep_async.scheduling.slots import Slots

T = TypeVar("T")


@frozen(kw_only=True)
class Outcome:
    """What a client made of a scenario."""

    use: float
    """Share of the slots' time in which something was in them."""
    lasted: float
    """Seconds until the last song got its slot; use is counted till then, so that one long last job blurs nothing."""
    noticed: tuple[float, ...]
    """Seconds from done at the service to done known to the client, of each job."""
    requests: int
    refused_requests: int
    refused_creates: int
    jobs: int

    @property
    def noticed_median(self) -> float:
        return median(self.noticed)

    @property
    def noticed_p95(self) -> float:
        return quantiles(self.noticed, n=20)[-1]

    @property
    def requests_per_job(self) -> float:
        return self.requests / self.jobs


@define
class Wire:
    """The way to the service: latency, the service's limit, and, for those who keep one, a budget before it."""

    clock: Clock
    service: Service
    budget: Budget | None
    requests: int = 0
    _line: list[tuple[Priority, int, Callable[[], None]]] = field(factory=list, init=False)
    _numbers: count[int] = field(factory=count, init=False)
    _lot: Random = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._lot = Random(self.service.scenario.seed + 2)

    def send(
        self, priority: Priority, serve: Callable[[], T], answered: Callable[[T], None], upload: float = 0.0
    ) -> None:
        """Ask the service `serve` after the request was let through, and hand on its answer."""
        heapq.heappush(self._line, (priority, next(self._numbers), lambda: self._go(priority, serve, answered, upload)))
        self._pump()

    def spare(self) -> int:
        """Return how many looks could go out now."""
        if self.budget is None:
            return 1
        return 0 if self._line else self.budget.spare(self.clock.now)

    def _pump(self) -> None:
        while self._line:
            wait = self.budget.wait(self._line[0][0], self.clock.now) if self.budget else 0.0
            if wait > 0:
                if wait < inf:
                    self.clock.after(wait, self._pump)
                return
            _, _, go = heapq.heappop(self._line)
            if self.budget:
                self.budget.sent()
            go()

    def _go(self, priority: Priority, serve: Callable[[], T], answered: Callable[[T], None], upload: float) -> None:
        self.requests += 1
        way = self._lot.lognormvariate(log(self.service.scenario.latency), 0.4) / 2

        def arrive() -> None:
            remaining, wait = self.service.limiter.hit(self.clock.now)
            if wait:
                self.clock.after(way, lambda: self._refused(priority, serve, answered, upload, wait))
            else:
                self.clock.after(upload, lambda: reply(serve(), remaining))

        def reply(answer: T, remaining: int) -> None:
            self.clock.after(way, lambda: finish(answer, remaining))

        def finish(answer: T, remaining: int) -> None:
            if self.budget:
                limit = self.service.scenario.per_minute
                self.budget.answered(self.clock.now, limit=limit, remaining=remaining)
            answered(answer)
            self._pump()

        self.clock.after(way, arrive)

    def _refused(
        self, priority: Priority, serve: Callable[[], T], answered: Callable[[T], None], upload: float, wait: float
    ) -> None:
        if self.budget:
            self.budget.answered(self.clock.now, limit=self.service.scenario.per_minute, remaining=0)
            self.budget.refused(self.clock.now, wait)
            self.send(priority, serve, answered, upload)
        else:
            self.clock.after(wait, lambda: self.send(priority, serve, answered, upload))


@define
class Client(ABC):
    """What all clients share: a queue of songs, a slot before each create, and an account of what came of it."""

    scenario: Scenario
    clock: Clock = field(factory=Clock, init=False)
    service: Service = field(init=False)
    wire: Wire = field(init=False)
    slots: Slots = field(init=False)
    queue: FairQueue[str] = field(factory=FairQueue, init=False)
    songs: dict[str, Song] = field(init=False)
    states: dict[str, JobState] = field(init=False)
    noticed: dict[str, float] = field(factory=dict, init=False)
    refused_creates: int = field(default=0, init=False)
    _begun: dict[str, float] = field(factory=dict, init=False)
    _last_start: float = field(default=0.0, init=False)

    def __attrs_post_init__(self) -> None:
        self.service = Service(self.scenario, self.clock)
        self.wire = Wire(self.clock, self.service, self.budget())
        self.slots = Slots(self.scenario.slots)
        self.songs = {f"job{number}": song for number, song in enumerate(songs(self.scenario))}
        self.states = dict.fromkeys(self.songs, JobState.QUEUED)
        for job in self.songs:
            self.queue.push(job, group=None)

    def budget(self) -> Budget | None:
        return Budget()

    def run(self) -> Outcome:
        """Separate all songs, and say how it went."""
        self.fill()
        self.clock.run(lambda: len(self.noticed) == len(self.songs))
        until = self._last_start
        busy = sum(max(0.0, min(self.service.jobs[job][2], until) - self._begun[job]) for job in self.songs)
        busy += sum(max(0.0, min(end, until) - begun) for begun, end in self.service.foreign)
        return Outcome(
            use=busy / (until * self.scenario.slots),
            lasted=until,
            noticed=tuple(at - self.service.jobs[job][2] for job, at in self.noticed.items()),
            requests=self.wire.requests,
            refused_requests=self.service.limiter.refusals,
            refused_creates=self.refused_creates,
            jobs=len(self.songs),
        )

    def fill(self) -> None:
        """Begin creates for as long as there are slots."""
        while self.slots.free(self.clock.now) and (job := self.queue.pop()) is not None:
            self._create(job)
        again = self.slots.next_change(self.clock.now)
        if again is not None and len(self.queue):
            self.clock.at(again, self.fill)

    def _create(self, job: str) -> None:
        self.slots.acquire(job)
        self.tell(job, JobEvent.SLOT_TAKEN)
        self._begun[job] = self._last_start = self.clock.now
        song = self.songs[job]
        self.wire.send(
            Priority.CREATE,
            lambda: self.service.create(job, song),
            lambda accepted: self._created(job, accepted),
            song.upload,
        )

    def _created(self, job: str, accepted: bool) -> None:
        if accepted:
            self.tell(job, JobEvent.ACCEPTED)
            self.slots.accepted(self.clock.now)
            self.accepted(job)
        else:
            self.refused_creates += 1
            self.tell(job, JobEvent.NOT_ACCEPTED)
            self.slots.refused(job, self.clock.now)
            self.queue.push_first(job, group=None)
        self.fill()

    def tell(self, job: str, event: JobEvent) -> None:
        self.states[job] = after(job, self.states[job], event)

    def over(self, job: str) -> None:
        """Note that a job's end was noticed, and use its slot."""
        self.tell(job, JobEvent.SAID_DONE)
        self.noticed[job] = self.clock.now
        self.slots.release(job)
        self.fill()

    @abstractmethod
    def accepted(self, job: str) -> None:
        """Begin to look at a job."""


@define
class Ours(Client):
    """The package's own parts, driven as the scheduler drives them."""

    waited_on: bool = True
    policy: PollPolicy = field(init=False)
    _asked: int = field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self.policy = PollPolicy(self.scenario.poll_interval)

    def accepted(self, job: str) -> None:
        size = self.songs[job].size
        self.policy.watch(job, self.clock.now, key=(40, ()), size=size, waited_on=self.waited_on)
        self.look()

    def look(self) -> None:
        """Begin the looks that are due."""
        assert self.wire.budget is not None
        self._asked += 1
        while True:
            look, wait = self.policy.next(self.clock.now, per_minute=self.wire.budget.limit, spare=self.wire.spare())
            if look is None:
                break
            if look.kind is PollKind.ACCOUNT:
                self.wire.send(Priority.LOOK, self.service.user, self._listed)
            else:
                assert look.job is not None
                self._look_at(look.job, Priority.LIKELY if look.likely else Priority.LOOK)
        if wait < inf:
            asked = self._asked
            self.clock.after(wait, lambda: self.look() if asked == self._asked else None)

    def _look_at(self, job: str, priority: Priority) -> None:
        self.wire.send(priority, lambda: self.service.stage(job), lambda stage: self._saw(job, stage))

    def _saw(self, job: str, stage: Stage) -> None:
        self.policy.seen(job, Sight(stage), self.clock.now)
        if stage is Stage.DONE:
            self.over(job)
        self.look()

    def _listed(self, said: tuple[set[str] | None, int | None]) -> None:
        listed, unfinished = said
        self.policy.listed(unfinished if listed is None else listed, self.clock.now)
        if unfinished is not None:
            at_service = (
                sum(state is JobState.WAITING for state in self.states.values()) if listed is None else len(listed)
            )
            self.slots.observed(unfinished, self.clock.now, ours=at_service)
            self.fill()
        self.look()


@define
class Fixed(Client):
    """Looks at each job every so often, as most clients do; `careful` ones keep the same budget as ours."""

    every: float = 5.0
    careful: bool = True

    def budget(self) -> Budget | None:
        return Budget() if self.careful else None

    def accepted(self, job: str) -> None:
        self.clock.after(self.every, lambda: self._look(job))

    def _look(self, job: str) -> None:
        self.wire.send(Priority.LOOK, lambda: self.service.stage(job), lambda stage: self._saw(job, stage))

    def _saw(self, job: str, stage: Stage) -> None:
        if stage is Stage.DONE:
            self.over(job)
        else:
            self.accepted(job)


@define
class Oracle(Client):
    """Knows every end at the moment it comes, and when a slot is free; looks only to fetch the result."""

    _waits_until: float = field(default=0.0, init=False)

    def accepted(self, job: str) -> None:
        self.clock.at(self.service.jobs[job][2], lambda: self._ended(job))

    def _ended(self, job: str) -> None:
        self.over(job)
        self.wire.send(Priority.LOOK, lambda: None, lambda _: None)

    def fill(self) -> None:
        self.slots.relimit(self.scenario.slots)  # nothing is to be learned from a refusal
        while self.service.unfinished() + self._creating() < self.scenario.slots and self.slots.free(self.clock.now):
            job = self.queue.pop()
            if job is None:
                return
            self._create(job)
        if self.scenario.strangers and self.slots.free(self.clock.now) and self._waits_until <= self.clock.now:
            self._waits_until = self.service.room_at()
            self.clock.at(self._waits_until, self.fill)

    def _creating(self) -> int:
        return sum(state is JobState.CREATING for state in self.states.values())
