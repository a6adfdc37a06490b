"""Paths of results: distinct, below the target folder, and stable."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mvsep_async.download.paths import PlannedFile, chosen, plan_paths, song_of
from mvsep_async.errors import InvalidRequestError
from mvsep_async.jobs.request import JobRequest, JobSettings, Target, new_id
from mvsep_async.models.separation import OutputFile, Separation
from mvsep_async.naming import caseless

FOLDER = Path("/out")
names = st.text(max_size=25) | st.sampled_from(["../x", "/etc/passwd", "CON", "a/b", "..", "Vocals", "vocals", ""])


def result(stem: str, name: str) -> OutputFile:
    return OutputFile(url=f"https://x/{len(name)}.mp3", name=name, stem=stem)


def planned(
    files: list[OutputFile],
    *,
    song: str = "song",
    layout: str = "{song}/{stem}",
    overwrite: bool = False,
    earlier: Collection[tuple[str, Path]] = (),
    complete: Collection[Path] = (),
    there: Collection[Path] = (),
    others: Collection[Path] = (),
) -> list[PlannedFile]:
    return plan_paths(
        files,
        Target(str(FOLDER), None, layout, overwrite),
        song=song,
        earlier=earlier,
        complete=complete,
        taken=lambda path: path in others or (path in there and not overwrite),
        exists=lambda path: path in there,
    )


@given(
    st.lists(st.tuples(names, names), min_size=1, max_size=8),
    names,
    st.sampled_from(["{song}/{stem}", "{stem}", "{song} - {stem}", "{stem}/x"]),
    st.booleans(),
)
def test_paths_are_distinct_and_inside_the_folder(
    results: list[tuple[str, str]], song: str, layout: str, overwrite: bool
) -> None:
    files = [result(stem, f"{number}{name}") for number, (stem, name) in enumerate(results)]
    first = planned(files, song=song, layout=layout, overwrite=overwrite)
    assert [file.file for file in first] == files
    assert len({caseless(file.path) for file in first}) == len(files)
    for file in first:
        assert file.path.is_relative_to(FOLDER)
        assert ".." not in file.path.parts
        assert not file.complete
    # Planned again they are the same, and those that exist are complete.
    earlier = [(file.file.name, file.path) for file in first]
    there = [file.path for file in first]
    again = planned(files, song=song, layout=layout, overwrite=overwrite, earlier=earlier, there=there, complete=there)
    assert [file.path for file in again] == there
    assert all(file.complete for file in again)


def test_an_existing_file_is_numbered_around_unless_overwriting() -> None:
    there = [FOLDER / "song/Vocals.mp3", FOLDER / "song/Vocals (2).mp3"]
    (file,) = planned([result("Vocals", "a.mp3")], there=there)
    assert file.path == FOLDER / "song/Vocals (3).mp3"
    (file,) = planned([result("Vocals", "a.mp3")], there=there, overwrite=True)
    assert file.path == there[0]


def test_a_path_that_another_job_will_write_is_not_used() -> None:
    for overwrite in (False, True):
        (file,) = planned([result("Vocals", "a.mp3")], others=[FOLDER / "song/Vocals.mp3"], overwrite=overwrite)
        assert file.path == FOLDER / "song/Vocals (2).mp3"


def test_what_would_be_overwritten_is_complete_only_if_that_is_known() -> None:
    path = FOLDER / "song/Vocals.mp3"
    files, earlier = [result("Vocals", "a.mp3")], [("a.mp3", path)]
    assert not planned(files, earlier=earlier, there=[path], overwrite=True)[0].complete
    assert planned(files, earlier=earlier, there=[path], overwrite=True, complete=[path])[0].complete
    assert not planned(files, earlier=earlier)[0].complete


def test_an_existing_file_at_a_planned_path_may_be_foreign() -> None:
    first, second, third = (FOLDER / f"song/Vocals{number}.mp3" for number in ("", " (2)", " (3)"))
    files, earlier = [result("Vocals", "a.mp3")], [("a.mp3", second), ("a.mp3", first)]
    for there, path in ([first], second), ([second], first), ([first, second], third):
        (file,) = planned(files, earlier=earlier, there=there)
        assert (file.path, file.complete, set(file.candidates)) == (path, False, set(there))
    (file,) = planned(files, earlier=earlier, there=[first, second], complete=[first])
    assert file == PlannedFile(files[0], first, first, complete=True)


def test_names_that_a_file_system_takes_for_one_share_a_key() -> None:
    for one, other in (("é", "e\u0301"), ("Straße", "STRASSE"), ("\u1fd3", "\u03aa\u0301"), ("Ω", "\u2126")):
        assert caseless(Path(one)) == caseless(Path(other))


def test_a_plan_for_another_layout_or_folder_does_not_count() -> None:
    files = [result("Vocals", "a.mp3")]
    earlier = [("a.mp3", Path("/elsewhere/song/Vocals.mp3")), ("a.mp3", FOLDER / "Vocals.mp3")]
    there = [path for _, path in earlier]
    (file,) = planned(files, earlier=earlier, there=there)
    assert (file.path, file.complete) == (FOLDER / "song/Vocals.mp3", False)


def separation(*stems: str) -> Separation:
    files = tuple(result(stem, f"{number}.mp3") for number, stem in enumerate(stems))
    return Separation(hash="20230327071601-0e3e5c6c85-13-dimensions.mp3", algorithm="a", files=files)


def test_stems_are_chosen_without_case_in_the_order_asked() -> None:
    files = chosen(separation("Vocals", "Drums", "vocals"), ("DRUMS", "vocals", "drums"), job="mv1")
    assert [file.name for file in files] == ["1.mp3", "0.mp3", "2.mp3"]
    assert len(chosen(separation("a", "b"), None, job="mv1")) == 2
    with pytest.raises(InvalidRequestError, match="'Bass'") as caught:
        chosen(separation("Vocals", "Drums"), ("Bass",), job="mv1")
    assert caught.value.candidates == ("Vocals", "Drums")
    assert caught.value.job == "mv1"


@pytest.mark.parametrize(
    ("source", "filename", "song"),
    [
        (None, None, "13-dimensions"),
        ("music/My Song.flac", None, "My Song"),
        ("https://host/files/My%20Song.flac?x=1", None, "My Song"),
        ("music/a.flac", "Other.wav", "Other"),
        (None, "Given.mp3", "Given"),
    ],
)
def test_the_songs_name(source: str | None, filename: str | None, song: str) -> None:
    order = JobRequest("mv1", source, JobSettings(), filename)
    assert song_of(order, separation()) == song


def test_the_tag_is_no_part_of_the_songs_name() -> None:
    hash = f"20230327071601-0e3e5c6c85-{new_id()}-my-song.wav"
    assert song_of(JobRequest("mv1", None, JobSettings()), Separation(hash=hash, algorithm="a", files=())) == "my-song"
