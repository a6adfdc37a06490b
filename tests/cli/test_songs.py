from __future__ import annotations

import sys
from pathlib import Path

import anyio
import pytest

from mvsep_async.cli.songs import Songs, audio_in, detect_non_audio
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


def test_audio_by_name(tmp_path: Path) -> None:
    tree(tmp_path)
    assert [path.relative_to(tmp_path).as_posix() for path in audio_in(tmp_path)] == [
        "a.WAV",
        "empty.mp3",
        "page.mp3",
        "b/1.flac",
        "b/2.wav",
        "b/c/3.ogg",
    ]
    assert len(list(audio_in(tmp_path, avoid=tmp_path / "b"))) == 3


async def test_what_only_looks_like_a_song_in_a_folder_is_reported_and_the_rest_goes_on(tmp_path: Path) -> None:
    tree(tmp_path)
    bad: dict[str, str] = {}
    songs = Songs([str(tmp_path)], avoid=None)
    songs.on_bad = lambda source, error: bad.update({Path(source).name: str(error)})
    assert len(await found(songs)) == 4
    assert sorted(bad) == ["empty.mp3", "page.mp3"]
    assert bad["empty.mp3"].endswith("is empty")
    assert bad["page.mp3"].endswith("is no audio but an HTML page")


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_a_loop_of_links_ends(tmp_path: Path) -> None:
    tree(tmp_path)
    (tmp_path / "b" / "loop").symlink_to(tmp_path)
    (tmp_path / "broken.wav").symlink_to(tmp_path / "nothing")
    assert len(list(audio_in(tmp_path))) == 6


def test_impostors(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(wav())
    (tmp_path / "b").write_text("just text")
    (tmp_path / "c").write_bytes(bytes(range(256)))
    assert detect_non_audio(tmp_path / "a") is None
    assert detect_non_audio(tmp_path / "b") == "text"
    assert detect_non_audio(tmp_path / "c") is None
    assert detect_non_audio(tmp_path / "missing") is None


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


async def test_what_cannot_be_separated_is_told(tmp_path: Path) -> None:
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
