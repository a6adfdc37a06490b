import ntpath
import sys
import unicodedata
from pathlib import PurePosixPath, PureWindowsPath

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from mvsep_async.errors import InvalidRequestError
from mvsep_async.naming import (
    NAME_LIMIT,
    UPLOAD_NAME_LIMIT,
    check_layout,
    distinct,
    safe_name,
    song_name,
    stem_path,
    tag_in,
    upload_name,
)

anything = st.text() | st.text(st.characters(categories=["Cs", "Cf", "Cc", "Mn", "So"])) | st.text("./\\:CONAUX1¹ ~")
if sys.version_info >= (3, 13):
    reserved_on_windows = ntpath.isreserved
else:
    reserved_on_windows = PureWindowsPath.is_reserved

tags = st.from_regex(r"[a-z0-9]{8,16}", fullmatch=True)


@given(anything)
@example("../../etc/passwd")
@example("C:\\Windows\\x")
@example("CON")
@example("com¹.txt.gz")
@example("nul .wav")
@example("song\u202egpm.exe")
@example("a" * 199 + "é.mp3")
@example("\ud800")
def test_a_safe_name_is_one_component_everywhere(text: str) -> None:
    name = safe_name(text)
    assert name == PurePosixPath(name).name == PureWindowsPath(name).name
    assert not set(name) & set('/\\:*?"<>|')
    assert 0 < len(name.encode()) <= NAME_LIMIT
    assert name[-1] not in ". "
    assert name[0] not in ". "
    assert unicodedata.is_normalized("NFC", name)
    assert not any(unicodedata.category(char) in ("Cc", "Cf", "Cs") for char in name)
    assert not reserved_on_windows(PureWindowsPath(name))
    assert name.split(".")[0].rstrip().upper() not in {"CON", "NUL", "AUX", "COM1", "COM¹", "LPT9", "CONIN$"}


@given(anything)
def test_a_safe_name_stays_as_it_is(text: str) -> None:
    assert safe_name(safe_name(text)) == safe_name(text)


@given(st.text(), st.integers(16, 60))
def test_a_cut_falls_between_letters_and_spares_the_extension(text: str, limit: int) -> None:
    name = safe_name(text + ".flac", limit=limit)
    assert len(name.encode()) <= limit
    assert name.endswith("flac")
    whole = safe_name(text + ".flac", limit=10_000)
    if name != whole and "_" not in name:
        cut = len(name.removesuffix(".flac"))
        assert whole.startswith(name[:cut].rstrip())


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("13 Dimensions (feat. Ünal).mp3", "13 Dimensions (feat. Ünal).mp3"),
        ("日本語の歌", "日本語の歌"),
        ("AC/DC", "AC_DC"),
        ("..", "unnamed"),
        ("e\u0301", "é"),
        ("a\tb\nc", "a b c"),
        ("aux.mp3", "aux_.mp3"),
    ],
)
def test_readable_names_stay_readable(text: str, name: str) -> None:
    assert safe_name(text) == name


def test_the_fallback_is_made_safe_too() -> None:
    assert safe_name("", fallback="../x") == "_x"
    assert safe_name("", fallback="") == "_"


colliding = st.lists(
    st.sampled_from(["a", "A", "a (2)", "é", "e\u0301", "É", "ß", "SS", "a.mp3", "A.MP3", "a (2).mp3"])
)


@given(colliding | st.lists(st.text().map(safe_name)), st.lists(st.sampled_from(["a", "a (2)", "é"])))
def test_distinct_names_are_distinct_on_every_file_system(names: list[str], taken: list[str]) -> None:
    result = distinct(names, taken=taken)
    keys = [unicodedata.normalize("NFD", name).casefold() for name in result]
    assert len(result) == len(names)
    assert len(set(keys)) == len(keys)
    assert not set(result) & set(taken)


@given(st.lists(st.text().map(safe_name), unique_by=lambda name: unicodedata.normalize("NFD", name).casefold()))
def test_names_that_differ_are_left_alone(names: list[str]) -> None:
    assume(len({unicodedata.normalize("NFD", unicodedata.normalize("NFD", n).casefold()) for n in names}) == len(names))
    assert distinct(names) == names


def test_the_number_stands_before_the_extension() -> None:
    assert distinct(["a.mp3", "A.mp3"]) == ["a.mp3", "A (2).mp3"]
    assert distinct(["a", "a", "a (2)"]) == ["a", "a (3)", "a (2)"]


@given(tags, anything)
def test_an_upload_name_carries_its_tag_at_the_front(tag: str, filename: str) -> None:
    name = upload_name(tag, filename)
    assert name.startswith(tag)
    assert name.isascii()
    assert len(name) <= UPLOAD_NAME_LIMIT
    assert name == name.lower() == safe_name(name)
    assert tag_in(name, tag)
    assert tag_in(f"20230327071601-0e3e5c6c85-{name}", tag)
    assert tag_in(name[: len(tag)], tag), "whatever is cut at the end"


def test_an_upload_name_is_readable() -> None:
    assert upload_name("mv12ab34", "/music/13 Dimensions.MP3") == "mv12ab34-13-dimensions.mp3"
    assert upload_name("mv12ab34", "日本") == "mv12ab34"
    assert len(upload_name("mv12ab34", "x" * 500 + ".flac", limit=30)) == 30


def test_a_tag_is_a_word() -> None:
    assert tag_in("20230327-0e3e-ABC123-x.mp3", "abc123")
    assert not tag_in("xabc123-y", "abc123")
    assert not tag_in("abc1234", "abc123")
    assert not tag_in("anything", "")


@pytest.mark.parametrize(
    ("given_", "name"),
    [
        ("/music/My Song.flac", "My Song"),
        ("C:\\music\\My Song.wav", "My Song"),
        ("https://example.com/a/My%20Song.mp3?token=hush#x", "My Song"),
        ("https://example.com/", "example.com"),
        ("Vol.2", "Vol.2"),
        (".mp3", "mp3"),
        ("", "song"),
        ("https://[", "song"),
    ],
)
def test_song_names(given_: str, name: str) -> None:
    if given_ in ("https://example.com/", "https://["):
        assert "/" not in song_name(given_)
    else:
        assert song_name(given_) == name


@given(anything, anything, anything)
def test_only_the_layout_makes_folders(song: str, stem: str, ext: str) -> None:
    path = stem_path("{song}/x {stem}", song=song, stem=stem, ext=ext)
    assert len(path.parts) == 2
    assert not path.is_absolute()
    assert all(part == safe_name(part, limit=255) for part in path.parts)
    assert all(len(part.encode()) <= NAME_LIMIT for part in path.parts)


def test_a_layout_is_filled_in() -> None:
    assert stem_path("{song}/{stem}", song="AC/DC", stem="../Vocals", ext=".flac") == PurePosixPath(
        "AC_DC/_Vocals.flac"
    )
    assert stem_path("{song} ({stem})", song="S", stem="v.1", ext="mp3") == PurePosixPath("S (v.1).mp3")
    assert stem_path("all/{{x}}", ext="") == PurePosixPath("all/{x}")


@pytest.mark.parametrize(
    "layout",
    ["", "/{song}", "{song}/", "a//b", "../{song}", "{song}/./{stem}", "a\\b", "{nope}", "{}", "{song!r}", "{song:5}",
     "{song.x}", "{song[0]}", "{song", "song}"],
)  # fmt: skip
def test_an_invalid_layout_is_refused(layout: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        check_layout(layout)
    assert "{song}" in str(caught.value)


@given(st.text("{}song/stem.\\!:[]", max_size=12))
def test_any_layout_is_accepted_or_refused(layout: str) -> None:
    try:
        check_layout(layout)
    except InvalidRequestError:
        return
    path = stem_path(layout, song="a", stem="b", ext="wav")
    assert ".." not in path.parts
