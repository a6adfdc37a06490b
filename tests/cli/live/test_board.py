from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mvsep_async.cli.live.board import Speed, TimeLeft, makespan


def test_speed_is_of_the_last_moments() -> None:
    speed = Speed()
    assert speed.update(0, 0.0) is None
    assert speed.update(1000, 1.0) == 1000
    for second in range(2, 12):
        told = speed.update(1000 + 10 * (second - 1), float(second))
    assert told is not None
    assert told < 20


def test_speed_begins_anew_with_the_count() -> None:
    speed = Speed()
    speed.update(0, 0.0)
    speed.update(500, 1.0)
    assert speed.update(10, 2.0) is None
    assert speed.update(None, 3.0) is None
    assert speed.update(20, 4.0) is None


@pytest.mark.parametrize(
    ("running", "queued", "slots", "seconds"),
    [
        ([], 0, 4, 0.0),
        ([30.0, 10.0], 0, 4, 30.0),
        ([30.0, 10.0], 1, 2, 70.0),
        ([30.0, 10.0], 2, 2, 90.0),
        ([30.0], 3, 2, 120.0),
        ([5.0] * 10, 100_000, 10, 600_005.0),
        ([5.0, 5.0, 50.0], 0, 2, 50.0),
    ],
)
def test_a_free_slot_takes_the_next_job(running: list[float], queued: int, slots: int, seconds: float) -> None:
    assert makespan(running, queued, slots, 60.0) == seconds


@given(st.lists(st.floats(0, 60), max_size=8), st.integers(0, 50), st.integers(1, 8))
def test_makespan_is_that_of_a_simulation(running: list[float], queued: int, slots: int) -> None:
    running = running[:slots]
    ends = [*running, *[0.0] * (slots - len(running))]
    for _ in range(queued):
        ends[ends.index(min(ends))] += 60.0
    assert makespan(running, queued, slots, 60.0) == pytest.approx(max(ends))


def test_the_time_left_counts_down_and_follows_a_new_estimate_without_a_jump() -> None:
    left = TimeLeft()
    assert left.update(None, 0.0) is None
    assert left.update(100.0, 1.0) == 100.0
    assert left.update(99.0, 2.0) == pytest.approx(99.0)
    shown = left.update(200.0, 3.0)
    assert shown is not None
    assert 98.0 < shown < 115.0
    for second in range(4, 60):
        shown = left.update(203.0 - second, float(second))
    assert shown == pytest.approx(203.0 - 59, abs=1.0)
    assert left.update(None, 60.0) is None
