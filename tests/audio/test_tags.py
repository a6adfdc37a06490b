from __future__ import annotations

from pathlib import Path

import pytest

from mvsep_async.audio.tags import NOTHING, read_tags
from tests.audio.songs import PNG, write_plain_tags, write_song

TEXTS = {
    "title": "Ça va, Дом 家",
    "artist": "Someone",
    "albumartist": "Everyone",
    "album": "All",
    "tracknumber": "3/12",
    "discnumber": "1/2",
    "date": "2001",
    "genre": "Jazz",
}


@pytest.mark.parametrize("suffix", [".mp3", ".wav", ".flac", ".ogg", ".aiff", ".m4a"])
def test_tags_are_the_same_from_every_format(tmp_path: Path, suffix: str) -> None:
    path = write_song(tmp_path / f"song{suffix}", 0.5, **TEXTS)
    tags = read_tags(str(path), suffix[1:])
    assert dict(tags.texts) == TEXTS
    assert tags.seconds == pytest.approx(0.5, abs=0.1)
    assert tags.cover is None


@pytest.mark.parametrize("suffix", [".mp3", ".wav", ".flac", ".m4a"])
def test_the_cover_is_read_when_asked_for(tmp_path: Path, suffix: str) -> None:
    path = write_song(tmp_path / f"song{suffix}")
    write_plain_tags(path, title="x", cover=True)
    assert read_tags(str(path), suffix[1:]).cover is None
    cover = read_tags(str(path), suffix[1:], cover=True).cover
    assert cover is not None
    assert (cover.data, cover.mime) == (PNG, "image/png")


def test_totals_in_comments_of_their_own_are_joined(tmp_path: Path) -> None:
    path = write_song(tmp_path / "song.flac", tracknumber="3")
    import mutagen

    file = mutagen.File(path)
    file["tracktotal"] = "9"
    file.save()
    assert read_tags(str(path), "flac").get("tracknumber") == "3/9"


@pytest.mark.parametrize(
    "content", [b"", b"fLaC", b"fLaC\xff\xff\xff\xff" * 20, b"RIFF\0\0\0\0WAVE", b"ID3\xff\xff\xff\xff"]
)
@pytest.mark.parametrize("kind", ["flac", "wav", "mp3", "m4a", "ogg", "aiff"])
def test_damaged_files_say_nothing(tmp_path: Path, content: bytes, kind: str) -> None:
    path = tmp_path / "song"
    path.write_bytes(content)
    tags = read_tags(str(path), kind)
    assert (dict(tags.texts), tags.seconds) == ({}, None)


def test_a_vanished_file_says_nothing(tmp_path: Path) -> None:
    assert read_tags(str(tmp_path / "gone.mp3"), "mp3") == NOTHING


@pytest.mark.parametrize("length", [0xFFFFFFFF, 0x7FFFFFFF])
def test_a_wav_that_was_streamed_is_as_long_as_its_file(tmp_path: Path, length: int) -> None:
    """The program that wrote it did not know the length yet."""
    path = write_song(tmp_path / "song.wav", 0.5)
    content = bytearray(path.read_bytes())
    content[4:8] = content[40:44] = length.to_bytes(4, "little")
    path.write_bytes(content)
    assert read_tags(str(path), "wav").seconds == pytest.approx(0.5, abs=0.01)
