from __future__ import annotations

import pytest
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


def running(
    stage: Stage,
    fraction: float | None = 0.0,
    seconds_left: float | None = None,
    moved: int = 1,
    total: int = 1_000_000,
) -> Running:
    moving = {
        Stage.UPLOADING: {"bytes_sent": moved, "bytes_total": total},
        Stage.DOWNLOADING: {"bytes_received": moved, "bytes_total": total},
    }.get(stage, {})
    return Running("a song", Progress(stage=stage, fraction=fraction, seconds_left=seconds_left, **moving))


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


def test_the_folder_is_shown_too_where_the_other_song_of_that_title_is_over() -> None:
    progress = Progress(stage=Stage.PROCESSING)
    tracked = run()
    assert [lane.folder for lane in tracked.at(0.0, a=Running("track1", progress, "An Album"))[1]] == [""]
    assert [lane.folder for lane in tracked.at(1.0, b=Running("track1", progress, "Another"))[1]] == ["Another"]


def test_a_lane_is_reported_changed_once_for_each_stage() -> None:
    tracked = run()
    for stage, changed in ((Stage.UPLOADING, 1), (Stage.UPLOADING, 0), (Stage.WAITING, 1), (Stage.WAITING, 0)):
        assert len(tracked.at(0.0, a=running(stage))[1]) == changed


def test_a_song_whose_upload_has_not_begun_is_queued() -> None:
    board, changed = run().at(0.0, 3, a=running(Stage.UPLOADING), b=running(Stage.UPLOADING, moved=0))
    assert (len(board.lanes), board.queued, len(changed)) == (1, 4, 1)


def test_there_is_no_time_left_before_there_is_something_to_go_by() -> None:
    tracked = run()
    tracked.at(0.0, 5, a=running(Stage.UPLOADING))
    for second in range(1, 60):
        assert tracked.at(float(second), 5, a=running(Stage.PROCESSING, 0.2 + second / 100))[0].left is None
    # 5 more, each 59 seconds in a slot, 2 at a time.
    assert tracked.at(60.0, 5, a=running(Stage.DOWNLOADING))[0].left == 177.0


def test_what_jobs_say_themselves_is_the_time_left_of_the_run() -> None:
    tracked = run()
    tracked.at(0.0, a=running(Stage.UPLOADING))
    assert tracked.at(10.0, a=running(Stage.PROCESSING, 0.4, seconds_left=30.0))[0].left == 30.0


def test_queued_jobs_take_as_long_as_the_running_ones_say() -> None:
    tracked = run()
    tracked.at(0.0, a=running(Stage.UPLOADING))
    tracked.at(5.0, a=running(Stage.WAITING))
    # A job has its slot for 35 seconds: the free slot and the busy one take one each.
    assert tracked.at(10.0, 2, a=running(Stage.PROCESSING, 0.4, seconds_left=30.0))[0].left == 65.0


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
    tracked.at(0.0, a=running(Stage.WAITING), b=running(Stage.WAITING))
    board, _ = tracked.at(10.0, a=work, b=work, c=running(Stage.UPLOADING))
    assert board.left == 70.0  # two slots: 30 seconds until one is free, and 40 for the job


def test_the_time_left_has_the_downloads_of_the_last_songs() -> None:
    tracked = run()
    tracked.at(0.0, searching=True, a=running(Stage.DOWNLOADING, moved=1), b=running(Stage.WAITING))
    tracked.at(
        10.0,
        searching=True,
        a=running(Stage.DOWNLOADING, moved=500_001),
        b=running(Stage.PROCESSING, 0.3, seconds_left=30.0),
    )
    board, _ = tracked.at(20.0, a=running(Stage.DOWNLOADING, moved=1_000_000), b=running(Stage.DONE))
    assert board.left == pytest.approx(20.0, abs=1)  # of a song: 1 MB at 50 kB a second


def test_results_that_are_still_to_be_received_bound_the_run() -> None:
    tracked = run()
    tracked.at(0.0, searching=True, a=running(Stage.WAITING), b=running(Stage.WAITING))
    done, left = running(Stage.DONE), running(Stage.PROCESSING, 0.5, seconds_left=1.0)
    tracked.at(5.0, searching=True, a=running(Stage.DOWNLOADING, moved=1), b=done, c=done, d=left)
    board, _ = tracked.at(15.0, a=running(Stage.DOWNLOADING, moved=500_001), b=done, c=done, d=left)
    assert board.left == pytest.approx(3.5 * 20, abs=2)  # half a result and three whole ones, 20 seconds each


def test_a_job_that_takes_much_longer_than_others_leaves_no_estimate() -> None:
    tracked = run()
    late = running(Stage.PROCESSING, 0.8, seconds_left=2.0)
    tracked.at(0.0, searching=True)
    tracked.at(0.0, searching=True, a=running(Stage.WAITING), b=running(Stage.WAITING))
    tracked.at(10.0, searching=True, a=running(Stage.DONE), b=late)
    assert tracked.at(14.0, b=late)[0].left is not None
    assert tracked.at(16.0, b=late)[0].left is None


def test_songs_that_are_still_to_be_sent_bound_the_run() -> None:
    tracked = run()
    tracked.at(0.0, 4, a=running(Stage.UPLOADING, moved=1))
    tracked.at(50.0, 4, a=running(Stage.UPLOADING, moved=500_001), b=running(Stage.WAITING))
    b = running(Stage.PROCESSING, 0.5, seconds_left=1.0)
    board, _ = tracked.at(51.0, 4, a=running(Stage.UPLOADING, moved=510_001), b=b)
    assert board.left == pytest.approx(450, rel=0.02)  # 4.49 songs of 1 MB at 10 kB a second, and one job of 2 seconds


def test_an_upload_that_is_held_for_a_slot_does_not_make_the_line_look_slow() -> None:
    tracked = run()
    tracked.at(0.0, 1, a=running(Stage.UPLOADING, moved=1))
    tracked.at(1.0, 1, a=running(Stage.UPLOADING, moved=999_000))
    work = running(Stage.PROCESSING, 0.5, seconds_left=9.0)
    for second in range(2, 60):
        tracked.at(float(second), 1, a=running(Stage.UPLOADING, moved=999_000), b=work, c=work)
    board, _ = tracked.at(60.0, 1, a=running(Stage.UPLOADING, moved=999_000), b=work, c=work)
    assert board.left is not None
    assert board.left < 90


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
