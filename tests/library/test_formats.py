from __future__ import annotations

from pathlib import Path

import pytest

from mvsep_async.library.formats import ENOUGH, Wrong, detect_format, never_audio
from tests.library.conftest import write_song


@pytest.mark.parametrize("suffix", [".mp3", ".wav", ".flac", ".ogg", ".aiff", ".m4a"])
def test_every_format_is_known_by_its_content(tmp_path: Path, suffix: str) -> None:
    head = write_song(tmp_path / f"song{suffix}").read_bytes()[:ENOUGH]
    assert detect_format(f"song{suffix}", head) == suffix[1:]
    assert detect_format("song.MP3", head) == suffix[1:], "the name is of another format"


@pytest.mark.parametrize("suffix", [".mp3", ".wav", ".flac", ".ogg", ".aiff", ".m4a"])
def test_a_song_without_a_telling_name_is_found_all_the_same(tmp_path: Path, suffix: str) -> None:
    head = write_song(tmp_path / f"song{suffix}").read_bytes()[:ENOUGH]
    if suffix == ".mp3":
        head = b"ID3" + head
    assert detect_format("song", head) == detect_format("song.xyz", head) == suffix[1:]


@pytest.mark.parametrize(
    ("name", "head", "why"),
    [
        ("a.mp3", b"", "is empty"),
        ("a.mp3", b"Dear diary,\n", "is text"),
        ("a.flac", b"<html><body>busy</body></html>", "is text"),
        ("a.wav", b"PK\x03\x04....", "is zip"),
        ("a.wav", bytes(range(200, 256)) * 4, "no audio format"),
        ("a.ape", b"MAC \x96\x0f", "does not take .ape"),
    ],
)
def test_what_only_looks_like_a_song_is_told(name: str, head: bytes, why: str) -> None:
    verdict = detect_format(name, head)
    assert isinstance(verdict, Wrong)
    assert why in verdict.why


@pytest.mark.parametrize(
    ("name", "head"),
    [("notes", b"some text"), ("utf16", b"\xff\xfea\0b\0"), ("blob.bin", b"\xff\xfb\x90\x00" * 9), ("empty", b"")],
)
def test_what_does_not_look_like_a_song_is_passed_over(name: str, head: bytes) -> None:
    assert detect_format(name, head) is None


@pytest.mark.parametrize(
    "name", [".hidden.mp3", "._song.mp3", "cover.JPG", "film.mkv", "list.m3u8", "list.m3u", "a.b.tiff"]
)
def test_some_files_are_not_even_opened(name: str) -> None:
    assert never_audio(name)


@pytest.mark.parametrize("name", ["a.mp3", "jpg", "mp4", "a.mp3.xyz", "a.opus", "a.mkva"])
def test_all_others_are_opened(name: str) -> None:
    assert not never_audio(name)
