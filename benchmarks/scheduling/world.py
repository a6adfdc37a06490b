"""A virtual clock, songs, and a model of the service."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from itertools import count
from math import log
from random import Random
from typing import Literal

from attrs import define, field, frozen

from mvsep_async.models.stage import Stage

WINDOW = 60.0


@define
class Clock:
    """Time passes only from one event to the next."""

    now: float = 0.0
    _events: list[tuple[float, int, Callable[[], None]]] = field(factory=list, init=False)
    _numbers: count[int] = field(factory=count, init=False)

    def at(self, when: float, what: Callable[[], None]) -> None:
        heapq.heappush(self._events, (max(when, self.now), next(self._numbers), what))

    def after(self, seconds: float, what: Callable[[], None]) -> None:
        self.at(self.now + seconds, what)

    def run(self, until: Callable[[], bool]) -> None:
        while self._events and not until():
            self.now, _, what = heapq.heappop(self._events)
            what()


@frozen(kw_only=True)
class Scenario:
    """The settings of one run. Times are in seconds; the rest is drawn from `seed`."""

    jobs: int = 1000
    slots: int = 10
    per_minute: int = 60
    window: Literal["fixed", "sliding"] = "sliding"
    account: Literal["list", "count", "null"] = "list"
    fresh_unlisted: float = 0.0
    """So long after it was accepted a job is missing from the account's list."""
    other_jobs: float = 0.0
    """Jobs an hour that other programs make with the same account."""
    other_requests: float = 0.0
    """Requests a minute that other programs make."""
    exact: float | None = None
    """Every job takes exactly so long, uploads and queue waits none: a sandbox."""
    poll_interval: float = 2.0
    latency: float = 0.25
    """Median time from a request to its answer."""
    seed: int = 7


@frozen
class Song:
    """One song: its bytes, and the seconds of its upload, its wait in the service's queue and its separation."""

    size: int
    upload: float
    queue: float
    work: float


def songs(scenario: Scenario) -> list[Song]:
    """Draw the songs: 30–300 s of work that song length explains in part, with a heavy tail; uploads of 5–60 s."""
    if scenario.exact is not None:
        return [Song(5_000_000, 0.0, 0.0, scenario.exact)] * scenario.jobs
    draw = Random(scenario.seed)
    drawn = []
    for _ in range(scenario.jobs):
        length = min(max(draw.lognormvariate(log(220), 0.4), 45), 900)
        work = min(max((8 + 0.42 * length) * draw.lognormvariate(0, 0.25), 30), 300)
        if draw.random() < 0.04:
            work = min(work * draw.paretovariate(1.2), 1800)
        size = int(length * draw.choice((40_000, 100_000, 125_000)))
        upload = min(max(size / draw.lognormvariate(log(1_200_000), 0.5), 5), 60)
        queue = draw.uniform(0, 2) if draw.random() < 0.5 else draw.expovariate(1 / 25)
        drawn.append(Song(size, upload, queue, work))
    return drawn


@define
class Limiter:
    """The service's count of requests, fixed minutes or a sliding one; refused requests do not count."""

    scenario: Scenario
    refusals: int = 0
    """Requests of the measured clients that were refused."""
    _passed: deque[float] = field(factory=deque, init=False)

    def hit(self, now: float, *, other: bool = False) -> tuple[int, float]:
        """Count a request, or that of an `other` program; returns how many are left, and the seconds to wait."""
        start = now // WINDOW * WINDOW if self.scenario.window == "fixed" else now - WINDOW
        while self._passed and self._passed[0] <= start:
            self._passed.popleft()
        if len(self._passed) >= self.scenario.per_minute:
            self.refusals += not other
            oldest = start if self.scenario.window == "fixed" else self._passed[0]
            return 0, oldest + WINDOW - now
        self._passed.append(now)
        return self.scenario.per_minute - len(self._passed), 0.0


@define
class Service:
    """The account's jobs at the service: when each was accepted, began and ended."""

    scenario: Scenario
    clock: Clock
    limiter: Limiter = field(init=False)
    jobs: dict[str, tuple[float, float, float]] = field(factory=dict, init=False)
    foreign: list[tuple[float, float]] = field(factory=list, init=False)
    """When the jobs of other programs began and ended."""
    _unfinished: dict[str, float] = field(factory=dict, init=False)
    """When what is unfinished ends; pruned before each use."""
    _random: Random = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.limiter = Limiter(self.scenario)
        self._random = Random(self.scenario.seed + 1)
        self._repeat(self.scenario.other_jobs / 3600, self._other_job)
        self._repeat(self.scenario.other_requests / 60, lambda: self.limiter.hit(self.clock.now, other=True))

    def create(self, job: str, song: Song) -> bool:
        """Accept a job, or refuse it for lack of a slot."""
        if self.unfinished() >= self.scenario.slots:
            return False
        now = self.clock.now
        self.jobs[job] = (now, now + song.queue, now + song.queue + song.work)
        self._unfinished[job] = self.jobs[job][2]
        return True

    def stage(self, job: str) -> Stage:
        """Return the response of `get`."""
        _, began, ended = self.jobs[job]
        now = self.clock.now
        return Stage.DONE if now >= ended else Stage.PROCESSING if now >= began else Stage.WAITING

    def began(self, job: str, stage: Stage) -> float:
        """Return when a stage of a job began."""
        accepted, began, ended = self.jobs[job]
        return {Stage.WAITING: accepted, Stage.PROCESSING: began, Stage.DONE: ended}[stage]

    def unfinished(self) -> int:
        """Return how many unfinished jobs the account has."""
        self._prune()
        return len(self._unfinished)

    def user(self) -> tuple[set[str] | None, int | None]:
        """Return the unfinished jobs that `app/user` reports: which are this client's, and how many there are."""
        self._prune()
        if self.scenario.account == "null":
            return None, None
        if self.scenario.account == "count":
            return None, len(self._unfinished)
        old = self.clock.now - self.scenario.fresh_unlisted
        ours = {job for job in self._unfinished if job in self.jobs and self.jobs[job][0] <= old}
        return ours, len(ours) + sum(job not in self.jobs for job in self._unfinished)

    def busy_with_others(self, until: float) -> float:
        """Return the seconds of slots that the jobs of other programs held until then."""
        return sum(max(0.0, min(end, until) - begun) for begun, end in self.foreign)

    def room_at(self) -> float:
        """Return when the next unfinished job ends, for the oracle."""
        self._prune()
        return min(self._unfinished.values(), default=self.clock.now)

    def _prune(self) -> None:
        now = self.clock.now
        self._unfinished = {job: ends for job, ends in self._unfinished.items() if ends > now}

    def _repeat(self, rate: float, what: Callable[[], object]) -> None:
        """Do something `rate` times a second on average, for ever."""

        def again() -> None:
            what()
            self._repeat(rate, what)

        if rate:
            self.clock.after(self._random.expovariate(rate), again)

    def _other_job(self) -> None:
        now = self.clock.now
        if self.unfinished() < self.scenario.slots:
            ends = now + self._random.uniform(30, 300)
            self.foreign.append((now, ends))
            self._unfinished[f"foreign{len(self.foreign)}"] = ends
