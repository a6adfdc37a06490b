from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mvsep_async.cli.live.board import Pace, Speed, assign

JOBS = st.lists(st.sampled_from("abcdefgh"), unique=True)


@given(st.lists(JOBS, max_size=8), st.integers(1, 5))
def test_every_job_has_one_lane_and_keeps_it(moments: list[list[str]], slots: int) -> None:
    lanes: tuple[str | None, ...] = ()
    for active in moments:
        before, lanes = lanes, assign(lanes, active, slots)
        assert sorted(job for job in lanes if job) == sorted(active)
        assert len(lanes) >= slots
        for place, job in enumerate(before):
            if job in active:
                assert lanes[place] == job


def test_lanes_beyond_the_slots_go_when_they_are_free() -> None:
    lanes = assign((), ["a", "b", "c"], 2)
    assert lanes == ("a", "b", "c")
    assert assign(lanes, ["a"], 2) == ("a", None)
    assert assign(lanes, ["c"], 2) == (None, None, "c")


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


def test_time_left_is_by_what_was_done_here() -> None:
    pace = Pace()
    assert pace.left(0.0, 10, 60.0) is None
    assert pace.left(2.0, 10, 1.0) is None
    assert pace.left(2.0, 10, 60.0) == 240.0
    pace.give(1.0)
    assert pace.left(2.0, 10, 60.0) == 480.0
    assert pace.left(10.0, 10, 60.0) == 0.0
