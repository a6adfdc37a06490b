"""Writes boards to a terminal, or stage changes to a log, without blocking the event loop."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final, Protocol

from anyio import to_thread
from attrs import define, frozen
from rich.live import Live
from rich.text import Text

from mvsep_async.cli.live.board import Board, Lane
from mvsep_async.cli.live.render import ASCII, UNICODE, Glyphs, render, stage_line
from mvsep_async.cli.terminal import Terminal
from mvsep_async.cli.text import visible

__all__ = ["Display", "open_display"]

LIVE_INTERVAL: Final = 0.15
"""Seconds between two frames."""
PLAIN_INTERVAL: Final = 0.25
"""Seconds between two looks for changed stages where lines are written."""


class Display(Protocol):
    """Where boards go. Writing is done in a thread: a terminal may block for any time (Ctrl-S)."""

    @property
    def interval(self) -> float:
        """Seconds from one board to the next."""
        ...

    @property
    def glyphs(self) -> Glyphs:
        """The signs that can be shown."""
        ...

    @property
    def width(self) -> int | None:
        """Columns for a result, `None` where results do not go to a terminal."""
        ...

    async def show(self, board: Board, changed: list[Lane]) -> None:
        """Show a board; `changed`: the lanes whose stage changed."""
        ...

    async def line(self, line: Text) -> None:
        """Write a result, above the lanes."""
        ...


@contextmanager
def open_display(terminal: Terminal, *, results: bool) -> Iterator[Display]:
    """Open the display that fits the terminal. `results`: standard output gets lines for people, not JSON."""
    glyphs = UNICODE if terminal.unicode else ASCII
    if terminal.quiet or not terminal.live or (not results and terminal.out.is_terminal):
        yield PlainDisplay(terminal, glyphs)
        return
    live = Live(console=terminal.err, auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False)
    with live:
        yield LiveDisplay(terminal, live, glyphs)


@define(eq=False)
class PlainDisplay:
    """Writes a line for each change of a stage to standard error."""

    _terminal: Terminal
    glyphs: Glyphs = ASCII
    interval: float = PLAIN_INTERVAL
    _notice: str | None = None

    @property
    def width(self) -> int | None:
        return self._terminal.out.width if self._terminal.out.is_terminal else None

    async def show(self, board: Board, changed: list[Lane]) -> None:
        if self._terminal.quiet:
            return
        if board.notice is not None and board.notice != self._notice:
            await to_thread.run_sync(self._terminal.note, visible(board.notice))
        self._notice = board.notice
        for lane in changed:
            await to_thread.run_sync(self._terminal.note, Text(stage_line(lane.name, lane.progress)))

    async def line(self, line: Text) -> None:
        await to_thread.run_sync(self._terminal.result, line)


@frozen(eq=False)
class LiveDisplay:
    """Redraws the lanes in place."""

    _terminal: Terminal
    _live: Live
    glyphs: Glyphs = UNICODE
    interval: float = LIVE_INTERVAL

    @property
    def width(self) -> int | None:
        return self._terminal.out.width if self._terminal.out.is_terminal else None

    async def show(self, board: Board, changed: list[Lane]) -> None:
        size = self._terminal.err.size
        picture = render(board, width=size.width, height=size.height, glyphs=self.glyphs)
        await to_thread.run_sync(partial(self._live.update, picture, refresh=True))

    async def line(self, line: Text) -> None:
        # Where both streams are one terminal, a line has to go through the display's console to come out above it.
        shared = self._terminal.out.is_terminal
        await to_thread.run_sync(self._terminal.note if shared else self._terminal.result, line)
