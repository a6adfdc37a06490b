"""The line that says how a song ended."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest
from rich.cells import cell_len

from mvsep_async.cli.live.render import ASCII
from mvsep_async.cli.outcome import Outcome, distinct_ends, shown_path
from mvsep_async.errors import DownloadError, InvalidRequestError, JobFailedError, MVSepError


def outcome(name: str, folder: str, *, earlier: bool = False) -> Outcome:
    return Outcome(name=name, files=(Path(folder, "Vocals.mp3"), Path(folder, "Other.mp3")), earlier=earlier)


@pytest.mark.parametrize(
    ("ended", "width", "line"),
    [
        (outcome("a.wav", "stems/a"), None, "+ a.wav  Vocals, Other  stems/a/"),
        (outcome("a.wav", "stems/a", earlier=True), 80, "+ a.wav  already separated: skipped  Vocals, Other  stems/a/"),
        (outcome("a.wav", "x" * 40), 50, "+ a.wav  Vocals, Other  xxxxxxxxxxxxxxxxx~xxxxxxx/"),
        (outcome("a long name.wav", "x" * 40), 40, "+ a long name.wav  Vocals, Other"),
        (
            Outcome(
                name="a.wav", files=tuple(Path("stems/a", f"{name} vocals.mp3") for name in ("Lead", "Back", "All"))
            ),
            40,
            "+ a.wav  Lead vocals, Back vo~  stems/a/",
        ),
        (outcome("y" * 50, "x" * 40), 20, "+ yyyyyyyyyyyyyyyyy~"),
        (Outcome(name="a.wav", error=JobFailedError("too\nbad " * 3)), 20, "x a.wav  too bad too bad too bad"),
    ],
)
def test_a_result_is_one_line(ended: Outcome, width: int | None, line: str) -> None:
    assert ended.line(ASCII, width).plain == line
    assert width is None or ended.error is not None or cell_len(line) <= width


def test_paths_are_shown_relative_to_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert shown_path(tmp_path / "a" / "b") == str(Path("a", "b"))
    assert shown_path(Path("a")) == "a"
    assert shown_path(tmp_path.parent / "elsewhere") == str(tmp_path.parent / "elsewhere")


@pytest.mark.parametrize(
    ("paths", "ends"),
    [
        (["A/song.wav", "B/other.wav"], ["song.wav", "other.wav"]),
        (["A/song.wav", "B/song.wav", "A/song.wav"], ["A/song.wav", "B/song.wav", "A/song.wav"]),
        (["A/1/song.wav", "B/1/song.wav", "C/song.wav"], ["A/1/song.wav", "B/1/song.wav", "C/song.wav"]),
        (["song.wav", "A/song.wav"], ["song.wav", "A/song.wav"]),
        ([], []),
    ],
)
def test_songs_of_one_name_are_told_from_each_other_by_their_folders(paths: list[str], ends: list[str]) -> None:
    assert distinct_ends([PurePosixPath(path) for path in paths]) == ends


@pytest.mark.parametrize(
    ("error", "earlier", "before"),
    [
        (JobFailedError("the model has crashed"), True, True),
        (JobFailedError("the model has crashed"), False, False),
        (JobFailedError("the audio file is damaged"), True, False),
        (DownloadError("there is no space left on the disk"), True, False),  # each run fetches the stems
        (InvalidRequestError("there is no such file"), True, False),  # nothing was sent
        (None, True, False),
    ],
)
def test_a_song_failed_before_if_it_is_tried_again_on_request_only(
    error: MVSepError | None, earlier: bool, before: bool
) -> None:
    assert Outcome(name="a.wav", error=error, earlier=earlier).failed_before is before
