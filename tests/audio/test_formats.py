from __future__ import annotations

from pathlib import Path

import pytest

from mvsep_async.audio.formats import (
    HEAD,
    Rejected,
    classify_file,
    detect_format,
    find_mpeg_audio,
    is_never_audio,
)
from tests.audio.songs import write_song


@pytest.mark.parametrize("suffix", [".mp3", ".wav", ".flac", ".ogg", ".aiff", ".m4a"])
def test_every_format_is_known_by_its_content(tmp_path: Path, suffix: str) -> None:
    head = write_song(tmp_path / f"song{suffix}").read_bytes()[:HEAD]
    assert classify_file(f"song{suffix}", head) == suffix[1:]
    assert classify_file("song.MP3", head) == suffix[1:], "the name is of another format"


@pytest.mark.parametrize("suffix", [".mp3", ".wav", ".flac", ".ogg", ".aiff", ".m4a"])
def test_a_song_without_a_telling_name_is_found_all_the_same(tmp_path: Path, suffix: str) -> None:
    head = write_song(tmp_path / f"song{suffix}").read_bytes()[:HEAD]
    if suffix == ".mp3":
        head = b"ID3" + head
    assert classify_file("song", head) == classify_file("song.xyz", head) == suffix[1:]


@pytest.mark.parametrize(
    ("name", "head", "why"),
    [
        ("a.mp3", b"", "is empty"),
        ("a.mp3", b"Dear diary,\n", "is text"),
        ("a.flac", b"<html><body>busy</body></html>", "is text"),
        ("a.wav", b"PK\x03\x04....", "is zip"),
        ("a.wav", bytes(range(200, 256)) * 4, "no known audio format"),
        ("a.ape", b"MAC \x96\x0f", "does not accept .ape"),
    ],
)
def test_what_only_looks_like_a_song_is_reported(name: str, head: bytes, why: str) -> None:
    verdict = classify_file(name, head)
    assert isinstance(verdict, Rejected)
    assert why in verdict.reason


@pytest.mark.parametrize(
    ("name", "head"),
    [("notes", b"some text"), ("utf16", b"\xff\xfea\0b\0"), ("blob.bin", b"\xff\xfb\x90\x00" * 9), ("empty", b"")],
)
def test_what_does_not_look_like_a_song_is_passed_over(name: str, head: bytes) -> None:
    assert classify_file(name, head) is None


@pytest.mark.parametrize(
    "name", [".hidden.mp3", "._song.mp3", "cover.JPG", "film.mkv", "list.m3u8", "list.m3u", "a.b.tiff"]
)
def test_some_files_are_not_even_opened(name: str) -> None:
    assert is_never_audio(name)


@pytest.mark.parametrize("name", ["a.mp3", "jpg", "mp4", "a.mp3.xyz", "a.opus", "a.mkva"])
def test_all_others_are_opened(name: str) -> None:
    assert not is_never_audio(name)


@pytest.mark.parametrize("rate", range(13))
@pytest.mark.parametrize("second", [0xF0, 0xF1, 0xF8, 0xF9])
def test_aac_frames_of_every_rate(rate: int, second: int) -> None:
    head = bytes([0xFF, second, 0x40 | rate << 2, 0x80])
    assert detect_format(head) == classify_file("a.aac", head) == "aac"


@pytest.mark.parametrize(
    ("header", "length"),
    [
        ("fffb9064", 417),  # version 1, layer III, 128 kbit/s, 44.1 kHz
        ("fff350c0", 130),  # version 2, layer III, 40 kbit/s, 22.05 kHz
        ("fffda000", 626),  # version 1, layer II, 192 kbit/s, 44.1 kHz
        ("fff15080010000", 8),  # ADTS of 8 bytes
    ],
)
def test_mpeg_audio_behind_junk(header: str, length: int) -> None:
    frame = bytes.fromhex(header)
    frame += bytes(length - len(frame))
    found = find_mpeg_audio(b"junk \xff\xfb\x90 junk" + frame * 4)
    assert found == ("aac" if header.startswith("fff15") else "mp3")
    assert find_mpeg_audio(bytes(100) + frame * 2) is None
