"""The fraction of a job: between 0 and 1, never decreasing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mvsep_async.jobs.progress import Progress, fraction, fraction_range
from mvsep_async.models.stage import Stage

count = st.none() | st.integers(0, 10**12)
progresses = st.builds(
    Progress, stage=st.sampled_from(Stage), fraction=st.none() | st.floats(0, 1), bytes_sent=count, bytes_total=count,
    bytes_received=count, queue_position=count, queue_length=count, chunks_done=count, chunks_total=count,
)  # fmt: skip


@given(st.lists(progresses), st.booleans())
def test_it_never_goes_down_and_stays_between_0_and_1(course: list[Progress], downloads: bool) -> None:
    before: float | None = None
    for now in course:
        reached = fraction(now, before, downloads=downloads)
        assert reached is None or 0.0 <= reached <= 1.0
        assert before is None or (reached is not None and reached >= before)
        before = reached


@given(progresses, st.booleans())
def test_what_is_certain_lies_below_what_is_possible(now: Progress, downloads: bool) -> None:
    least, most = fraction_range(now, downloads=downloads)
    assert 0.0 <= (least or 0.0) <= most <= 1.0


def far(stage: Stage, *, downloads: bool = True, **numbers: int) -> float:
    now = Progress(stage=stage, **numbers)  # type: ignore[arg-type]
    reached = fraction(now, None, downloads=downloads)
    assert reached is not None
    return reached


def test_the_stages_follow_each_other() -> None:
    course = [
        far(Stage.QUEUED),
        far(Stage.UPLOADING, bytes_sent=5, bytes_total=10),
        far(Stage.WAITING),
        far(Stage.PROCESSING),
        far(Stage.DISTRIBUTING, chunks_done=1, chunks_total=5),
        far(Stage.DISTRIBUTING, chunks_done=4, chunks_total=5),
        far(Stage.MERGING),
        far(Stage.DONE),
        far(Stage.DOWNLOADING, bytes_received=1, bytes_total=2),
        far(Stage.FINISHED),
    ]
    assert course == sorted(set(course))
    assert (course[0], course[-1]) == (0.0, 1.0)


def test_done_is_the_end_where_nothing_is_downloaded() -> None:
    assert far(Stage.DONE, downloads=False) == 1.0
    assert far(Stage.DONE, downloads=True) < 1.0


@pytest.mark.parametrize("stage", [Stage.FETCHING, Stage.FAILED, Stage.CANCELLED])
def test_what_is_not_known_is_not_made_up(stage: Stage) -> None:
    assert fraction(Progress(stage=stage), None, downloads=True) is None
    assert fraction(Progress(stage=stage), 0.4, downloads=True) == 0.4


def test_an_estimate_is_believed_but_never_backwards() -> None:
    assert fraction(Progress(stage=Stage.PROCESSING, fraction=0.5), 0.4, downloads=True) == 0.5
    assert fraction(Progress(stage=Stage.PROCESSING, fraction=0.5), 0.6, downloads=True) == 0.6
