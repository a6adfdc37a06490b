"""The policy: where it looks, how often, and what it makes of lists, counts, silence, hints and failures."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from itertools import pairwise
from math import inf

import pytest
from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st

from mvsep_async.models.stage import Stage
from mvsep_async.polling.durations import Durations
from mvsep_async.polling.policy import LONGEST, Poll, PollKind, PollPolicy, Sight

WORKING = Sight(Stage.PROCESSING)


@define
class Watch:
    """A policy with somebody who answers its looks at once, and a record of all that it asked."""

    policy: PollPolicy
    per_minute: int = 60
    account: Callable[[float], set[str] | int | None] = lambda now: None
    sight: Callable[[str, float], Sight | None] = lambda job, now: WORKING
    """`None`: the look fails on the wire."""
    now: float = 0.0
    looks: list[tuple[float, Poll]] = field(factory=list)

    def run(self, seconds: float) -> list[tuple[float, Poll]]:
        """Go on for so long; returns the looks begun meanwhile."""
        until, first = self.now + seconds, len(self.looks)
        while self.now < until:
            look, wait = self.policy.next(self.now, per_minute=self.per_minute, spare=self.per_minute)
            if look is None:
                assert wait > 0
                self.now = min(self.now + wait, until)
                continue
            self.looks.append((self.now, look))
            if look.kind is PollKind.ACCOUNT:
                self.policy.listed(self.account(self.now), self.now)
            elif (sight := self.sight(look.job or "", self.now)) is None:
                self.policy.missed(look.job, self.now)
            else:
                self.policy.seen(look.job or "", sight, self.now)
        return self.looks[first:]

    def watch(self, number: int, **how: bool) -> set[str]:
        names = {f"job{i}" for i in range(number)}
        for name in sorted(names):
            self.policy.watch(name, self.now, key=(40, ()), **how)
        return names


def at_jobs(looks: list[tuple[float, Poll]]) -> dict[str, list[float]]:
    times = defaultdict[str, list[float]](list)
    for at, look in looks:
        if look.kind is PollKind.JOB:
            times[look.job or ""].append(at)
    return times


def at_account(looks: list[tuple[float, Poll]]) -> list[float]:
    return [at for at, look in looks if look.kind is PollKind.ACCOUNT]


def test_nothing_watched_nothing_asked() -> None:
    assert PollPolicy().next(0.0, per_minute=60, spare=60) == (None, inf)


def test_a_single_job_is_looked_at_every_two_or_three_seconds() -> None:
    watch = Watch(PollPolicy())
    watch.watch(1)
    looks = watch.run(60)
    assert not at_account(looks), "one job needs no list"
    gaps = [later - earlier for earlier, later in pairwise(at_jobs(looks)["job0"])]
    assert all(2.0 <= gap <= 3.0 for gap in gaps)
    assert len(gaps) >= 19


def test_a_look_under_way_is_not_given_out_again() -> None:
    policy = PollPolicy()
    policy.watch("a", 0.0, key=1)
    look, _ = policy.next(5.0, per_minute=60, spare=60)
    assert look == Poll(PollKind.JOB, "a")
    assert policy.next(50.0, per_minute=60, spare=60)[0] is None
    policy.seen("a", WORKING, 51.0)
    assert policy.next(60.0, per_minute=60, spare=60)[0] == Poll(PollKind.JOB, "a")


def test_without_spare_requests_nothing_is_asked() -> None:
    policy = PollPolicy()
    for name in "abc":
        policy.watch(name, 0.0, key=1)
        policy.poll_soon(name, 0.0)
    look, wait = policy.next(1000.0, per_minute=60, spare=0)
    assert look is None
    assert 0 < wait <= 2


def test_a_list_stands_for_looks_at_the_jobs() -> None:
    watch = Watch(PollPolicy())
    names = watch.watch(10)
    watch.account = lambda now: names
    looks = watch.run(300)
    assert 45 <= len(at_account(looks)) <= 120
    for times in at_jobs(looks).values():
        assert len(times) <= 300 / 60
    assert len(looks) / 10 / (300 / 145) <= 8, "requests for each job of usual length"


def test_a_job_that_vanished_from_the_list_is_looked_at_at_once() -> None:
    watch = Watch(PollPolicy())
    names = watch.watch(10)
    watch.account = lambda now: names
    watch.run(30)
    names.remove("job3")
    watch.sight = lambda job, now: Sight(Stage.DONE if job == "job3" else Stage.PROCESSING)
    looks = watch.run(10)
    at, look = next((at, look) for at, look in looks if look.job == "job3")
    assert look.likely
    assert at in at_account(looks), "at the very moment of the list"
    assert len(at_jobs(looks)["job3"]) == 1


def test_a_fresh_job_that_the_list_lacks_is_not_hammered() -> None:
    watch = Watch(PollPolicy())
    names = watch.watch(9)
    watch.account = lambda now: names
    watch.run(30)
    watch.policy.watch("fresh", watch.now, key=(40, ()))
    watch.sight = lambda job, now: Sight(Stage.WAITING)
    looks = watch.run(60)
    assert 1 <= len(at_jobs(looks)["fresh"]) <= 8
    names.add("fresh")
    watch.run(20)
    names.remove("fresh")
    watch.sight = lambda job, now: Sight(Stage.DONE if job == "fresh" else Stage.WAITING)
    (at,) = at_jobs(watch.run(10))["fresh"]
    assert at <= 90 + 20 + 5, "once the list has named it, its absence means something"


def test_a_list_that_was_asked_for_before_a_job_began_says_nothing_of_it() -> None:
    policy = PollPolicy()
    for name in "abc":
        policy.watch(name, 0.0, key=1)
    look, _ = policy.next(3.0, per_minute=60, spare=60)
    assert look == Poll(PollKind.ACCOUNT)
    policy.watch("d", 3.1, key=1)
    policy.listed({"a", "b", "c"}, 3.2)
    look, _ = policy.next(3.2, per_minute=60, spare=60)
    assert look is None or not look.likely


def test_url_jobs_are_looked_at_one_by_one_while_fetched_and_by_lists_after() -> None:
    watch = Watch(PollPolicy())
    names = watch.watch(10, remote=True)
    watch.account = lambda now: names if now > 60 else set()
    watch.sight = lambda job, now: Sight(Stage.FETCHING if now < 60 else Stage.PROCESSING)
    looks = watch.run(60)
    assert not any(look.likely for _, look in looks), "a list that lacks them says nothing"
    assert all(len(times) >= 2 for times in at_jobs(looks).values())
    watch.run(60)
    looks = watch.run(120)
    assert len(at_account(looks)) >= 20
    assert all(len(times) <= 4 for times in at_jobs(looks).values())


def test_false_webhooks_leave_the_count_in_use() -> None:
    watch = Watch(PollPolicy())
    names = watch.watch(10)
    watch.account = lambda now: len(names)
    watch.run(20)
    for name in names:
        watch.policy.poll_soon(name, watch.now)
    watch.run(20)
    assert len(at_account(watch.run(60))) >= 10


def test_null_after_lists_means_that_nothing_is_unfinished() -> None:
    watch = Watch(PollPolicy())
    names = watch.watch(4, waited_on=False)
    watch.account = lambda now: names
    watch.run(20)
    watch.account = lambda now: None
    watch.sight = lambda job, now: Sight(Stage.DONE)
    assert sum(look.likely for _, look in watch.run(5)) == 4


def test_an_account_that_says_nothing_is_not_asked_again_and_the_jobs_are() -> None:
    watch = Watch(PollPolicy())
    watch.watch(10)
    looks = watch.run(300)
    assert len(at_account(looks)) == 1
    assert all(len(times) >= 300 / 30 for times in at_jobs(looks).values())


def test_a_count_that_falls_has_the_likeliest_jobs_looked_at_until_the_end_is_found() -> None:
    watch = Watch(PollPolicy())
    unfinished = watch.watch(10)
    watch.account = lambda now: len(unfinished) + 2
    watch.run(30)
    unfinished.remove("job7")
    watch.sight = lambda job, now: Sight(Stage.PROCESSING if job in unfinished else Stage.DONE)
    looks = watch.run(6)
    found = [at for at, look in looks if look.job == "job7"]
    assert len(found) == 1
    likely = [look for _, look in looks if look.likely]
    assert 1 <= len(likely) <= 10
    watch.run(10)
    assert not [look for _, look in watch.run(10) if look.likely], "the two of others are still there"


def test_a_count_that_falls_because_of_others_costs_one_round() -> None:
    watch = Watch(PollPolicy())
    watch.watch(5)
    watch.account = lambda now: 5 + (2 if now < 30 else 0)
    watch.run(30)
    assert sum(look.likely for _, look in watch.run(30)) <= 5


@pytest.mark.parametrize("said", ["list", "count", "null"])
@pytest.mark.parametrize(("number", "per_minute"), [(1, 60), (2, 60), (10, 60), (10, 120), (10, 30), (3, 6000)])
def test_no_job_starves_and_the_pace_is_kept(said: str, number: int, per_minute: int) -> None:
    watch = Watch(PollPolicy(), per_minute)
    names = watch.watch(number)
    watch.account = {"list": lambda now: names, "count": lambda now: number, "null": lambda now: None}[said]
    looks = watch.run(600)
    bound = max(LONGEST, number * 60 / (0.2 * per_minute)) * 1.25
    for name in names:
        times = [0.0, *at_jobs(looks)[name], 600.0]
        assert max(later - earlier for earlier, later in pairwise(times)) <= bound
        assert min(later - earlier for earlier, later in pairwise(times[:-1])) >= 2.0 - 1e-6
    begun = [at for at, _ in looks]
    for start in range(0, 540, 7):
        assert sum(start <= at < start + 60 for at in begun) <= per_minute
    for start in range(600):
        assert sum(start <= at < start + 1 for at in begun) <= max(2, per_minute / 30), "spread over the minute"


def test_looks_become_rare_while_nothing_can_have_happened_and_frequent_near_the_end() -> None:
    durations = Durations()
    for number in range(30):
        durations.learn((40, ()), 100.0 + number % 5)
    watch = Watch(PollPolicy(durations=durations))
    watch.watch(10, waited_on=False)
    times = [at for job in at_jobs(watch.run(130)).values() for at in job]
    assert sum(at < 50 for at in times) * 2 < sum(80 <= at < 130 for at in times)


def test_a_caller_who_asks_for_a_fast_pace_gets_it() -> None:
    watch = Watch(PollPolicy(poll_interval=0.05), per_minute=6000)
    watch.watch(1)
    assert 150 <= len(watch.run(10)) <= 201
    many = Watch(PollPolicy(poll_interval=0.05), per_minute=6000)
    names = many.watch(10)
    many.account = lambda now: names
    gaps = [later - earlier for earlier, later in pairwise(at_account(many.run(2)))]
    assert max(gaps) < 0.1


def test_a_webhook_has_its_job_looked_at_at_once_and_a_false_one_costs_little() -> None:
    watch = Watch(PollPolicy())
    names = watch.watch(10)
    watch.account = lambda now: names
    watch.run(20.5)
    watch.policy.poll_soon("job4", watch.now)
    look, _ = watch.policy.next(watch.now, per_minute=60, spare=60)
    assert look == Poll(PollKind.JOB, "job4", likely=True)
    watch.policy.seen("job4", WORKING, watch.now)
    before = len(at_jobs(watch.looks)["job4"])
    for _ in range(3000):
        watch.policy.poll_soon("job4", watch.now)
        watch.run(0.1)
    assert len(at_jobs(watch.looks)["job4"]) - before <= 40, "in five minutes"
    watch.policy.poll_soon("unknown", watch.now)


def test_a_hint_during_a_look_is_not_answered_by_that_look() -> None:
    policy = PollPolicy()
    policy.watch("a", 0.0, key=1)
    assert policy.next(5.0, per_minute=60, spare=60)[0] is not None
    policy.poll_soon("a", 5.1)
    policy.seen("a", WORKING, 5.2)
    assert policy.next(5.2, per_minute=60, spare=60)[0] == Poll(PollKind.JOB, "a", likely=True)


def test_looks_that_fail_are_repeated_ever_more_rarely_and_an_answer_ends_that() -> None:
    watch = Watch(PollPolicy())
    watch.watch(1)
    watch.sight = lambda job, now: None
    times = at_jobs(watch.run(600))["job0"]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert gaps == sorted(gaps)
    assert LONGEST - 1 <= gaps[-1] <= LONGEST + 3
    watch.sight = lambda job, now: WORKING
    watch.run(LONGEST + 3)
    assert len(watch.run(30)) >= 10


def test_an_account_that_cannot_be_asked_leaves_the_jobs_to_be_asked() -> None:
    policy, now, asked, seen = PollPolicy(), 0.0, 0, 0
    for number in range(10):
        policy.watch(str(number), now, key=1)
    while now < 300:
        look, wait = policy.next(now, per_minute=60, spare=60)
        if look is None:
            now += wait
        elif look.kind is PollKind.ACCOUNT:
            asked += 1
            policy.missed(None, now)
        else:
            seen += 1
            policy.seen(look.job or "", WORKING, now)
    assert asked <= 10
    assert seen >= 100


def test_a_job_that_is_over_is_learned_from_and_watched_no_more() -> None:
    policy = PollPolicy()
    for number in range(4):
        policy.watch(str(number), 100.0, key=(40, ()))
        policy.seen(str(number), Sight(Stage.PROCESSING), 158.0)
        policy.seen(str(number), Sight(Stage.DONE), 162.0)
    assert policy.typical_seconds() == pytest.approx(60.0)
    assert policy.next(200.0, per_minute=60, spare=60) == (None, inf)
    policy.watch("next", 200.0, key=(40, ()))
    assert policy.share_of_time("next", 230.0) == pytest.approx(0.5)
    assert policy.share_of_time("gone", 230.0) is None
    policy.seen("gone", Sight(Stage.DONE), 230.0)
    policy.missed("gone", 230.0)
    policy.forget("gone")


@pytest.mark.parametrize("stage", [Stage.FAILED, Stage.CANCELLED])
def test_what_did_not_end_well_teaches_nothing(stage: Stage) -> None:
    policy = PollPolicy()
    for number in range(5):
        policy.watch(str(number), 0.0, key=1)
        policy.seen(str(number), Sight(stage), 1.0)
    assert policy.typical_seconds() is None


def test_the_wait_in_the_services_queue_is_not_taken_for_work() -> None:
    policy = PollPolicy()
    for number in range(4):
        policy.watch(str(number), 0.0, key=1)
        policy.seen(str(number), Sight(Stage.WAITING, queue_position=9), 500.0)
        policy.seen(str(number), Sight(Stage.DONE), 540.0)
    assert policy.typical_seconds() == pytest.approx(20.0, abs=20.0)


happenings = st.lists(
    st.one_of(
        st.tuples(st.just("watch"), st.integers(0, 7)),
        st.tuples(st.just("forget"), st.integers(0, 7)),
        st.tuples(st.just("poll_soon"), st.integers(0, 7)),
        st.tuples(st.just("answer"), st.integers(0, 7)),
        st.tuples(st.just("miss"), st.integers(0, 7)),
        st.tuples(st.just("list"), st.integers(0, 255)),
        st.tuples(st.just("count"), st.integers(0, 12)),
        st.tuples(st.just("null"), st.just(0)),
        st.tuples(st.just("next"), st.integers(0, 20)),
    ),
    max_size=80,
)


@given(happenings, st.integers(1, 600))
def test_whatever_happens_looks_are_at_watched_jobs_one_at_a_time_and_it_never_falls_silent(
    events: list[tuple[str, int]], per_minute: int
) -> None:
    policy, now = PollPolicy(), 0.0
    watched, out, account_out = set[str](), set[str](), False
    for what, number in events:
        job = str(number)
        match what:
            case "watch" if job not in watched:
                watched.add(job)
                policy.watch(job, now, key=number % 3, size=number or None, remote=number == 5)
            case "forget":
                policy.forget(job)
                watched.discard(job)
                out.discard(job)
            case "poll_soon":
                policy.poll_soon(job, now)
            case "answer" if job in out:
                policy.seen(job, Sight(list(Stage)[2 + number % 5]), now)
                out.discard(job)
            case "miss" if job in out:
                policy.missed(job, now)
                out.discard(job)
            case "miss" if account_out:
                policy.missed(None, now)
                account_out = False
            case "list" | "count" | "null" if account_out:
                names = {str(i) for i in range(8) if number >> i & 1}
                policy.listed({"list": names, "count": number, "null": None}[what], now)
                account_out = False
            case "next":
                now += number / 2
                look, wait = policy.next(now, per_minute=per_minute, spare=1)
                if look is None:
                    assert wait > 0
                    assert wait < inf or not watched
                elif look.kind is PollKind.ACCOUNT:
                    assert not account_out
                    account_out = True
                else:
                    assert look.job in watched - out
                    out.add(look.job)
    if watched - out:
        for _ in range(1000):
            look, wait = policy.next(now, per_minute=per_minute, spare=1)
            if look is not None and look.kind is PollKind.JOB:
                break
            if look is not None:
                policy.listed(None, now)
            now += wait
        else:
            pytest.fail("it looks at no job any more")
