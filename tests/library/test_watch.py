from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from mvsep_async.errors import ConfigurationError
from mvsep_async.library import LibraryResult, Tally, watch, watch_library
from mvsep_async.sandbox import Sandbox
from tests.audio.songs import write_song
from tests.conftest import NewClient


async def test_songs_that_come_are_separated_and_renamed_ones_followed(
    sandbox: Sandbox, client_of: NewClient, music: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("watchfiles")
    monkeypatch.setattr(watch, "_DEBOUNCE", 100)
    write_song(music / "one.wav")
    send, receive = anyio.create_memory_object_stream[LibraryResult](100)

    async def until(condition: Callable[[Tally], bool]) -> None:
        while not condition((await receive.receive()).tally):
            pass

    stems = music / "Stems"
    async with client_of(sandbox) as client, anyio.create_task_group() as tasks, send, receive:
        tasks.start_soon(
            lambda: watch_library(client, music, stems, algorithms=40, stems=["Vocals"], on_result=send.send_nowait)
        )
        await until(lambda tally: tally.separated == 1)
        (music / "notes.txt").write_text("not a song")
        write_song(music / "Album" / "two.wav")
        await until(lambda tally: (tally.separated, tally.up_to_date) == (1, 1))
        (music / "Album").rename(music / "Record")
        await until(lambda tally: tally.followed == 1)
        tasks.cancel_scope.cancel()
    assert len(sandbox.jobs) == 2
    assert (stems / "Record" / "two" / "Vocals.mp3").exists()


async def test_without_watchfiles_it_is_said_how_to_get_it(
    sandbox: Sandbox, client_of: NewClient, music: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "watchfiles", None)
    async with client_of(sandbox) as client:
        with pytest.raises(ConfigurationError, match=r"mvsep-async\[watch\]"):
            await watch_library(client, music, tmp_path / "Stems", algorithms=40)
