"""The budget never exceeds the limit of any minute, and forgets the requests of others in time."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from heapq import heappop, heappush
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mvsep_async.http.budget import DEFAULT_LIMIT, RESERVE, SHORTEST_WAIT, UNKNOWN_WAIT, WINDOW, Budget
from mvsep_async.http.call import Priority

ROUNDING = 1e-6

asks = st.tuples(
    st.sampled_from(Priority),
    st.floats(0, 5),  # until the next one asks
    st.floats(0, 90),  # on the way
    st.floats(0, 1),  # when on its way the service counts it
)


def play(budget: Budget, requests: list[tuple[Priority, float, float, float]]) -> list[float]:
    """Send each request as soon as the budget lets it; returns when the service counted each."""
    now, counted, under_way = 0.0, [], list[float]()
    for priority, pause, way, share in requests:
        now += pause
        while True:
            while under_way and under_way[0] <= now:
                budget.answered(heappop(under_way))
            wait = budget.wait(priority, now)
            if wait == 0:
                break
            # No answer may come later than the time at which it is asked again.
            now = max(now, min(now + wait, under_way[0] if under_way else inf))
        budget.sent()
        counted.append(now + way * share)
        heappush(under_way, now + way)
    return sorted(counted)


@given(st.integers(1, 12), st.lists(asks, max_size=120))
def test_no_window_of_a_minute_holds_more_than_the_limit(limit: int, requests: list) -> None:
    counted = play(Budget(fixed=limit), requests)
    for at in counted:
        assert bisect_right(counted, at) - bisect_right(counted, at - WINDOW + ROUNDING) <= limit


@given(st.integers(1, 12), st.lists(asks, max_size=120), st.floats(0, WINDOW))
def test_no_fixed_minute_holds_more_than_the_limit(limit: int, requests: list, phase: float) -> None:
    counted = play(Budget(fixed=limit), requests)
    for number in range(int((counted[-1] if counted else 0) // WINDOW) + 2):
        start = phase + (number - 1) * WINDOW
        assert bisect_left(counted, start + WINDOW - ROUNDING) - bisect_left(counted, start) <= limit


@given(st.integers(2, 100), st.integers(0, 200))
def test_only_creates_and_cancels_use_the_reserve(limit: int, looks: int) -> None:
    budget = Budget(fixed=limit)
    for _ in range(looks):
        if budget.wait(Priority.LIKELY, 0.0) == 0:
            budget.sent()
    reserve = min(RESERVE, limit - 1)
    creates = 0
    while budget.wait(Priority.CREATE, 0.0) == 0:
        budget.sent()
        creates += 1
    assert creates == max(reserve, limit - looks)
    assert budget.wait(Priority.CANCEL, 0.0) > 0


def test_spare_is_what_the_lowest_priority_may_send() -> None:
    budget = Budget(fixed=10)
    assert budget.spare(0.0) == 10 - RESERVE
    for left in reversed(range(10 - RESERVE)):
        assert budget.wait(Priority.REST, 0.0) == 0
        budget.sent()
        assert budget.spare(0.0) == left
    assert budget.wait(Priority.REST, 0.0) > 0
    assert budget.wait(Priority.CREATE, 0.0) == 0


def test_a_request_counts_for_a_minute_from_its_answer() -> None:
    budget = Budget(fixed=1)
    budget.sent()
    assert budget.wait(Priority.CREATE, 1000.0) == inf, "while it is in flight, its end is not known"
    budget.answered(1000.0)
    assert budget.wait(Priority.CREATE, 1010.0) == pytest.approx(50.0)
    assert budget.wait(Priority.CREATE, 1060.0) == 0


def test_a_request_that_never_left_does_not_count() -> None:
    budget = Budget(fixed=1)
    budget.sent()
    budget.unsent()
    assert budget.wait(Priority.CREATE, 0.0) == 0


def test_the_limit_is_learned_and_the_callers_own_is_never_exceeded() -> None:
    budget = Budget()
    assert budget.limit == DEFAULT_LIMIT
    budget.sent()
    budget.answered(0.0, limit=120)
    assert budget.limit == 120
    careful = Budget(fixed=30)
    careful.sent()
    careful.answered(0.0, limit=120)
    assert careful.limit == 30
    careful.sent()
    careful.answered(0.0, limit=20)
    assert careful.limit == 20


def test_requests_of_others_count_and_expire() -> None:
    budget = Budget()
    budget.sent()
    budget.answered(0.0, limit=60, remaining=9)  # 51 used, of which ours is one
    assert budget.spare(0.0) == 9 - RESERVE
    assert budget.spare(WINDOW) == 60 - RESERVE
    budget.sent()
    budget.answered(WINDOW, limit=60, remaining=59)
    assert budget.spare(WINDOW) == 59 - RESERVE


def test_an_answer_that_still_counts_an_old_request_shows_no_others() -> None:
    budget = Budget()
    budget.sent()
    budget.answered(0.1, limit=60, remaining=59)  # the service counted it at 0.05
    budget.sent()  # at 60.0, counted by the service at 60.04, when the first still counted
    budget.answered(60.2, limit=60, remaining=58, took=0.2)
    assert budget.others(60.2) == 0
    assert budget.spare(60.2) == 59 - RESERVE
    budget.sent()
    budget.answered(61.0, limit=60, remaining=57, took=0.2)  # the first ended to count long before
    assert budget.others(61.0) == 1


@given(st.lists(st.tuples(st.floats(0, 20), st.integers(0, 60)), max_size=60))
def test_spare_never_promises_more_than_the_service_said_is_left(answers: list[tuple[float, int]]) -> None:
    budget, now = Budget(), 0.0
    for pause, remaining in answers:
        now += pause
        budget.sent()
        budget.answered(now, limit=60, remaining=remaining)
        assert budget.spare(now) <= max(0, remaining - RESERVE)
    assert budget.spare(now + WINDOW) == 60 - RESERVE


@pytest.mark.parametrize(("said", "waited"), [(7.0, 7.0), (0.0, SHORTEST_WAIT), (None, UNKNOWN_WAIT)])
def test_after_a_refusal_nothing_goes_out_before_its_time(said: float | None, waited: float) -> None:
    budget = Budget()
    budget.sent()
    budget.answered(100.0)
    budget.rate_limited(100.0, said)
    assert budget.wait(Priority.CREATE, 100.0) == pytest.approx(waited)
    assert budget.spare(100.0) == 0
    assert budget.wait(Priority.CREATE, 100.0 + waited) == 0


def test_a_later_shorter_refusal_does_not_shorten_the_wait() -> None:
    budget = Budget()
    budget.rate_limited(0.0, 30.0)
    budget.rate_limited(1.0, 2.0)
    assert budget.wait(Priority.CREATE, 1.0) == pytest.approx(29.0)
