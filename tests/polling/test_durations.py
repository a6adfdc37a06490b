"""Durations: what is learned from jobs that ended."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mvsep_async.jobs.journal import JobDuration
from mvsep_async.polling.durations import Durations, middle_mean


def ended(
    processing: float, *, algorithm: int | None = 40, size: int | None = None, waiting: float | None = None
) -> JobDuration:
    return JobDuration(algorithm=algorithm, size=size, waiting=waiting, processing=processing)


def test_nothing_is_known_before_a_job_of_the_algorithm_has_ended() -> None:
    durations = Durations()
    assert (durations.processing(40), durations.waiting()) == (None, None)
    durations.learn([ended(60.0, waiting=7.0)])
    assert durations.processing(40) == pytest.approx(60)
    assert durations.processing(63) is None
    assert durations.waiting() == 7.0


def test_odd_jobs_change_little() -> None:
    durations = Durations()
    durations.learn(ended(5000.0 if number % 10 == 0 else 100.0) for number in range(30))
    assert durations.processing(40) == pytest.approx(100)


def test_a_change_of_the_services_speed_is_followed() -> None:
    durations = Durations()
    durations.learn(ended(100.0) for _ in range(500))
    durations.learn(ended(10.0) for _ in range(32))
    assert durations.processing(40) == pytest.approx(10)


def test_size_scales_where_it_matters_and_enough_is_known() -> None:
    draw = random.Random(2)
    sizes = [int(5_000_000 * 2 ** draw.uniform(-1, 1)) for _ in range(30)]
    scaling, constant, few = Durations(), Durations(), Durations()
    scaling.learn(ended(size / 50_000, size=size) for size in sizes)
    constant.learn(ended(draw.uniform(95, 105), size=size) for size in sizes)
    few.learn(ended(size / 50_000, size=size) for size in sizes[:4])
    assert scaling.processing(40, 10_000_000) == pytest.approx(200, rel=0.1)
    assert scaling.processing(40, 2_500_000) == pytest.approx(50, rel=0.1)
    assert constant.processing(40, 10_000_000) == pytest.approx(100, rel=0.1)
    assert few.processing(40, 10_000_000) == few.processing(40)
    assert scaling.processing(40, 10**12) == scaling.processing(40, 10**11), "not for ever"


def test_durations_known_only_to_a_round_of_polls_are_made_up_for() -> None:
    durations = Durations()
    durations.learn(ended(seconds) for seconds in (15.0, 15.0, 15.0, 15.0, 22.5, 22.5))
    assert durations.processing(40) == pytest.approx(18, rel=0.1)


@given(st.lists(st.tuples(st.floats(0, 1e6), st.none() | st.integers(0, 10**12)), min_size=1), st.integers(0, 10**12))
def test_whatever_was_learned_a_typical_time_is_finite_and_positive(
    jobs: list[tuple[float, int | None]], size: int
) -> None:
    durations = Durations()
    durations.learn(ended(seconds, size=its_size) for seconds, its_size in jobs)
    for known in (durations.processing(40, size), durations.processing(40)):
        assert known is not None
        assert 0 < known < 1e9


@given(st.lists(st.floats(-1e6, 1e6), min_size=1))
def test_the_middle_mean_lies_within(values: list[float]) -> None:
    assert min(values) - 1e-6 <= middle_mean(values) <= max(values) + 1e-6
