"""Durations: what is learned from jobs that ended, and what is believed of one that has not."""

from __future__ import annotations

import random
from math import inf, isclose

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mvsep_async.polling.durations import Durations, Expectation

seconds = st.floats(0.01, 1e5)
expectations = st.builds(Expectation, st.floats(1, 1e5), st.floats(1, 12), st.booleans())


@given(expectations, st.floats(0, 1e5), st.floats(0, 1e5))
def test_an_expectation_is_a_distribution(expected: Expectation, one: float, other: float) -> None:
    early, late = sorted((one, other))
    assert expected.low <= expected.median <= expected.high
    assert 1 >= expected.unfinished(early) >= expected.unfinished(late) > 0
    assert 0 <= expected.ended(early, late) <= 1
    assert isclose(expected.unfinished(expected.high), 0.1, rel_tol=1e-6)
    assert isclose(expected.unfinished(expected.low), 0.9, rel_tol=1e-6)


@given(expectations, st.floats(0, 1e5))
def test_half_of_the_jobs_that_are_left_end_within_what_remains(expected: Expectation, elapsed: float) -> None:
    remaining = expected.remaining(elapsed)
    assert remaining > 0
    assert isclose(expected.ended(elapsed, elapsed + remaining), 0.5, rel_tol=1e-3)


def test_a_late_job_is_expected_ever_later() -> None:
    expected = Expectation(100.0, 4.0)
    assert expected.remaining(0) == pytest.approx(100.0)
    assert expected.remaining(400) > expected.remaining(200) > 20


def test_nothing_is_known_before_jobs_have_ended() -> None:
    durations = Durations()
    assert not durations.expect("a").known
    durations.learn("a", 30.0)
    assert not durations.expect("a").known


def test_the_usual_time_is_learned_and_narrows() -> None:
    durations, lot = Durations(), random.Random(1)
    for _ in range(4):
        durations.learn("a", lot.uniform(45, 55))
    few = durations.expect("a")
    for _ in range(40):
        durations.learn("a", lot.uniform(45, 55))
    many = durations.expect("a")
    assert many.known
    assert many.median == pytest.approx(50, rel=0.05)
    assert many.high / many.low < few.high / few.low
    assert 40 < many.low < many.high < 62


def test_a_kind_that_is_little_known_borrows_from_the_wider_one_and_that_from_all() -> None:
    durations = Durations()
    for _ in range(5):
        durations.learn((40, ("fast",)), 20.0)
        durations.learn((63, ()), 200.0)
    assert durations.expect((40, ("fast",))).median == pytest.approx(20)
    assert durations.expect((40, ("slow",))).median == pytest.approx(20)
    assert 20 <= durations.expect((7, ())).median <= 200
    assert durations.expect((7, ())).known
    assert durations.expect(None).known


def test_the_size_of_the_song_counts_where_it_explains_something() -> None:
    lot = random.Random(2)
    scaling, constant = Durations(), Durations()
    for _ in range(64):
        size = lot.randint(2_000_000, 40_000_000)
        scaling.learn("a", size / 200_000 * lot.lognormvariate(0, 0.1), size=size)
        constant.learn("a", 60 * lot.lognormvariate(0, 0.1), size=size)
    small, large = scaling.expect("a", size=4_000_000), scaling.expect("a", size=40_000_000)
    assert small.median == pytest.approx(20, rel=0.25)
    assert large.median == pytest.approx(200, rel=0.25)
    assert large.high / large.low < 2.5, "narrower than all sizes together"
    assert scaling.expect("a").known
    assert constant.expect("a", size=4_000_000).median == pytest.approx(60, rel=0.15)
    assert constant.expect("a", size=40_000_000).median == pytest.approx(60, rel=0.15)


def test_one_job_in_ten_that_never_seems_to_end_does_not_mislead() -> None:
    durations, lot = Durations(), random.Random(3)
    for number in range(64):
        durations.learn("a", 5000.0 if number % 10 == 0 else lot.uniform(80, 120), size=5_000_000 + number)
    expected = durations.expect("a", size=5_000_000)
    assert expected.median == pytest.approx(100, rel=0.1)
    assert expected.high < 200


def test_a_new_pace_replaces_the_old_one() -> None:
    durations = Durations()
    for time_scale in (100.0, 10.0):
        for _ in range(64):
            durations.learn("a", time_scale)
    assert durations.expect("a").median == pytest.approx(10)


def test_memory_is_bounded() -> None:
    durations = Durations()
    for number in range(3000):
        durations.learn((40, (("prompt", str(number)),)), 10.0)
    assert len(durations._kinds) <= 256
    assert durations.expect((40, ("another",))).known, "the wider kind is kept as long as it is used"


@given(
    st.lists(st.tuples(seconds, st.none() | st.integers(0, 10**10)), max_size=80), st.none() | st.integers(0, 10**12)
)
def test_whatever_is_learned_something_sensible_is_expected(
    jobs: list[tuple[float, int | None]], size: int | None
) -> None:
    durations = Durations()
    for taken, its_size in jobs:
        durations.learn("a", taken, size=its_size)
    expected = durations.expect("a", size=size)
    assert 0 < expected.low <= expected.median <= expected.high < inf
