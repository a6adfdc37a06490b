"""The poller with a virtual clock and a made-up service: hours of polling in milliseconds."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from itertools import pairwise
from math import inf
from typing import Any, cast

import anyio
import pytest
import trio
from attrs import define, field
from trio.testing import MockClock

from mvsep_async.errors import JobCancelledError, JobNotFoundError, ServiceUnavailableError
from mvsep_async.http.budget import Budget
from mvsep_async.http.call import Priority
from mvsep_async.http.gate import Gate
from mvsep_async.http.hosts import Host
from mvsep_async.jobs.entry import JobEntry
from mvsep_async.jobs.journal import JobDuration, Journal
from mvsep_async.jobs.lifecycle import AT_SERVICE, JobEvent, JobState
from mvsep_async.jobs.progress import Progress
from mvsep_async.jobs.registry import Change, JobRegistry
from mvsep_async.jobs.request import JobRequest, JobSettings, new_id
from mvsep_async.models.history import AlgorithmRef, HistoryEntry
from mvsep_async.models.job_status import JobKind, JobStatus
from mvsep_async.models.separation import Separation
from mvsep_async.models.stage import Stage
from mvsep_async.models.user import CurrentQueue, QueuedJob, User
from mvsep_async.polling.policy import PollPolicy
from mvsep_async.polling.poller import Poller

BASE = Host.parse("https://mvsep.com")
DE = Host.parse("https://de.mvsep.com")
LONG = "20230327071601-0e3e5c6c85-some-song.mp3"
SHORT = "n2AwBjy4KsFZfqqR"
URL = "https://music.test/Some%20Song.mp3"
GRACE = 180.0


def status(kind: JobKind, hash: str = LONG, **data: Any) -> JobStatus:
    separation = Separation(hash=hash) if kind is JobKind.DONE and "link" not in data else None
    return JobStatus(kind=kind, status=kind.value, hash=hash, separation=separation, **data)


Answer = Callable[[float], JobStatus]


def always(kind: JobKind, hash: str = LONG, **data: Any) -> Answer:
    return lambda now: status(kind, hash, **data)


def life(wait: float, work: float, hash: str, *, places: int | None = None) -> Answer:
    """Wait in the queue, be processed, be done."""

    def at(now: float) -> JobStatus:
        if now < wait:
            return status(JobKind.WAITING, hash, queue_position=places, queue_length=places)
        return status(JobKind.PROCESSING if now < wait + work else JobKind.DONE, hash)

    return at


@define
class Remembered(Journal):
    durations: tuple[JobDuration, ...] = ()
    learned: list[JobDuration] = field(factory=list)

    def learn(self, duration: JobDuration) -> None:
        self.learned.append(duration)


@define
class World:
    """A poller, its registry, and a service that answers `known`: endpoint, host and hash to what it says."""

    base: Host = BASE
    patience: float = 1800.0
    journal: Remembered = field(factory=Remembered)
    known: dict[tuple[str, Host, str], Answer] = field(factory=dict)
    history_entries: list[HistoryEntry] = field(factory=list)
    current: Callable[[], CurrentQueue] = CurrentQueue
    failing: bool = False
    latency: float = 0.1
    asked: list[tuple[float, str, Host | None, str]] = field(factory=list)
    users: list[User] = field(factory=list)
    gate: Gate = field(factory=lambda: Gate(Budget()))
    registry: JobRegistry = field(init=False)
    poller: Poller = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.registry = JobRegistry(self.journal)
        self.poller = Poller(
            self.registry,
            cast("Any", self),
            cast("Any", self),
            self.base,
            self.gate,
            PollPolicy(),
            self.patience,
            1.0,
            grace=GRACE,
            on_account=self.users.append,
            wall=anyio.current_time,
        )
        self.registry.subscribe(self._changed)

    def _changed(self, change: Change) -> None:
        if change.before in AT_SERVICE and change.after not in AT_SERVICE:
            self.poller.forget(change.job)

    async def _answer(self, endpoint: str, hash: str, host: Host | None, priority: Priority) -> JobStatus:
        async with self.gate.admit(priority):
            self.asked.append((anyio.current_time(), endpoint, host, hash))
            await anyio.sleep(self.latency)
            if self.failing:
                raise ServiceUnavailableError("the service is down")
            answer = self.known.get((endpoint, host or self.base, hash), always(JobKind.NOT_FOUND, hash))
            return answer(anyio.current_time())

    async def get(self, hash: str, *, host: Host | None = None, priority: Priority) -> JobStatus:
        return await self._answer("get", hash, host, priority)

    async def get_remote(self, hash: str, *, host: Host | None = None, priority: Priority) -> JobStatus:
        return await self._answer("get-remote", hash, host, priority)

    async def user(self, *, priority: Priority) -> User:
        async with self.gate.admit(priority):
            self.asked.append((anyio.current_time(), "user", None, ""))
            await anyio.sleep(self.latency)
            return User(api_token=None, current_queue=self.current())  # type: ignore[arg-type]

    async def history(self, *, limit: int, priority: Priority) -> list[HistoryEntry]:
        async with self.gate.admit(priority):
            self.asked.append((anyio.current_time(), "history", None, ""))
            return self.history_entries[:limit]

    def accept(
        self, *, hash: str | None = LONG, remote: str | None = None, source: Any = "/s.mp3", **facts: Any
    ) -> JobEntry:
        """Have the service accept a job, and poll it."""
        job = self.registry.add(JobRequest(new_id(), source, JobSettings(algorithm=40)))
        self.registry.apply(job, JobEvent.SLOT_TAKEN)
        facts = {"accepted_at": anyio.current_time(), "host": self.base, **facts}
        event, name = (JobEvent.URL_ACCEPTED, "remote") if remote else (JobEvent.ACCEPTED, "hash")
        self.registry.apply(job, event, **{name: remote or hash}, **facts)
        self.poller.watch(job)
        return job

    async def until(self, condition: Callable[[], bool], seconds: float = 7200.0) -> float:
        """Wait until something holds; returns how long that took."""
        began = anyio.current_time()
        while not condition():
            assert anyio.current_time() < began + seconds, "it never came"
            await anyio.sleep(0.2)
        return anyio.current_time() - began

    def times(self, endpoint: str, hash: str = "") -> list[float]:
        return [at for at, asked, _, name in self.asked if asked == endpoint and hash in name]


def play(scene: Callable[[World], Awaitable[None]], **settings: Any) -> World:
    """Run a scene in virtual time, with its poller."""

    async def main() -> World:
        world = World(**settings)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(world.poller.run)
            await scene(world)
            tasks.cancel_scope.cancel()
        return world

    return trio.run(main, clock=MockClock(autojump_threshold=0))


async def follow(job: JobEntry, seen: list[tuple[float, Progress]]) -> None:
    subscription = job.subscribe()
    while (progress := await subscription.receive()) is not None:
        seen.append((anyio.current_time(), progress))


@pytest.mark.parametrize(("number", "longest"), [(1, 2.2), (3, 5.0), (6, 8.0), (10, 15.0)])
def test_followed_jobs_are_polled_in_turn(number: int, longest: float) -> None:
    async def scene(world: World) -> None:
        hashes = [f"{LONG}{index}" for index in range(number)]
        subscriptions = []
        for hash in hashes:
            world.known["get", BASE, hash] = life(200, inf, hash, places=3)
            subscriptions.append(world.accept(hash=hash).subscribe())
        await anyio.sleep(600)
        for hash in hashes:
            times = world.times("get", hash)
            assert max(later - earlier for earlier, later in pairwise([0.0, *times, 600.0])) <= longest
        assert len(world.asked) <= 0.8 * 600 + 5
        assert all(
            progress.stage is Stage.PROCESSING for job in world.registry.jobs.values() if (progress := job.progress)
        )

    play(scene)


def test_numbers_of_every_poll_are_shown() -> None:
    async def scene(world: World) -> None:
        job = world.accept()
        world.known["get", BASE, LONG] = always(JobKind.WAITING, queue_position=3, queue_length=12)
        await world.until(lambda: job.progress.queue_position == 3, 5)
        assert job.progress.queue_length == 12
        world.known["get", BASE, LONG] = always(JobKind.DISTRIBUTING, chunks_done=1, chunks_total=4)
        await world.until(lambda: job.progress.chunks_done == 1, 5)
        assert (job.stage, job.progress.chunks_total) == (Stage.DISTRIBUTING, 4)

    play(scene)


def test_the_fraction_moves_every_second_while_a_job_is_followed() -> None:
    async def scene(world: World) -> None:
        world.known["get", BASE, LONG] = always(JobKind.PROCESSING)
        jobs = [world.accept() for _ in range(10)]
        alone, seen = jobs[0], list[tuple[float, Progress]]()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(follow, jobs[1], seen)
            await world.until(lambda: jobs[1].stage is Stage.PROCESSING)
            del seen[:]
            await anyio.sleep(60)
            tasks.cancel_scope.cancel()
        assert max(later - earlier for (earlier, _), (later, _) in pairwise(seen)) <= 1.0
        fractions = [progress.fraction or 0.0 for _, progress in seen]
        assert all(earlier < later for earlier, later in pairwise(fractions))
        shown = alone.progress
        await world.until(lambda: alone.progress is not shown)
        assert world.times("get")[-1] >= anyio.current_time() - 0.3, "only by a poll"

    play(scene)


def test_an_end_is_applied_and_its_duration_learned() -> None:
    async def scene(world: World) -> None:
        world.known["get", BASE, LONG] = life(20, 100, LONG)
        job = world.accept()
        assert await world.until(lambda: job.state is JobState.DONE) <= 123
        assert job.facts.separation is not None

    (took,) = play(scene).journal.learned
    assert (took.algorithm, took.waiting, took.processing) == (40, pytest.approx(20, abs=3), pytest.approx(100, abs=3))


def test_the_time_left_is_estimated_from_earlier_runs() -> None:
    earlier = JobDuration(algorithm=40, size=None, waiting=20.0, processing=100.0)

    async def scene(world: World) -> None:
        world.known["get", BASE, LONG] = life(20, 100, LONG)
        job = world.accept()
        subscription = job.subscribe()
        await anyio.sleep(70)
        assert job.progress.seconds_left == pytest.approx(50, rel=0.25)
        assert subscription is not None

    play(scene, journal=Remembered(durations=(earlier,)))


def test_nothing_is_learned_of_a_job_that_was_not_accepted_here() -> None:
    async def scene(world: World) -> None:
        world.known["get", BASE, LONG] = life(0, 30, LONG)
        job = world.accept(accepted_at=None)
        await world.until(lambda: job.state is JobState.DONE)

    assert play(scene).journal.learned == []


@pytest.mark.parametrize("age", [10.0, 1000.0])
def test_a_job_deleted_elsewhere_ends_within_two_polls_and_says_so(age: float) -> None:
    async def scene(world: World) -> None:
        world.known["get", BASE, LONG] = always(JobKind.WAITING)
        job = world.accept()
        await anyio.sleep(age)
        del world.known["get", BASE, LONG]
        assert await world.until(lambda: job.state is JobState.FAILED) <= 2 * 2.0 + 2
        assert isinstance(job.facts.error, JobNotFoundError)
        assert "cancelled or deleted elsewhere" in str(job.facts.error)
        hosts = {host for at, _, host, _ in world.asked if at > age and host}
        assert hosts == {BASE, *BASE.siblings}, "all hosts were asked before it was believed"

    play(scene)


def test_a_job_cancelled_elsewhere_is_cancelled() -> None:
    async def scene(world: World) -> None:
        world.known["get", BASE, LONG] = always(JobKind.CANCELLED)
        job = world.accept()
        assert await world.until(lambda: job.state is JobState.CANCELLED) <= 3
        assert isinstance(job.facts.error, JobCancelledError)

    play(scene)


def test_not_found_once_means_nothing() -> None:
    async def scene(world: World) -> None:
        polls = iter(range(1000))
        world.known["get", BASE, LONG] = lambda now: status(JobKind.NOT_FOUND if next(polls) % 2 else JobKind.WAITING)
        job = world.accept()
        await anyio.sleep(600)
        assert job.state is JobState.WAITING

    play(scene)


def test_an_uploaded_job_with_a_wrong_hash_is_found_by_its_tag() -> None:
    async def scene(world: World) -> None:
        job = world.accept(hash="5")
        real = f"20230327071601-0e3e5c6c85-{job.id}-song.mp3"
        world.history_entries = [HistoryEntry(hash=LONG), HistoryEntry(hash=real)]
        world.known["get", BASE, real] = always(JobKind.PROCESSING, real)
        await world.until(lambda: job.state is JobState.PROCESSING)
        assert job.hash == real

    play(scene)


def test_a_young_job_that_is_not_found_yet_is_waited_for_and_no_longer() -> None:
    async def scene(world: World) -> None:
        late = lambda now: status(JobKind.WAITING if now > 170 else JobKind.NOT_FOUND)  # noqa: E731
        world.known["get", BASE, LONG] = late
        job, missing = world.accept(), world.accept(hash="20230327071601-0e3e5c6c85-none.mp3")
        await anyio.sleep(175)
        assert not world.poller.is_young(job)
        assert world.poller.is_young(missing)
        assert {host for _, _, host, _ in world.asked if host} == {BASE}, "no other is asked in vain meanwhile"
        await world.until(lambda: missing.state is JobState.FAILED, 30)
        assert job.state is JobState.WAITING

    play(scene)


def test_a_cancel_under_way_says_itself_what_it_means_that_the_job_is_gone() -> None:
    async def scene(world: World) -> None:
        world.known["get", BASE, LONG] = always(JobKind.WAITING)
        job = world.accept()
        await anyio.sleep(10)
        with world.poller.cancelling(job):
            del world.known["get", BASE, LONG]
            await anyio.sleep(60)
            assert job.state is JobState.WAITING
        await world.until(lambda: job.state is JobState.FAILED, 10)

    play(scene)


def test_a_job_that_another_host_has_continues_there() -> None:
    async def scene(world: World) -> None:
        world.known["get", DE, LONG] = life(0, 250, LONG)
        job = world.accept()
        await world.until(lambda: job.facts.host == DE, 200)
        await world.until(lambda: job.state is JobState.DONE, 100)

    play(scene)


def test_a_job_whose_host_was_never_told_is_looked_for_at_all_of_them_at_once() -> None:
    async def scene(world: World) -> None:
        world.known["get", DE, LONG] = always(JobKind.WAITING)
        job = world.accept(accepted_at=None, host=None)
        assert await world.until(lambda: job.facts.host == DE) <= 30

    play(scene)


def test_a_url_job_whose_hash_only_the_other_endpoint_knows_is_not_lost() -> None:
    async def scene(world: World) -> None:
        world.known["get", BASE, SHORT] = life(0, 300, SHORT)
        job = world.accept(remote=SHORT, source=URL)
        await world.until(lambda: job.state is JobState.DONE, 400)
        assert job.facts.hash == SHORT

    play(scene)


def test_a_url_job_with_a_long_hash_that_is_still_fetched_is_not_lost() -> None:
    other = LONG.replace("0e3e", "1f1f")

    async def scene(world: World) -> None:
        world.known["get-remote", BASE, LONG] = lambda now: (
            status(JobKind.PROCESSING)
            if now < 300
            else status(JobKind.DONE, other, link=f"{BASE}/api/get?hash={other}")
        )
        world.known["get", BASE, other] = always(JobKind.DONE, other)
        job = world.accept(source=URL)
        await world.until(lambda: job.state is JobState.DONE, 400)
        assert job.facts.hash == other

    play(scene)


def test_three_stages_of_a_url_job() -> None:
    async def scene(world: World) -> None:
        world.known["get-remote", BASE, SHORT] = lambda now: (
            status(JobKind.UNKNOWN, SHORT)
            if now < 20
            else status(JobKind.DONE, LONG, link=f"{DE}/api/separation/get?hash={LONG}")
        )
        world.known["get", DE, LONG] = life(40, 30, LONG)
        job = world.accept(remote=SHORT, source=URL)
        assert job.stage is Stage.FETCHING
        await world.until(lambda: job.stage is Stage.WAITING, 25)
        assert (job.facts.hash, job.facts.host) == (LONG, DE)
        await world.until(lambda: job.state is JobState.DONE, 80)

    play(scene)


def entry(hash: str, sep_type: int = 40) -> HistoryEntry:
    return HistoryEntry(hash=hash, algorithm=AlgorithmRef(name="a", sep_type=sep_type))


@pytest.mark.parametrize(
    ("history", "found"),
    [
        ([entry(LONG)], True),
        ([entry(LONG.replace("some", "other"))], False),
        ([entry(LONG, 63)], False),
        ([entry(LONG), entry(LONG.replace("0e3e", "1f1f"))], False),
    ],
)
def test_a_url_job_whose_fetching_does_not_end_is_searched_in_the_history(
    history: list[HistoryEntry], found: bool
) -> None:
    async def scene(world: World) -> None:
        world.known["get-remote", BASE, SHORT] = always(JobKind.PROCESSING, SHORT)
        world.known["get", BASE, LONG] = always(JobKind.DONE)
        world.history_entries = history
        job = world.accept(remote=SHORT, source=URL)
        await anyio.sleep(170)
        assert world.times("history") == []
        await anyio.sleep(600)
        assert (job.state is JobState.DONE) is found
        assert len(world.times("history")) <= 11

    play(scene)


def test_an_outage_is_shown_and_ends_a_job_only_when_patience_does() -> None:
    async def scene(world: World) -> None:
        world.known["get", BASE, LONG] = always(JobKind.WAITING, queue_position=5)
        job = world.accept()
        await anyio.sleep(10)
        world.failing = True
        await world.until(lambda: "asking again" in (job.progress.message or ""), 10)
        assert job.progress.queue_position == 5
        await anyio.sleep(250)
        assert job.state is JobState.WAITING
        world.failing = False
        await world.until(lambda: job.progress.message is None, 70)
        world.failing = True
        assert 300 <= await world.until(lambda: job.state is JobState.FAILED) <= 500
        assert isinstance(job.facts.error, ServiceUnavailableError)

    play(scene, patience=300.0)


def test_the_account_shows_ends_and_what_others_use() -> None:
    async def scene(world: World) -> None:
        hashes = [f"20230327071601-0e3e5c6c{index:02d}-a.mp3" for index in range(30)]
        for hash in hashes:
            world.known["get", BASE, hash] = always(JobKind.PROCESSING, hash)
            world.accept(hash=hash)
        unfinished = [QueuedJob(hash=hash) for hash in hashes]
        world.current = lambda: CurrentQueue(len(unfinished), tuple(unfinished))
        await anyio.sleep(120)
        assert world.users
        world.known["get", BASE, hashes[7]] = always(JobKind.DONE, hashes[7])
        del unfinished[7]
        job = world.registry.find("hash", hashes[7])
        assert job is not None
        assert await world.until(lambda: job.state is JobState.DONE) <= 10, "a round takes 40 s"

    play(scene)


def test_a_job_is_polled_soon_when_something_says_that_it_changed() -> None:
    async def scene(world: World) -> None:
        jobs = []
        for index in range(10):
            hash = f"{LONG}{index}"
            world.known["get", BASE, hash] = always(JobKind.PROCESSING, hash)
            jobs.append(world.accept(hash=hash))
        await anyio.sleep(60)
        for job in jobs:
            world.known["get", BASE, str(job.hash)] = always(JobKind.DONE, str(job.hash))
        world.poller.poll_soon(jobs[4])
        assert await world.until(lambda: jobs[4].state is JobState.DONE) <= 2.5

    play(scene)


def test_a_forgotten_job_is_polled_no_longer() -> None:
    async def scene(world: World) -> None:
        world.known["get", BASE, LONG] = always(JobKind.PROCESSING)
        job = world.accept()
        await anyio.sleep(30.9)  # between two polls
        assert world.poller.forget(job) == pytest.approx(30.9)
        asked = len(world.times("get"))
        await anyio.sleep(60)
        assert len(world.times("get")) == asked
        assert world.poller.forget(job) == 0.0

    play(scene)
