"""Songs whose files change while a run lasts."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mvsep_async.library import EventKind, LibraryEvent, reader, separate_library
from mvsep_async.library.manifest import Manifest
from mvsep_async.library.run import MANIFEST
from mvsep_async.sandbox import Sandbox
from tests.audio.songs import write_plain_tags, write_song
from tests.conftest import NewClient


@pytest.fixture
def stems(tmp_path: Path) -> Path:
    return tmp_path / "Stems"


async def test_a_song_that_is_still_written_waits_and_is_sent_whole(
    sandbox: Sandbox, client_of: NewClient, music: Path, stems: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = write_song(music / "a.wav", 0.5).read_bytes()
    (music / "a.wav").write_bytes(whole[:3000])
    write_song(music / "b.wav")
    writes = [4000, 5000, len(whole)]
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        if writes and seconds:
            (music / "a.wav").write_bytes(whole[: writes.pop(0)])

    monkeypatch.setattr(reader, "pause", sleep)
    async with client_of(sandbox) as client:
        result = await separate_library(client, music, stems, algorithms=40, stems=["Vocals"])
    assert (result.tally.separated, len(sandbox.jobs)) == (2, 2)
    assert (stems / "a" / "Vocals.mp3").read_bytes() == whole
    assert writes == []
    assert all(0 <= seconds <= 2 for seconds in waits)


async def test_a_song_that_is_written_without_end_is_skipped_by_name(
    sandbox: Sandbox, client_of: NewClient, music: Path, stems: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    song = write_song(music / "a.wav", 0.5)
    write_song(music / "b.wav")
    song.write_bytes(song.read_bytes())

    async def sleep(seconds: float) -> None:
        with song.open("ab") as file:
            file.write(b"more")

    monkeypatch.setattr(reader, "pause", sleep)
    monkeypatch.setattr(reader, "_PATIENCE", 0.0)
    async with client_of(sandbox) as client:
        result = await separate_library(client, music, stems, algorithms=40)
    assert (result.tally.separated, result.tally.skipped, result.complete) == (1, 1, False)
    assert [(notice.path.name, notice.reason.partition(":")[0]) for notice in result.notices] == [
        ("a.wav", "is still being written")
    ]


@pytest.mark.parametrize("retagged", [True, False])
async def test_the_manifest_holds_what_was_sent_and_not_what_was_planned(
    sandbox: Sandbox, client_of: NewClient, music: Path, stems: Path, retagged: bool
) -> None:
    for name in ("a.wav", "b.wav"):
        write_song(music / name)

    def change(event: LibraryEvent) -> None:
        if event.kind is EventKind.STARTED and event.path is not None and event.path.name == "a.wav":
            if retagged:
                write_plain_tags(music / "b.wav", title="x")
            else:
                write_song(music / "b.wav", 0.7)
            os.utime(music / "b.wav", ns=(10**18, 10**18))

    async with client_of(sandbox) as client:
        result = await separate_library(client, music, stems, algorithms=40, stems=["Vocals"], on_event=change)
    assert (result.tally.separated, len(sandbox.jobs)) == (2, 2)
    assert (stems / "b" / "Vocals.mp3").read_bytes() == (music / "b.wav").read_bytes()
    manifest = Manifest.open(stems / MANIFEST)
    known = {song.source: song for song in manifest.songs()}
    manifest.close()
    assert (known["b.wav"].size, known["b.wav"].mtime_ns) == ((music / "b.wav").stat().st_size, 10**18)
    async with client_of(sandbox) as client:
        again = await separate_library(client, music, stems, algorithms=40, stems=["Vocals"])
    assert (again.tally.up_to_date, again.tally.followed, len(sandbox.jobs)) == (2, 0, 2)
