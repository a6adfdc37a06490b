from __future__ import annotations

from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mvsep_async.audio.tags import NOTHING, Tags
from mvsep_async.errors import InvalidRequestError
from mvsep_async.library.layout import PLACEHOLDERS, Layout, mirror, values_of
from mvsep_async.naming import caseless, fill, stem_path

TAGGED = Layout.parse("{albumartist}/{album}/{track} {title}/{stem}.{ext}")


def path_of(layout: Layout, name: str, tags: Tags = NOTHING, *, stem: str = "Vocals", number: int = 1) -> str:
    place = layout.place(values_of(name, tags))
    if number > 1:
        place = layout.numbered(place, number)
    job_layout = fill(place, {"step": "step", "algorithm": "BS Roformer"})
    return str(stem_path(job_layout, song="unused", stem=stem, ext="mp3"))


def test_the_mirror_keeps_the_folders() -> None:
    assert path_of(mirror(several=False), "a/b/c.flac") == "a/b/c/Vocals.mp3"
    assert path_of(mirror(several=False), "c.flac") == "c/Vocals.mp3"
    assert path_of(mirror(several=True), "a/c.flac") == "a/c/step/Vocals.mp3"


def test_tags_fill_a_layout() -> None:
    tags = Tags({"title": "So What", "artist": "Miles Davis", "album": "Kind of Blue", "tracknumber": "1/5"})
    assert path_of(TAGGED, "x/y.mp3", tags) == "Miles Davis/Kind of Blue/01 So What/Vocals.mp3"


def test_what_the_tags_do_not_say_is_made_up_for() -> None:
    assert path_of(TAGGED, "x/My Song.mp3") == "Unknown artist/Unknown album/My Song/Vocals.mp3"
    year = Layout.parse("{genre}/{year}/{disc}/{stem}")
    assert path_of(year, "a.mp3", Tags({"date": "1959-08-17", "discnumber": "x"})) == "unnamed/1959/unnamed/Vocals.mp3"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{artst}/{stem}", "{artst}"),
        ("{artist}/{title}", "{stem}"),
        ("{stem", "unpaired"),
        ("../{stem}", "relative path"),
        ("/{stem}", "relative path"),
        ("{stem!r}", "{stem!r}"),
        ("{ext}/{stem}", "{ext}"),
    ],
)
def test_a_layout_that_cannot_be_is_refused(text: str, why: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        Layout.parse(text)
    assert why in str(caught.value)


def test_several_separations_must_be_distinguished() -> None:
    with pytest.raises(InvalidRequestError, match="algorithm"):
        Layout.parse("{song}/{stem}", several=True)
    for text in ("{song}/{step}/{stem}", "{algorithm}/{song}/{stem}"):
        assert Layout.parse(text, several=True).text == text


def test_the_number_goes_to_what_is_the_songs_own() -> None:
    assert path_of(mirror(several=True), "a/b.wav", number=2) == "a/b (2)/step/Vocals.mp3"
    assert path_of(Layout.parse("{artist}/{title} - {stem}"), "b.wav", number=3).endswith("/b - Vocals (3).mp3")
    assert (
        path_of(Layout.parse("{algorithm}/{folder}/{stem}"), "x/y/b.wav", number=2) == "BS Roformer/x/y (2)/Vocals.mp3"
    )


def test_a_song_in_no_folder_gets_its_number_all_the_same() -> None:
    assert path_of(Layout.parse("{folder}/{stem}"), "b.wav", number=2) == "Vocals (2).mp3"


def test_braces_in_names_stay_names() -> None:
    tags = Tags({"title": "{step} {stem} {{x}"})
    assert path_of(Layout.parse("{title}/{stem}"), "a.mp3", tags) == "{step} {stem} {{x}/Vocals.mp3"


names = st.text(min_size=1, max_size=40).filter(lambda text: "/" not in text and "\0" not in text)


@given(
    parts=st.lists(names, min_size=1, max_size=4),
    texts=st.dictionaries(st.sampled_from(["title", "artist", "album", "tracknumber", "date"]), st.text(max_size=60)),
    layout=st.lists(st.sampled_from([f"{{{name}}}" for name in PLACEHOLDERS] + ["x", " - "]), min_size=1, max_size=8),
    number=st.integers(1, 3),
)
def test_no_tag_leads_out_of_the_target(
    parts: list[str], texts: dict[str, str], layout: list[str], number: int
) -> None:
    text = "/".join(layout).replace("/ - /", " - ").strip("- /") + "/{stem}"
    try:
        parsed = Layout.parse(text)
    except InvalidRequestError:
        return
    path = PurePosixPath(path_of(parsed, "/".join(parts), Tags(texts), number=number))
    assert not path.is_absolute()
    assert ".." not in path.parts
    assert all(part.strip(". ") and len(part.encode()) <= 255 for part in path.parts)


@given(
    name=names,
    texts=st.dictionaries(st.sampled_from(["title", "artist"]), st.text(max_size=30)),
    numbers=st.sets(st.integers(2, 50), min_size=2, max_size=5),
)
def test_numbers_keep_places_apart(name: str, texts: dict[str, str], numbers: set[int]) -> None:
    for layout in (TAGGED, mirror(several=False), Layout.parse("{artist} - {title} ({stem})")):
        place = layout.place(values_of(name, Tags(texts)))
        keys = {caseless(layout.numbered(place, number)) for number in numbers} | {caseless(place)}
        assert len(keys) == len(numbers) + 1
