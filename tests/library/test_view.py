"""The display of a library run, without a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import pytest
from attrs import define, field
from rich.text import Text

from mvsep_async import MVSepClient, Stage
from mvsep_async.cli.library_run import LibraryRun
from mvsep_async.cli.live import dashboard
from mvsep_async.cli.live.board import Board, Lane
from mvsep_async.cli.live.lanes import LaneTracker
from mvsep_async.cli.live.render import ASCII, Glyphs
from mvsep_async.cli.terminal import Terminal, open_terminal
from mvsep_async.library import EventKind, LibraryEvent, LibraryResult, Tally
from mvsep_async.sandbox import Sandbox
from tests.audio.songs import write_song
from tests.conftest import NewClient


@define(eq=False)
class _SlowDisplay:
    """A display that takes a moment for each line, in which it can be stopped."""

    interval: float = 0.0
    glyphs: Glyphs = ASCII
    width: int | None = None
    lines: list[str] = field(factory=list)
    busy: anyio.Event = field(factory=anyio.Event)

    async def show(self, board: Board, changed: list[Lane]) -> None:
        pass

    async def line(self, line: Text) -> None:
        self.busy.set()
        await anyio.sleep(0.001)
        self.lines.append(line.plain)


async def test_a_run_that_is_over_while_lines_are_written_loses_none(monkeypatch: pytest.MonkeyPatch) -> None:
    display = _SlowDisplay()

    @contextmanager
    def displayed(terminal: Terminal) -> Iterator[_SlowDisplay]:
        yield display

    monkeypatch.setattr(dashboard, "open_display", displayed)
    view = LibraryRun(title="", source=Path("Music"))
    names = [f"text {number}.mp3" for number in range(9)]

    async def run() -> LibraryResult:
        for name in names:
            view.receive(LibraryEvent(kind=EventKind.NOTICE, tally=Tally(), path=Path(name), message="is text"))
        await display.busy.wait()
        return LibraryResult(tally=Tally(), dry_run=True)

    with open_terminal():
        async with MVSepClient("a-token-of-no-use", base_url="http://127.0.0.1:9", concurrency=1) as client:
            await view.follow(client, run)
    assert display.lines == [f"- {name} is text" for name in names]


async def test_the_ways_of_a_song_are_distinguished_where_there_are_several(
    held: Sandbox, client_of: NewClient, music: Path
) -> None:
    song = write_song(music / "one.wav")
    async with client_of(held) as client:
        job = await client.submit(song, algorithm=40)
        async for progress in job:
            if progress.stage is Stage.WAITING:
                break
        for several, name in ((False, "one"), (True, "one, BS Roformer")):
            view = LibraryRun(title="", source=music, several=several)
            seen = {"path": song, "method": "BS Roformer", "step": "BS Roformer", "job": job, "progress": job.progress}
            view.receive(LibraryEvent(kind=EventKind.PROGRESS, tally=Tally(), **seen))
            assert [lane.name for lane in LaneTracker().update(view.snapshot(client))[0].lanes] == [name]


async def test_what_is_queued_is_reported_as_soon_as_songs_are_counted() -> None:
    async with MVSepClient("a-token-of-no-use", base_url="http://127.0.0.1:9", concurrency=1) as client:
        view = LibraryRun(title="", source=Path("Music"))
        for ahead, searching, queued in ((None, True, 2), (100, False, 96)):
            tally = Tally(found=8, up_to_date=2, separated=3, failed=1, total=ahead)
            with open_terminal():
                view.receive(LibraryEvent(kind=EventKind.SEPARATED, tally=tally))
            board = LaneTracker().update(view.snapshot(client))[0]
            assert (board.searching, board.queued) == (searching, queued)


async def test_a_song_that_waits_for_its_download_is_not_counted_as_queued(
    held: Sandbox, client_of: NewClient, music: Path
) -> None:
    song = write_song(music / "one.wav")
    async with client_of(held) as client:
        job = await client.submit(song, algorithm=40)
        async for progress in job:
            if progress.stage is Stage.WAITING and job.hash is not None:
                held.finish(job.hash)
        view = LibraryRun(title="", source=music)
        seen = {"path": song, "method": "A", "step": "A", "job": job, "progress": job.progress}
        view.receive(LibraryEvent(kind=EventKind.PROGRESS, tally=Tally(found=2, total=2), **seen))
        board = LaneTracker().update(view.snapshot(client))[0]
        (lane,) = board.lanes
        assert (lane.progress.stage, board.queued) == (Stage.DONE, 1)
        assert lane.progress.fraction == 0.9


async def test_the_display_leaves_the_account_to_the_polls_of_the_client(
    held: Sandbox, client_of: NewClient, music: Path
) -> None:
    async with client_of(held) as client:
        await client.submit(write_song(music / "one.wav"), algorithm=40)
        with anyio.fail_after(30):
            while client.user is None:
                await anyio.sleep(0.01)
            await dashboard.Dashboard("")._refresh_account(client)
