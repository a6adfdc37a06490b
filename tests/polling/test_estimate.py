"""Between polls: a fraction that moves and never goes too far, and a time left that falls."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from mvsep_async.jobs.progress import Progress, fraction_range
from mvsep_async.models.stage import Stage
from mvsep_async.polling.estimate import Estimate, advance, left_share, steady

seconds = st.floats(0, 1e5)
typical = st.none() | st.floats(0.1, 1e5)
numbers = st.none() | st.integers(0, 40)
polls = st.builds(
    Progress,
    stage=st.sampled_from([Stage.FETCHING, Stage.WAITING, Stage.DISTRIBUTING, Stage.PROCESSING, Stage.MERGING]),
    queue_position=numbers,
    queue_length=numbers,
    chunks_done=numbers,
    chunks_total=numbers,
)


@given(seconds, seconds)
def test_the_share_left_falls_for_ever_and_is_never_0(earlier: float, later: float) -> None:
    assert 0 < left_share(later) <= 1
    if later > earlier + 1e-6 * (1 + earlier):
        assert left_share(later) < left_share(earlier)


@given(st.floats(0, 0.8), st.floats(0, 1), st.floats(0.1, 60), st.floats(1, 1e4))
def test_a_fraction_moves_within_a_second_and_stays_below_its_ceiling(
    before: float, target: float, passed: float, typical: float
) -> None:
    ceiling = 0.85
    after = advance(before, min(target, 0.84), ceiling, seconds=passed, typical=typical)
    assert before < after < ceiling


@given(st.floats(0.1, 1e5), st.floats(0, 1e5), st.floats(0.1, 60))
def test_the_time_left_never_jumps_by_more_than_half(before: float, estimate: float, passed: float) -> None:
    after = steady(before, estimate, seconds=passed)
    assert after is not None
    assert before / 2 <= after <= before * 1.5


@given(st.lists(st.tuples(polls, st.floats(0.1, 30), st.integers(0, 20)), max_size=20), typical, typical, st.booleans())
def test_whatever_is_polled_the_fraction_never_falls_and_moves_while_processing(
    course: list[tuple[Progress, float, int]], processing: float | None, waiting: float | None, downloads: bool
) -> None:
    estimate, now, before = Estimate(0.0), 0.0, None
    for poll, pause, ticks in course:
        now += pause
        estimate.polled(poll, now, waiting=waiting)
        for tick in range(ticks + 1):
            now += 0.8 if tick else 0.0
            shown = estimate.at(poll, now, before=before, processing=processing, waiting=waiting, downloads=downloads)
            assert shown.fraction is None or 0 <= shown.fraction <= 0.9
            assert before is None or (shown.fraction is not None and shown.fraction >= before)
            if tick and poll.stage in (Stage.PROCESSING, Stage.DISTRIBUTING, Stage.MERGING) and before is not None:
                assert shown.fraction is not None
                assert shown.fraction > before or before > 0.8999
            least, most = fraction_range(poll, downloads=downloads)
            if shown.fraction is not None and least is not None and (before is None or before < most):
                assert shown.fraction <= most, "the next poll could say so"
            assert shown.seconds_left is None or shown.seconds_left >= 0
            before = shown.fraction


def play(
    stage: Callable[[float], Progress],
    *,
    until: float,
    every: float = 12.0,
    processing: float | None = None,
    waiting: float | None = None,
) -> list[tuple[float, Progress]]:
    """Poll a job every so often, and return what is shown each second."""
    estimate, shown, before, poll = Estimate(0.0), [], 0.2, Progress(stage=Stage.WAITING)
    for now in range(int(until)):
        if now % every == 0:
            poll = stage(float(now))
            estimate.polled(poll, float(now), waiting=waiting)
        progress = estimate.at(poll, float(now), before=before, processing=processing, waiting=waiting, downloads=True)
        shown.append((float(now), progress))
        before = progress.fraction or 0.0
    return shown


def a_job(wait: float, places: int = 0) -> Callable[[float], Progress]:
    def stage(now: float) -> Progress:
        if now < wait:
            place = max(1, round(places * (1 - now / wait))) if places else None
            return Progress(stage=Stage.WAITING, queue_position=place, queue_length=places)
        return Progress(stage=Stage.PROCESSING)

    return stage


def test_before_anything_is_known_the_bar_slows_down_and_no_time_is_shown() -> None:
    shown = play(a_job(0), until=600)
    steps = [later.fraction - earlier.fraction for (_, earlier), (_, later) in pairwise(shown[20:])]  # type: ignore[operator]
    assert all(later < earlier for earlier, later in pairwise(steps))
    assert all(progress.seconds_left is None for _, progress in shown)


@pytest.mark.parametrize("every", [2.0, 5.0, 12.0])
@pytest.mark.parametrize("learned", [90.0, 100.0, 110.0])
def test_the_time_left_is_right_at_half_time(every: float, learned: float) -> None:
    """A job of 20 s of waiting and 100 s of work."""
    shown = dict(play(a_job(20), until=120, every=every, processing=learned, waiting=20.0))
    for half in (60.0, 70.0):
        left = shown[half].seconds_left
        assert left is not None
        assert left == pytest.approx(120 - half, rel=0.25)
    told = [progress.seconds_left for progress in shown.values()]
    assert all(left is not None for left in told)
    assert all(later <= earlier for earlier, later in pairwise(told))  # type: ignore[operator]


def test_the_wait_is_estimated_from_how_the_job_moves_up_where_no_other_has_waited() -> None:
    shown = play(a_job(60, places=20), until=60, every=6.0, processing=100.0)
    assert shown[0][1].seconds_left is None
    at, known = next((at, it) for at, it in shown if it.seconds_left is not None and at > 30)
    assert known.seconds_left == pytest.approx(160 - at, rel=0.25)


def test_chunks_tell_the_time_left_where_nothing_was_learned() -> None:
    """Ten chunks of 10 s each."""
    shown = play(
        lambda now: Progress(stage=Stage.DISTRIBUTING, chunks_done=min(int(now // 10), 10), chunks_total=10),
        until=100,
        every=5.0,
    )
    assert shown[5][1].seconds_left is None
    assert shown[50][1].seconds_left == pytest.approx(50, rel=0.4)


def test_of_a_job_that_is_very_late_no_time_is_shown() -> None:
    shown = play(a_job(0), until=400, processing=100.0)
    assert shown[90][1].seconds_left is not None
    assert shown[-1][1].seconds_left is None
    assert shown[-1][1].fraction is not None
    assert shown[-1][1].fraction < 0.85


def test_what_a_job_took_is_learned_unless_too_little_is_known_of_it() -> None:
    estimate = Estimate(0.0)
    for now in (10.0, 20.0):
        estimate.polled(Progress(stage=Stage.WAITING), now)
    for now in (30.0, 40.0, 100.0):
        estimate.polled(Progress(stage=Stage.PROCESSING), now)
    assert estimate.durations(110.0) == (25.0, 80.0)
    assert estimate.durations(1000.0) is None, "nobody asked for a long time"
    resumed = Estimate(0.0)
    assert resumed.durations(3600.0) is None
    assert Estimate(0.0).durations(9.0) == (3.0, 3.0)


def test_the_beginning_is_estimated_again_when_the_typical_wait_becomes_known() -> None:
    """A job of 15 s of waiting and 60 s of work, which is polled only after 16 s."""
    estimate, poll = Estimate(0.0), Progress(stage=Stage.PROCESSING)
    estimate.polled(poll, 16.0)
    for now in range(16, 46):
        known = now > 40  # another job has ended
        shown = estimate.at(
            poll,
            float(now),
            before=0.3,
            processing=60.0 if known else None,
            waiting=15.0 if known else None,
            downloads=False,
        )
    assert shown.seconds_left == pytest.approx(30.0, rel=0.05)


def test_a_job_that_is_put_back_begins_again() -> None:
    estimate = Estimate(0.0)
    estimate.polled(Progress(stage=Stage.PROCESSING), 10.0)
    assert estimate.began == 5.0
    estimate.polled(Progress(stage=Stage.WAITING), 20.0)
    assert estimate.began is None
    estimate.polled(evolve(Progress(stage=Stage.PROCESSING)), 30.0)
    assert estimate.began == 25.0
