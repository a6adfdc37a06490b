"""The policy: which job it polls, how often, and what it makes of lists, counts, silence, hints and failures."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Container
from itertools import pairwise
from math import inf

import pytest
from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st

from mvsep_async.polling.policy import OVERDUE, POLL_SHARE, SPARED, Poll, PollPolicy


@define
class World:
    """A policy whose polls are answered at once, and a record of all that it asked."""

    policy: PollPolicy = field(factory=PollPolicy)
    per_minute: int = 60
    account: Callable[[float], set[str] | int | None] = lambda now: None
    unfinished: Callable[[str, float], bool | None] = lambda job, now: True
    """`None`: the poll fails."""
    followed: Container[str] = ()
    others: int = 0
    spare: int | None = None
    """`None`: what the polls of the last minute leave."""
    now: float = 0.0
    polls: list[tuple[float, Poll]] = field(factory=list)

    def run(self, seconds: float) -> list[tuple[float, Poll]]:
        """Go on for so long; returns the polls begun meanwhile."""
        until, first = self.now + seconds, len(self.polls)
        while self.now < until:
            poll, wait = self.policy.next(
                self.now,
                per_minute=self.per_minute,
                spare=self._spare(),
                others=self.others,
                followed=self.followed,
            )
            if poll is None:
                assert wait > 0
                self.now = min(self.now + wait, until)
                continue
            self.polls.append((self.now, poll))
            if poll.job is None:
                self.policy.listed(self.account(self.now), self.now)
                continue
            match self.unfinished(poll.job, self.now):
                case None:
                    self.policy.failed(poll.job, self.now)
                case True:
                    self.policy.answered(poll.job)
                case False:
                    self.policy.forget(poll.job)
        return self.polls[first:]

    def _spare(self) -> int:
        if self.spare is not None:
            return self.spare
        return self.per_minute - 2 - sum(at > self.now - 60 for at, _ in self.polls[-self.per_minute :])

    def watch(self, number: int) -> set[str]:
        names = {f"job{i}" for i in range(number)}
        for name in sorted(names):
            self.policy.watch(name, self.now)
        return names


def by_job(polls: list[tuple[float, Poll]]) -> dict[str, list[float]]:
    times = defaultdict[str, list[float]](list)
    for at, poll in polls:
        if poll.job is not None:
            times[poll.job].append(at)
    return times


def of_account(polls: list[tuple[float, Poll]]) -> list[float]:
    return [at for at, poll in polls if poll.job is None]


def gaps(times: list[float]) -> list[float]:
    return [later - earlier for earlier, later in pairwise(times)]


def test_no_job_watched_nothing_polled() -> None:
    assert PollPolicy().next(0.0, per_minute=60, spare=60) == (None, inf)


@pytest.mark.parametrize(
    ("jobs", "per_minute", "longest"), [(1, 60, 2.0), (2, 60, 3.0), (3, 60, 5.0), (10, 60, 15.0), (10, 120, 8.0)]
)
@pytest.mark.parametrize("said", ["list", "count", "nothing"])
def test_followed_jobs_are_polled_in_turn(jobs: int, per_minute: int, longest: float, said: str) -> None:
    world = World(per_minute=per_minute)
    names = world.watch(jobs)
    world.followed = names
    world.account = {"list": lambda now: names, "count": lambda now: jobs, "nothing": lambda now: None}[said]
    polls = world.run(600)
    for name in names:
        times = by_job(polls)[name]
        assert max(gaps([0.0, *times])) <= longest + 1e-6
        assert min(gaps(times)) >= 2.0 - 1e-6
    assert len(polls) <= POLL_SHARE * per_minute * 10 + 5
    begun = [at for at, _ in polls]
    for start in range(540):
        assert sum(start <= at < start + 60 for at in begun) <= POLL_SHARE * per_minute + 5
        assert sum(start <= at < start + 1 for at in begun) <= 3, "spread over the minute"


def test_followed_jobs_are_polled_first_and_no_job_starves() -> None:
    world = World()
    world.watch(10)
    world.followed = {f"job{i}" for i in range(5)}
    times = by_job(world.run(600))
    followed = [len(times[f"job{i}"]) for i in range(5)]
    rest = [len(times[f"job{i}"]) for i in range(5, 10)]
    assert min(followed) >= 3 * max(rest)
    assert max(max(gaps(times[f"job{i}"])) for i in range(5, 10)) <= 60


def test_a_poll_in_flight_is_not_begun_again() -> None:
    policy = PollPolicy()
    policy.watch("a", 0.0)
    assert policy.next(5.0, per_minute=60, spare=60)[0] == Poll("a")
    assert policy.next(20.0, per_minute=60, spare=60)[0] is None
    policy.answered("a")
    assert policy.next(21.0, per_minute=60, spare=60)[0] == Poll("a")


def test_what_creates_need_is_not_polled_with() -> None:
    world = World()
    names = world.watch(10)
    world.followed = names
    world.spare = 0
    assert world.run(60) == []
    world = World(spare=SPARED)
    names = world.watch(10)
    world.followed = names
    assert world.run(OVERDUE) == [], "the last requests are for overdue jobs and creates"
    assert {poll.job for _, poll in world.run(14.0)} == set(names)


def test_two_clients_with_one_account_have_half_each() -> None:
    world = World(others=24)
    world.watch(10)
    world.spare = 10
    assert 20 <= len(world.run(60)) <= 40


def test_the_account_is_polled_often_where_it_shows_more_than_one_job_would() -> None:
    many, few = World(), World()
    for world, number in ((many, 30), (few, 3)):
        names = world.watch(number)
        world.account = lambda now, names=names: names  # type: ignore[misc]
    assert len(of_account(many.run(300))) >= 40
    assert len(of_account(few.run(300))) <= 10


def test_a_job_missing_from_the_list_is_polled_at_once() -> None:
    world = World()
    names = world.watch(10)
    world.account = lambda now: names
    world.run(60)
    names.remove("job3")
    world.unfinished = lambda job, now: job != "job3"
    polls = world.run(30)
    at, poll = next((at, poll) for at, poll in polls if poll.job == "job3")
    assert poll.hinted
    assert at - of_account([entry for entry in polls if entry[0] <= at])[-1] <= 2.0


def test_a_job_that_no_list_named_yet_is_not_missing() -> None:
    world = World()
    names = world.watch(10)
    world.account = lambda now: names
    world.run(30)
    world.policy.watch("fresh", world.now)
    assert not any(poll.hinted for _, poll in world.run(60))


def test_a_list_asked_for_before_a_job_was_accepted_says_nothing_of_it() -> None:
    policy = PollPolicy()
    for number in range(20):
        policy.watch(f"job{number}", 0.0)
    now = 0.0
    while True:
        poll, wait = policy.next(now, per_minute=60, spare=60)
        if poll is not None and poll.job is None:
            break
        if poll is not None and poll.job is not None:
            policy.answered(poll.job)
        now += wait
    policy.forget("job0")
    policy.watch("job0", now + 0.1)
    policy.listed({f"job{number}" for number in range(1, 20)}, now + 0.2)
    assert not any(poll is not None and poll.hinted for poll, _ in [policy.next(now + 0.3, per_minute=60, spare=60)])


def test_nothing_said_after_lists_means_that_nothing_is_unfinished() -> None:
    world = World()
    names = world.watch(10)
    world.account = lambda now: names
    world.run(60)
    world.account = lambda now: None
    assert sum(poll.hinted for _, poll in world.run(20)) >= 5


def test_an_account_that_says_nothing_is_not_asked_again_for_minutes() -> None:
    world = World()
    world.watch(20)
    assert len(of_account(world.run(500))) == 1


def test_a_hint_has_a_job_polled_at_once_and_false_ones_are_slowed_down() -> None:
    world = World()
    world.watch(10)
    world.run(60)
    times = by_job(world.polls)["job4"]
    world.now = times[-1] + 5
    world.policy.poll_soon("job4", world.now)
    assert world.policy.next(world.now, per_minute=60, spare=60)[0] == Poll("job4", hinted=True)
    world.policy.answered("job4")
    before = len(by_job(world.polls)["job4"])
    for _ in range(60):
        world.policy.poll_soon("job4", world.now)
        world.run(1)
    assert len(by_job(world.polls)["job4"]) - before <= 60 / 12.5 + 6
    world.policy.poll_soon("unknown", world.now)


def test_a_job_that_was_not_polled_yet_is_polled_at_once_when_asked_for() -> None:
    policy = PollPolicy()
    policy.watch("attached", 0.0)
    policy.poll_soon("attached", 0.0)
    assert policy.next(0.0, per_minute=60, spare=60)[0] == Poll("attached", hinted=True)


def test_failing_polls_become_rare_and_recover() -> None:
    world = World(unfinished=lambda job, now: None)
    world.watch(1)
    times = by_job(world.run(600))["job0"]
    assert 8 <= len(times) <= 20
    assert max(gaps(times)) <= 60 + 2
    world.unfinished = lambda job, now: True
    world.run(70)
    assert len(by_job(world.run(60))["job0"]) >= 20


def test_a_failing_account_is_asked_ever_more_rarely() -> None:
    policy, now, asked = PollPolicy(), 0.0, 0
    for number in range(20):
        policy.watch(f"job{number}", now)
    while now < 600:
        poll, wait = policy.next(now, per_minute=60, spare=60)
        if poll is None:
            now += wait
        elif poll.job is None:
            asked += 1
            policy.failed(None, now)
        else:
            policy.answered(poll.job)
    assert asked <= 20


def test_a_sandbox_is_polled_at_its_own_pace() -> None:
    world = World(PollPolicy(poll_interval=0.05), per_minute=6000)
    world.watch(10)
    times = by_job(world.run(5))
    assert all(0.05 - 1e-9 <= gap <= 0.15 for name in times for gap in gaps(times[name]))


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("watch"), st.integers(0, 7)),
            st.tuples(st.just("forget"), st.integers(0, 7)),
            st.tuples(st.just("answered"), st.integers(0, 7)),
            st.tuples(st.just("failed"), st.integers(0, 8)),
            st.tuples(st.just("poll_soon"), st.integers(0, 7)),
            st.tuples(st.just("listed"), st.sets(st.integers(0, 7)) | st.integers(0, 9) | st.none()),
            st.tuples(st.just("next"), st.integers(0, 60)),
            st.tuples(st.just("pass"), st.floats(0, 100)),
        ),
        max_size=60,
    )
)
def test_whatever_happens_in_whatever_order_it_continues(course: list[tuple[str, object]]) -> None:
    policy, now, begun = PollPolicy(), 0.0, dict[str, float]()
    watched = set[str]()
    for what, value in course:
        job = f"job{value}"
        match what, value:
            case "watch", _:
                policy.watch(job, now)
                watched.add(job)
                begun.pop(job, None)
            case "forget", _:
                policy.forget(job)
                watched.discard(job)
            case "answered", _:
                policy.answered(job)
            case "failed", int(number):
                policy.failed(None if number == 8 else job, now)
            case "poll_soon", _:
                policy.poll_soon(job, now)
            case "listed", set(numbers):
                policy.listed({f"job{number}" for number in numbers}, now)
            case "listed", int() | None as said:
                policy.listed(said, now)
            case "next", int(spare):
                poll, wait = policy.next(now, per_minute=60, spare=spare)
                assert (poll is None) == (wait > 0)
                assert wait < inf or not watched
                if poll is not None and poll.job is not None:
                    assert poll.job in watched
                    assert spare > 0
                    assert now - begun.get(poll.job, -inf) >= 2.0 - 1e-9
                    begun[poll.job] = now
            case "pass", float(seconds):
                now += seconds
