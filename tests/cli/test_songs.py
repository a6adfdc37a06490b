from __future__ import annotations

import sys
from pathlib import Path

import anyio
import pytest

from mvsep_async.cli.songs import Songs
from mvsep_async.errors import InvalidRequestError
from tests.conftest import wav


async def found(songs: Songs) -> list[str]:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(songs.search)
        return [song async for song in songs]


def tree(root: Path) -> None:
    for name in ("b/2.wav", "b/1.flac", "a.WAV", ".hidden.wav", ".git/x.wav", "b/c/3.ogg"):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(wav())
    (root / "notes.txt").write_text("words")
    (root / "page.mp3").write_text("<!doctype html><title>504</title>")
    (root / "empty.mp3").touch()


async def test_the_songs_of_a_folder_and_not_those_of_the_output(tmp_path: Path) -> None:
    tree(tmp_path)
    songs = await found(Songs([str(tmp_path)]))
    assert [Path(song).relative_to(tmp_path).as_posix() for song in songs] == [
        "a.WAV",
        "b/1.flac",
        "b/2.wav",
        "b/c/3.ogg",
    ]
    assert len(await found(Songs([str(tmp_path)], exclude=tmp_path / "b"))) == 1


async def test_what_only_looks_like_a_song_in_a_folder_is_reported_and_the_rest_continues(tmp_path: Path) -> None:
    tree(tmp_path)
    bad: dict[str, str] = {}
    songs = Songs([str(tmp_path)], exclude=None)
    songs.on_bad = lambda source, error: bad.update({Path(source).name: str(error)})
    assert len(await found(songs)) == 4
    assert sorted(bad) == ["empty.mp3", "page.mp3"]
    assert bad["empty.mp3"].endswith("is empty")
    assert bad["page.mp3"].endswith("is text, not audio, whatever its name says")


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
async def test_a_link_to_a_song_that_is_found_anyway_is_no_failure(tmp_path: Path) -> None:
    tree(tmp_path)
    (tmp_path / "b" / "loop").symlink_to(tmp_path)
    (tmp_path / "again.wav").symlink_to(tmp_path / "a.WAV")
    (tmp_path / "broken.wav").symlink_to(tmp_path / "nothing")
    bad: list[str] = []
    songs = Songs([str(tmp_path)], on_bad=lambda source, error: bad.append(Path(source).name))
    assert len(await found(songs)) == 4
    assert sorted(bad) == ["broken.wav", "empty.mp3", "page.mp3"]


async def test_each_song_once_in_the_order_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree(tmp_path)
    monkeypatch.chdir(tmp_path)
    songs = Songs(["https://x.test/a.mp3", "b/2.wav", "b", "https://x.test/a.mp3", "gone.wav"])
    assert await found(songs) == [
        "https://x.test/a.mp3",
        "b/2.wav",
        str(Path("b", "1.flac")),
        str(Path("b", "c", "3.ogg")),
        "gone.wav",
    ]
    assert (songs.found, songs.taken, songs.left, songs.complete) == (5, 5, 0, True)


async def test_what_cannot_be_separated_is_reported(tmp_path: Path) -> None:
    told: dict[str, InvalidRequestError] = {}
    (tmp_path / "text.mp3").write_text("words")
    (tmp_path / "folder").mkdir()
    given = [str(tmp_path / "text.mp3"), str(tmp_path / "folder")]
    assert await found(Songs(given, told.__setitem__)) == []
    assert list(told) == given


async def test_songs_are_counted_while_none_is_taken(tmp_path: Path) -> None:
    for number in range(500):
        (tmp_path / f"{number}.wav").write_bytes(b"RIFF....WAVE")
    songs = Songs([str(tmp_path)])
    await songs.search()
    assert (songs.left, songs.complete) == (500, True)
