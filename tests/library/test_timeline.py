from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from mvsep_async.library.timeline import Span, TimelineRecorder, assign_lanes
from mvsep_async.models.stage import Stage


def test_stages_become_phases() -> None:
    recorder = TimelineRecorder()
    stages = [Stage.QUEUED, Stage.UPLOADING, Stage.WAITING, Stage.DISTRIBUTING, Stage.MERGING, Stage.DONE]
    for now, stage in enumerate([*stages, Stage.DOWNLOADING]):
        recorder.record(stage, float(now))
    recorder.end(9.0)
    recorder.end(10.0)
    assert recorder.spans == [
        Span("up", 1.0, 2.0),
        Span("wait", 2.0, 3.0),
        Span("work", 3.0, 5.0),
        Span("down", 6.0, 9.0),
    ]


def test_a_download_does_not_hold_a_lane() -> None:
    first = ("a", (Span("work", 0, 2), Span("down", 2, 9)))
    second = ("b", (Span("work", 2, 4),))
    third = ("c", (Span("work", 3, 4),))
    assert [[label for label, _ in lane] for lane in assign_lanes([third, second, first])] == [["a", "b"], ["c"]]


jobs = st.lists(
    st.tuples(st.floats(0, 100), st.floats(0.01, 30), st.floats(0, 5)).map(
        lambda job: (Span("work", job[0], job[0] + job[1]), Span("down", job[0] + job[1], job[0] + job[1] + job[2]))
    )
)


@given(jobs)
def test_every_job_has_one_lane_and_no_lane_two_at_a_time(timelines: list[tuple[Span, ...]]) -> None:
    drawn = assign_lanes((str(number), spans) for number, spans in enumerate(timelines))
    assert sorted(label for lane in drawn for label, _ in lane) == sorted(map(str, range(len(timelines))))
    for lane in drawn:
        holds = [(spans[0].start, spans[0].end) for _, spans in lane]
        assert all(before[1] <= after[0] for before, after in pairwise(holds))
    together = max(
        (sum(one[0].start <= spans[0].start < one[0].end for one in timelines) for spans in timelines), default=0
    )
    assert len(drawn) == together, "no more lanes than slots were held at one time"
