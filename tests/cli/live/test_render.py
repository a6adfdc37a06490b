from __future__ import annotations

import io
import os

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from mvsep_async.cli.live.board import Board, Lane
from mvsep_async.cli.live.render import ASCII, UNICODE, Glyphs, render, stage_line, status_text, summary
from mvsep_async.jobs.progress import Progress
from mvsep_async.models.stage import Stage

MIDWAY = Board(
    title="BS Roformer · flac16 · stems",
    lanes=(
        Lane(
            name="01 First Light.wav",
            progress=Progress(stage=Stage.UPLOADING, fraction=0.1, bytes_sent=12_000_000, bytes_total=48_000_000),
            speed=3_400_000.0,
        ),
        Lane(
            name="02 A very long name that has no end in sight (live).flac",
            progress=Progress(stage=Stage.WAITING, fraction=0.22, queue_position=3, queue_length=12),
        ),
        Lane(
            name="03 [bold]春の歌\x1b[2J.mp3",
            progress=Progress(stage=Stage.DISTRIBUTING, fraction=0.5, chunks_done=2, chunks_total=6),
        ),
        Lane(name="https", progress=Progress(stage=Stage.FETCHING)),
        Lane(
            name="track1",
            folder="An Album",
            progress=Progress(stage=Stage.PROCESSING, fraction=0.6, chunks_done=3, chunks_total=8, seconds_left=40.0),
        ),
    ),
    queued=7,
    searching=True,
    done=12,
    failed=1,
    credits=998.4,
    elapsed=83.0,
    left=301.0,
)


def lines(board: Board, width: int, *, height: int = 24, glyphs: Glyphs = UNICODE) -> list[str]:
    return render(board, width=width, height=height, glyphs=glyphs).plain.split("\n")


WIDE = """\
BS Roformer · flac16 · stems
01 First Light.wav                        ━━╸───────────────────── 10%  uploading 12.0 of 48.0 MB, 3.4 MB/s
02 A very long name that ha…t (live).flac ━━━━━╸────────────────── 22%  waiting, 3rd of 12
03 [bold]春の歌\\x1b[2J.mp3                ━━━━━━━━━━━━──────────── 50%  distributing, chunk 2 of 6
https                                     ························      fetching
track1  An Album                          ━━━━━━━━━━━━━━╸───────── 60%  processing, chunk 3 of 8, 0:40 left
7+ queued · 1 uploading · 4 running · 12 done · 1 failed · 998 credits · 1:23 · about 5:10 left"""

USUAL = """\
BS Roformer · flac16 · stems
01 First Light.wav           ━───────── 10%  uploading 12.0 of 48.0 MB, 3.4 MB/s
02 A very long nam…ive).flac ━━──────── 22%  waiting, 3rd of 12
03 [bold]春の歌\\x1b[2J.mp3   ━━━━━───── 50%  distributing, chunk 2 of 6
https                        ··········      fetching
track1  An Album             ━━━━━━──── 60%  processing, chunk 3 of 8, 0:40 left
7+ queued · 1 uploading · 4 running · 12 done · 1 failed · 998 credits · 1:23
about 5:10 left"""

NARROW = """\
BS Roformer · flac16 · stems
01 First Light.wav        ━───────── 10%
02 A very long n…ve).flac ━━──────── 22%
03 [bold]春の歌\\…b[2J.mp3 ━━━━━───── 50%
https                     ··········
track1  An Album          ━━━━━━──── 60%
7+ queued · 1 uploading · 4 running
12 done · 1 failed · 998 credits · 1:23
about 5:10 left"""

IN_ASCII = """\
01 First Light.wav           #--------- 10%  uploading 12.0 of 48.0 MB, 3.4 MB/s
02 A very long nam~ive).flac ##-------- 22%  waiting, 3rd of 12
7+ queued | 1 uploading | 1 running | 12 done | 1 failed | 998 credits | 1:23
about 5:10 left"""


@pytest.mark.parametrize(("width", "picture"), [(120, WIDE), (80, USUAL), (40, NARROW)])
def test_the_picture_at_a_width(width: int, picture: str) -> None:
    assert "\n".join(lines(MIDWAY, width)) == picture


def test_the_picture_in_ascii() -> None:
    board = evolve(MIDWAY, title="", lanes=MIDWAY.lanes[:2])
    shown = lines(board, 80, glyphs=ASCII)
    assert "\n".join(line.strip() for line in shown) == IN_ASCII
    assert "".join(shown).isascii()


@pytest.mark.parametrize("glyphs", [UNICODE, ASCII])
@pytest.mark.parametrize("width", [20, 40, 60, 80, 120, 200])
def test_no_line_is_wider_than_the_terminal(width: int, glyphs: Glyphs) -> None:
    for line in lines(MIDWAY, width, glyphs=glyphs):
        assert cell_len(line) <= width, line


def test_nothing_in_a_name_is_markup_or_obeyed() -> None:
    shown = "\n".join(lines(MIDWAY, 200))
    assert "[bold]" in shown
    assert "\x1b" not in shown
    assert "\\x1b[2J" in shown


def test_colour_is_left_out_where_there_is_none() -> None:
    plain, coloured = io.StringIO(), io.StringIO()
    Console(file=plain, width=80, no_color=True, force_terminal=True, color_system=None).print(render(MIDWAY, width=80))
    Console(file=coloured, width=80, force_terminal=True, color_system="standard").print(render(MIDWAY, width=80))
    assert "\x1b[" not in plain.getvalue()
    assert "\x1b[34m" in coloured.getvalue()


def test_a_bar_is_told_from_its_rest_without_colour() -> None:
    assert UNICODE.full != UNICODE.rest
    lane = Lane(name="a", progress=Progress(stage=Stage.PROCESSING, fraction=0.5))
    (line,) = lines(Board(lanes=(lane,)), 80, glyphs=ASCII)[:1]
    assert abs(line.count("#") - line.count("-")) <= 1


def test_a_low_terminal_shows_the_running_ones() -> None:
    busy = [Lane(name=f"song {n}", progress=Progress(stage=Stage.PROCESSING, fraction=0.4)) for n in range(10)]
    shown = lines(Board(title="t", lanes=tuple(busy)), 80, height=10)
    assert len(shown) < 10
    assert "  and 4 more" in shown


@given(
    st.builds(
        Progress,
        stage=st.sampled_from(Stage),
        fraction=st.none() | st.floats(0, 1),
        bytes_sent=st.none() | st.integers(0, 10**13),
        bytes_total=st.none() | st.integers(0, 10**13),
        queue_position=st.none() | st.integers(0, 10**6),
        chunks_total=st.none() | st.integers(0, 1000),
        message=st.none() | st.text(),
        seconds_left=st.none() | st.floats(0, 1e6),
    ),
    st.text(),
    st.integers(10, 200),
)
def test_whatever_a_job_says_it_fits(progress: Progress, name: str, width: int) -> None:
    shown = lines(Board(lanes=(Lane(name=name, progress=progress, speed=1.0),)), width)
    assert all(cell_len(line) <= width for line in shown)


def test_the_status_says_what_counts_at_each_stage() -> None:
    for progress, text in (
        (Progress(stage=Stage.WAITING, queue_position=1), "waiting, 1st"),
        (Progress(stage=Stage.WAITING, queue_position=12, queue_length=40), "waiting, 12th of 40"),
        (Progress(stage=Stage.MERGING, chunks_done=6, chunks_total=6), "merging, chunk 6 of 6"),
        (Progress(stage=Stage.PROCESSING, message="Your file is being processed"), "processing"),
        (Progress(stage=Stage.PROCESSING, seconds_left=65.0), "processing, 1:05 left"),
        (Progress(stage=Stage.WAITING, message="no answer; asking again"), "waiting, no answer; asking again"),
    ):
        assert status_text(progress) == text
    received = Progress(stage=Stage.DOWNLOADING, bytes_received=1000)
    assert status_text(received, speed=2000.0) == "downloading 1.0 kB, 2.0 kB/s"


def test_what_does_not_fit_is_left_out_rather_than_cut() -> None:
    progress = Progress(stage=Stage.DISTRIBUTING, chunks_done=10, chunks_total=12, seconds_left=645.0)
    assert status_text(progress, width=33) == "distributing, chunk 10 of 12"
    assert status_text(progress, width=35) == "distributing, 10 of 12, 10:45 left"
    assert status_text(progress, width=45) == "distributing, chunk 10 of 12, 10:45 left"


def test_where_nothing_else_is_known_a_lane_tells_how_long_it_runs() -> None:
    lane = Lane(name="a.wav", progress=Progress(stage=Stage.PROCESSING, fraction=0.5), elapsed=83.0)
    assert lines(Board(lanes=(lane,)), 100)[0].endswith("processing for 1:23")
    assert lines(Board(lanes=(evolve(lane, elapsed=0.4),)), 100)[0].endswith("processing")


def test_the_folder_is_shown_beside_the_title_which_is_cut_for_it() -> None:
    progress = Progress(stage=Stage.PROCESSING, fraction=0.5)
    for name, folder, shown in (
        ("track1", "An Album", "track1  An Album "),
        ("track1", "A folder with a long name", "track1  A folder with…g name "),
        ("A title that takes all of the room", "An Album", "A title that… room  An Album"),
    ):
        (line,) = lines(Board(lanes=(Lane(name=name, folder=folder, progress=progress),)), 80)[:1]
        assert line.startswith(shown)


def test_plain_lines() -> None:
    waiting = Progress(stage=Stage.WAITING, queue_position=2, queue_length=4)
    assert stage_line(Lane(name="a\nb.wav", progress=waiting)) == "a\\nb.wav: waiting, 2nd of 4"
    merging = Lane(name="c.wav", folder="An Album", progress=Progress(stage=Stage.MERGING))
    assert stage_line(merging).replace(os.sep, "/") == "An Album/c.wav: merging"


def test_summary() -> None:
    assert summary(1, 0, 0, 0, 5) == "1 song done in 0:05"
    assert summary(3, 4, 2, 1, 65) == "3 songs done, 4 already separated, 2 failed, 1 cancelled in 1:05"


def test_why_no_song_is_sent_has_a_line_of_its_own() -> None:
    board = evolve(MIDWAY, notice="waiting: the service answered 502")
    assert lines(board, 120)[-2] == "waiting: the service answered 502"
    assert len(lines(board, 80, height=5)) <= 5
    assert all(cell_len(line) <= 30 for line in lines(board, 30))


def test_a_separated_song_waits_to_download() -> None:
    assert status_text(Progress(stage=Stage.DONE)) == "done"
    assert status_text(Progress(stage=Stage.DONE), elapsed=14.0) == "done, waits to download"
