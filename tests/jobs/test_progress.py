"""The one number that says how far a job is: between 0 and 1, never down."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mvsep_async.jobs.progress import Progress, fraction
from mvsep_async.models.stage import Stage

count = st.none() | st.integers(0, 10**12)
progresses = st.builds(
    Progress, stage=st.sampled_from(Stage), bytes_sent=count, bytes_total=count, bytes_received=count,
    queue_position=count, queue_length=count, chunks_done=count, chunks_total=count,
)  # fmt: skip


@given(st.lists(st.tuples(progresses, st.none() | st.floats(-1, 1e6))), st.none() | st.integers(0, 1000), st.booleans())
def test_it_never_goes_down_and_stays_between_0_and_1(
    course: list[tuple[Progress, float | None]], first_place: int | None, downloads: bool
) -> None:
    before: float | None = None
    for now, share in course:
        reached = fraction(now, before, first_place=first_place, share_of_time=share, downloads=downloads)
        assert reached is None or 0.0 <= reached <= 1.0
        assert before is None or (reached is not None and reached >= before)
        before = reached


def far(stage: Stage, *, share: float | None = None, downloads: bool = True, **numbers: int) -> float:
    now = Progress(stage=stage, **numbers)  # type: ignore[arg-type]
    reached = fraction(now, None, first_place=8, share_of_time=share, downloads=downloads)
    assert reached is not None
    return reached


def test_the_stages_follow_each_other() -> None:
    course = [
        far(Stage.QUEUED),
        far(Stage.UPLOADING, bytes_sent=5, bytes_total=10),
        far(Stage.UPLOADING, bytes_sent=10, bytes_total=10),
        far(Stage.WAITING, queue_position=4),
        far(Stage.WAITING, queue_position=1),
        far(Stage.PROCESSING, share=0.5),
        far(Stage.PROCESSING, share=5.0),
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


def test_a_late_job_creeps_towards_the_end_without_reaching_it() -> None:
    late = [far(Stage.PROCESSING, share=share) for share in (1.0, 2.0, 4.0)]
    assert late == sorted(set(late))
    assert late[-1] < far(Stage.MERGING)


def test_chunks_say_more_than_time_does() -> None:
    assert far(Stage.DISTRIBUTING, chunks_done=4, chunks_total=5, share=0.1) > far(Stage.DISTRIBUTING, share=0.1)


@pytest.mark.parametrize("stage", [Stage.FETCHING, Stage.FAILED, Stage.CANCELLED])
def test_what_is_not_known_is_not_made_up(stage: Stage) -> None:
    assert fraction(Progress(stage=stage), None, first_place=None, share_of_time=None, downloads=True) is None
    assert fraction(Progress(stage=stage), 0.4, first_place=None, share_of_time=None, downloads=True) == 0.4
