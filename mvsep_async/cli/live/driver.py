"""Bringing boards to a terminal, or stage changes to a log, without ever holding up the event loop."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final, Protocol

from anyio import to_thread
from attrs import define, field, frozen
from rich.live import Live
from rich.text import Text

from mvsep_async.cli.live.board import Board, Lane
from mvsep_async.cli.live.render import ASCII, UNICODE, Glyphs, render, stage_line
from mvsep_async.cli.terminal import Terminal

__all__ = ["Display", "displayed"]

LIVE_INTERVAL: Final = 0.15
"""Seconds between two pictures: seven a second look smooth and cost little."""
PLAIN_INTERVAL: Final = 0.25
"""Seconds between two looks for new stages where lines are written."""


class Display(Protocol):
    """Where boards go. Writing is done in a thread: a terminal may be held (Ctrl-S) as long as it likes."""

    @property
    def interval(self) -> float:
        """Seconds from one board to the next."""
        ...

    @property
    def glyphs(self) -> Glyphs:
        """The signs that can be shown."""
        ...

    async def show(self, board: Board, changed: list[Lane]) -> None:
        """Show a board; `changed` are the lanes whose stage is a new one."""
        ...

    async def line(self, line: Text) -> None:
        """Write a result, above what moves."""
        ...


@contextmanager
def displayed(terminal: Terminal, *, results: bool) -> Iterator[Display]:
    """Open the display that fits the terminal; `results`: standard output is for lines that people read."""
    glyphs = UNICODE if terminal.unicode else ASCII
    if not terminal.live or (not results and terminal.out.is_terminal):
        yield PlainDisplay(terminal, glyphs)
        return
    live = Live(console=terminal.err, auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False)
    with live:
        yield LiveDisplay(terminal, live, glyphs)


@frozen(eq=False)
class PlainDisplay:
    """A line a stage change, on standard error."""

    _terminal: Terminal
    glyphs: Glyphs = ASCII
    interval: float = PLAIN_INTERVAL

    async def show(self, board: Board, changed: list[Lane]) -> None:
        for lane in changed:
            line = stage_line(lane.name, lane.progress, glyphs=self.glyphs)
            await to_thread.run_sync(self._terminal.note, Text(line))

    async def line(self, line: Text) -> None:
        await to_thread.run_sync(self._terminal.result, line)


@define(eq=False)
class LiveDisplay:
    """The lanes, drawn anew in place."""

    _terminal: Terminal
    _live: Live
    glyphs: Glyphs = UNICODE
    interval: float = field(default=LIVE_INTERVAL)

    async def show(self, board: Board, changed: list[Lane]) -> None:
        size = self._terminal.err.size
        picture = render(board, width=size.width, height=size.height, glyphs=self.glyphs)
        await to_thread.run_sync(partial(self._live.update, picture, refresh=True))

    async def line(self, line: Text) -> None:
        # On one terminal with the display, a line has to go through its console to come out above it.
        shared = self._terminal.out.is_terminal
        await to_thread.run_sync(self._terminal.note if shared else self._terminal.result, line)
