from __future__ import annotations

from attrs import define

from mvsep_async.cli.live.board import Board, Lane
from mvsep_async.cli.live.lanes import LaneTracker, Running, Snapshot
from mvsep_async.jobs.progress import Progress
from mvsep_async.models.stage import Stage


@define
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


def running(stage: Stage, fraction: float | None = 0.0, seconds_left: float | None = None) -> Running:
    return Running("a song", Progress(stage=stage, fraction=fraction, seconds_left=seconds_left))


@define
class Run:
    """A tracker, and what it says when seconds have passed."""

    clock: Clock
    tracker: LaneTracker

    def at(self, now: float, queued: int = 0, *, searching: bool = False, **jobs: Running) -> tuple[Board, list[Lane]]:
        self.clock.now = now
        return self.tracker.update(Snapshot(running=jobs, slots=2, queued=queued, searching=searching))


def run() -> Run:
    clock = Clock()
    return Run(clock, LaneTracker("", clock))


def test_only_running_jobs_have_a_lane_and_each_keeps_its_order() -> None:
    tracked = run()
    work = running(Stage.PROCESSING)
    for now, jobs in enumerate((["a", "b"], ["b", "a", "c"], ["c", "b"])):
        board, _ = tracked.at(float(now), **{job: Running(job, work.progress) for job in jobs})
        names = [lane.name for lane in board.lanes]
        assert names == [name for name in ("a", "b", "c") if name in jobs]
    assert tracked.at(4.0)[0].lanes == ()


def test_the_folder_is_shown_where_two_songs_have_one_title() -> None:
    progress = Progress(stage=Stage.PROCESSING)
    tracked = run()
    album, other = Running("track1", progress, "An Album"), Running("track1", progress, "Another")
    assert [lane.folder for lane in tracked.at(0.0, a=album)[0].lanes] == [""]
    assert [lane.folder for lane in tracked.at(1.0, a=album, b=other)[0].lanes] == ["An Album", "Another"]


def test_a_lane_is_reported_changed_once_for_each_stage() -> None:
    tracked = run()
    for stage, changed in ((Stage.UPLOADING, 1), (Stage.UPLOADING, 0), (Stage.WAITING, 1), (Stage.WAITING, 0)):
        assert len(tracked.at(0.0, a=running(stage))[1]) == changed


def test_there_is_no_time_left_before_there_is_something_to_go_by() -> None:
    tracked = run()
    tracked.at(0.0, 5, a=running(Stage.UPLOADING))
    for second in range(1, 60):
        assert tracked.at(float(second), 5, a=running(Stage.PROCESSING, 0.2 + second / 100))[0].left is None
    assert tracked.at(60.0, 5)[0].left == 180.0  # 5 more of 60 seconds each, 2 at a time


def test_what_jobs_say_themselves_is_the_time_left_of_the_run() -> None:
    tracked = run()
    tracked.at(0.0, a=running(Stage.UPLOADING))
    assert tracked.at(10.0, a=running(Stage.PROCESSING, 0.4, seconds_left=30.0))[0].left == 30.0


def test_queued_jobs_take_as_long_as_the_running_ones_say() -> None:
    tracked = run()
    tracked.at(0.0, a=running(Stage.UPLOADING))
    # A job takes 40 seconds: the free slot and the busy one take one each.
    assert tracked.at(10.0, 2, a=running(Stage.PROCESSING, 0.4, seconds_left=30.0))[0].left == 70.0


def test_the_time_left_of_the_run_is_never_less_than_that_of_a_job() -> None:
    """The sum follows a new estimate slowly; a job whose estimate grew may not have the longer time left."""
    tracked = run()
    tracked.at(0.0, a=running(Stage.UPLOADING))
    assert tracked.at(10.0, a=running(Stage.PROCESSING, 0.4, seconds_left=30.0))[0].left == 30.0
    assert tracked.at(11.0, a=running(Stage.PROCESSING, 0.4, seconds_left=64.0))[0].left == 64.0


def test_a_job_that_is_uploaded_while_the_slots_are_in_use_begins_after_one_of_them() -> None:
    tracked = run()
    tracked.at(0.0, a=running(Stage.UPLOADING), b=running(Stage.UPLOADING))
    work = running(Stage.PROCESSING, 0.4, seconds_left=30.0)
    board, _ = tracked.at(10.0, a=work, b=work, c=running(Stage.UPLOADING))
    assert board.left == 70.0  # two slots: 30 seconds until one is free, and 40 for the job


def test_jobs_taken_up_half_way_say_nothing_about_how_long_jobs_take() -> None:
    tracked = run()
    tracked.at(0.0, 5, a=running(Stage.WAITING, None), b=running(Stage.PROCESSING, 0.8))
    tracked.at(2.0, 5, a=running(Stage.PROCESSING, 0.5), b=running(Stage.DOWNLOADING, 0.9))
    assert tracked.at(4.0, 5)[0].left is None


def test_nothing_is_estimated_while_songs_are_still_searched_for() -> None:
    tracked = run()
    tracked.at(0.0, a=running(Stage.UPLOADING))
    tracked.at(9.0, a=running(Stage.PROCESSING, 0.4))
    assert tracked.at(10.0, 5, searching=True)[0].left is None


def test_a_failed_upload_says_nothing_about_how_long_jobs_take() -> None:
    tracked = run()
    tracked.at(0.0, 5, a=running(Stage.UPLOADING))
    assert tracked.at(1.0, 5)[0].left is None
