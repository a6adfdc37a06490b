from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import soundfile

from mvsep_async.audio.tagging import write_tags
from mvsep_async.audio.tags import Cover, Tags, read_tags
from tests.audio.songs import PNG, write_song

TAGS = Tags(
    {"title": "So What", "artist": "Miles Davis", "album": "Kind of Blue", "tracknumber": "1/5", "bpm": "136"},
    cover=Cover(PNG, "image/png"),
)


@pytest.mark.parametrize("suffix", [".mp3", ".wav", ".flac", ".m4a"])
def test_a_stem_gets_the_songs_tags_and_cover(tmp_path: Path, suffix: str) -> None:
    path = write_song(tmp_path / f"Vocals{suffix}")
    sound = None if suffix == ".m4a" else soundfile.read(path)[0]
    assert write_tags(path, TAGS, "Vocals") is None
    assert write_tags(path, TAGS, "Vocals") is None, "a second time changes nothing"
    found = read_tags(str(path), suffix[1:], cover=True)
    assert dict(found.texts) == {**TAGS.texts, "title": "So What (Vocals)"}
    assert found.cover == TAGS.cover
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    if sound is not None:
        assert (soundfile.read(path)[0] == sound).all()


def test_what_cannot_be_tagged_is_left_as_it_is(tmp_path: Path) -> None:
    path = write_song(tmp_path / "Vocals.ogg")
    before = path.read_bytes()
    assert write_tags(path, TAGS, "Vocals") is None
    text = tmp_path / "Text.txt"
    text.write_text("some words")
    assert write_tags(text, TAGS, "Text") is None
    assert (path.read_bytes(), text.read_text()) == (before, "some words")


def test_a_stem_that_cannot_be_parsed_stays_whole_and_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "Vocals.flac"
    path.write_bytes(b"fLaC and then nothing that makes sense")
    told = write_tags(path, TAGS, "Vocals")
    assert told is not None
    assert "tags could not be written" in told
    assert path.read_bytes() == b"fLaC and then nothing that makes sense"
    assert [entry.name for entry in tmp_path.iterdir()] == ["Vocals.flac"]


def test_the_copy_of_a_killed_run_is_taken_away(tmp_path: Path) -> None:
    path = write_song(tmp_path / "Vocals.flac")
    shutil.copy(path, tmp_path / ".Vocals.flac.tags")
    (tmp_path / ".Vocals.flac.tags").write_bytes(b"half")
    assert write_tags(path, TAGS, "Vocals") is None
    assert [entry.name for entry in tmp_path.iterdir()] == ["Vocals.flac"]


def test_a_cover_too_large_for_flac_costs_only_the_cover(tmp_path: Path) -> None:
    path = write_song(tmp_path / "Vocals.flac")
    tags = Tags(TAGS.texts, cover=Cover(PNG + bytes(1 << 24), "image/png"))
    told = write_tags(path, tags, "Vocals")
    assert told is not None
    assert "cover" in told
    found = read_tags(str(path), "flac", cover=True)
    assert dict(found.texts) == {**TAGS.texts, "title": "So What (Vocals)"}
    assert found.cover is None
