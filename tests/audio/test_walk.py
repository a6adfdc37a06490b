from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from mvsep_async.audio.walk import AudioFile, SkippedFile, rejection, walk
from mvsep_async.errors import InvalidRequestError
from mvsep_async.library.run import check_folders
from tests.audio.songs import write_song

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="needs links")


def names(source: Path, target: Path | None = None) -> list[str]:
    return [item.name for item in walk(source, exclude=target) if isinstance(item, AudioFile)]


def troubles(source: Path) -> dict[str, str]:
    return {Path(item.path).name: item.reason for item in walk(source) if isinstance(item, SkippedFile)}


def test_songs_come_folder_by_folder_in_the_order_of_names(music: Path) -> None:
    for name in ("b.wav", "a.flac", "z/1.mp3", "c/d/2.ogg", "c/1.wav", "c/cover.jpg"):
        write_song(music / name)
    assert names(music) == ["a.flac", "b.wav", "c/1.wav", "c/d/2.ogg", "z/1.mp3"]


def test_a_song_is_reported_with_its_size_time_and_format(music: Path) -> None:
    path = write_song(music / "one.flac")
    (found,) = [item for item in walk(music) if isinstance(item, AudioFile)]
    entry = path.stat()
    assert found == AudioFile(str(path), "one.flac", entry.st_size, entry.st_mtime_ns, "flac")


def test_what_cannot_be_taken_is_reported_and_the_rest_continues(music: Path) -> None:
    (music / "text.mp3").write_text("Not a song at all.")
    (music / "zero.wav").touch()
    write_song(music / "song.wav")
    assert names(music) == ["song.wav"]
    assert {name: why.split(",")[0] for name, why in troubles(music).items()} == {
        "text.mp3": "is text",
        "zero.wav": "is empty",
    }


def test_the_target_is_never_entered_nor_are_hidden_folders(music: Path) -> None:
    write_song(music / "song.wav")
    write_song(music / "Stems" / "song" / "Vocals.wav")
    write_song(music / ".trash" / "old.wav")
    assert names(music, music / "Stems") == ["song.wav"]


@POSIX
def test_a_target_behind_a_link_is_not_entered_either(music: Path, tmp_path: Path) -> None:
    stems = tmp_path / "Stems"
    write_song(stems / "Vocals.wav")
    (music / "link").symlink_to(stems, target_is_directory=True)
    album = write_song(stems / "Album" / "Vocals.wav")
    (music / "album").symlink_to(album.parent, target_is_directory=True)
    (music / "voice.wav").symlink_to(album)
    assert names(music, stems) == []


@POSIX
def test_loops_of_links_end(music: Path, tmp_path: Path) -> None:
    write_song(music / "a" / "song.wav")
    (music / "a" / "up").symlink_to(music, target_is_directory=True)
    (music / "a" / "self").symlink_to(music / "a" / "self")
    (music / "above").symlink_to(tmp_path, target_is_directory=True)
    outside = tmp_path / "Outside"
    write_song(outside / "more.wav")
    (outside / "round").symlink_to(outside, target_is_directory=True)
    (outside / "back").symlink_to(music, target_is_directory=True)
    (music / "out").symlink_to(outside, target_is_directory=True)
    (music / "out again").symlink_to(outside, target_is_directory=True)
    assert names(music) == ["a/song.wav", "out/more.wav"]
    assert {"up", "self", "above"} <= set(troubles(music))


@POSIX
def test_a_link_to_a_song_of_the_library_is_not_a_second_song(music: Path, tmp_path: Path) -> None:
    song = write_song(music / "album" / "song.wav")
    (music / "favourite.wav").symlink_to(song)
    other = write_song(tmp_path / "elsewhere.wav")
    (music / "guest.wav").symlink_to(other)
    (music / "lost.wav").symlink_to(tmp_path / "nothing.wav")
    assert names(music) == ["guest.wav", "album/song.wav"]
    assert set(troubles(music)) == {"favourite.wav", "lost.wav"}


@POSIX
@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_reported(music: Path) -> None:
    write_song(music / "secret.wav").chmod(0)
    (music / "closed").mkdir(mode=0)
    try:
        assert set(troubles(music)) == {"secret.wav", "closed"}
    finally:
        (music / "closed").chmod(0o700)


@POSIX
def test_a_pipe_does_not_hold_it_up(music: Path) -> None:
    os.mkfifo(music / "pipe.wav")
    write_song(music / "song.wav")
    assert names(music) == ["song.wav"]


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="needs names that are no text")
def test_names_that_are_no_text_are_kept_as_they_are(music: Path) -> None:
    song = write_song(music / "x.wav")
    song.rename(music / os.fsdecode(b"caf\xe9.wav"))
    (found,) = [item for item in walk(music) if isinstance(item, AudioFile)]
    assert os.fsencode(found.name) == b"caf\xe9.wav"
    assert Path(found.path).stat().st_size == found.size


def test_a_deep_tree_needs_no_recursion(music: Path) -> None:
    folder = music
    for _ in range(300):
        folder /= "d"
    write_song(folder / "deep.wav")
    assert names(music) == ["d/" * 300 + "deep.wav"]


def test_folders_that_cannot_be_are_refused(music: Path, tmp_path: Path) -> None:
    file = write_song(tmp_path / "song.wav")
    for source, target, why in (
        (tmp_path / "none", tmp_path / "out", "does not exist"),
        (file, tmp_path / "out", "is not a folder"),
        (music, file, "is a file"),
        (music, music, "is the target"),
        (music, tmp_path, "lies in it"),
    ):
        with pytest.raises(InvalidRequestError, match=why):
            check_folders(source, target)
    check_folders(music, music / "Stems")
    check_folders(music, tmp_path / "Stems" / "not there yet")


def test_a_file_that_was_named_itself_may_be_of_an_unknown_kind_but_not_text(tmp_path: Path) -> None:
    write_song(tmp_path / "song.wav")
    (tmp_path / "notes").write_text("just text")
    (tmp_path / "data").write_bytes(bytes(range(256)))
    (tmp_path / "film.mp4").write_bytes(b"\0\0\0\x20ftypisom")
    (tmp_path / "tape.wma").write_bytes(b"0&\xb2\x75")
    (tmp_path / "empty.wav").touch()
    reasons = {name: rejection(tmp_path / name) for name in ("song.wav", "data", "film.mp4", "empty.wav", "missing")}
    assert set(reasons.values()) == {None}
    assert rejection(tmp_path / "notes") == "is text, not audio"
    assert "does not accept .wma" in (rejection(tmp_path / "tape.wma") or "")


def test_mpeg_audio_behind_other_data_is_found_where_the_name_promises_it(music: Path) -> None:
    frames = (b"\xff\xfb\x90\x64" + bytes(413)) * 4
    (music / "tagged.mp3").write_bytes(b"APETAGEX" + bytes(3000) + frames)
    (music / "blob").write_bytes(bytes(3000) + frames)
    (music / "noise.mp3").write_bytes(bytes(5000))
    assert names(music) == ["tagged.mp3"]
    assert troubles(music) == {"noise.mp3": "is of no known audio format"}
