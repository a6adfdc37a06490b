"""Writes boards to a terminal, or stage changes to a log, without blocking the event loop."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from anyio import to_thread
from attrs import define, field
from rich.console import ConsoleRenderable, RenderHook
from rich.control import Control
from rich.segment import ControlType
from rich.text import Text

from mvsep_async.cli.live.board import Board, Lane
from mvsep_async.cli.live.render import ASCII, UNICODE, Glyphs, render, stage_line
from mvsep_async.cli.terminal import Terminal
from mvsep_async.cli.text import visible

__all__ = ["Display", "LiveDisplay", "folded_rows", "open_display", "reflows"]

LIVE_INTERVAL: Final = 0.15
"""Seconds between two frames."""
PLAIN_INTERVAL: Final = 0.25
"""Seconds between two looks for changed stages where lines are written."""


@contextmanager
def open_display(terminal: Terminal) -> Iterator[Display]:
    """Open the display that fits the terminal."""
    glyphs = UNICODE if terminal.unicode else ASCII
    if terminal.quiet or not terminal.live or (terminal.json and terminal.out.is_terminal):
        yield Display(terminal, glyphs)
        return
    display = LiveDisplay(terminal, glyphs, LIVE_INTERVAL, reflows=reflows())
    terminal.err.push_render_hook(display)
    try:
        yield display
    finally:
        terminal.err.pop_render_hook()
        display.close()


@define(eq=False)
class Display:
    """Writes a line for each change of a stage to standard error.

    Writing is done in a thread: a terminal may block for any time (Ctrl-S). `interval`: seconds from one board to the
    next.
    """

    _terminal: Terminal
    glyphs: Glyphs = ASCII
    interval: float = PLAIN_INTERVAL
    _notice: str | None = field(default=None, init=False)

    @property
    def width(self) -> int | None:
        """Columns for a result, `None` where results do not go to a terminal."""
        return self._terminal.out.width if self._terminal.out.is_terminal else None

    async def show(self, board: Board, changed: list[Lane]) -> None:
        """Show a board; `changed`: the lanes whose stage changed."""
        if self._terminal.quiet:
            return
        if board.notice is not None and board.notice != self._notice:
            await to_thread.run_sync(self._terminal.note, visible(board.notice))
        self._notice = board.notice
        for lane in changed:
            await to_thread.run_sync(self._terminal.note, Text(stage_line(lane)))

    async def line(self, line: Text) -> None:
        """Write a result."""
        await to_thread.run_sync(self._terminal.result, line)


@define(eq=False)
class LiveDisplay(Display, RenderHook):
    """Redraws the lanes in place, below all that is printed to standard error, while the command is in the foreground.

    `reflows`: the terminal folds the rows that it shows when it becomes narrower, and they take more room.
    """

    reflows: bool = field(default=True, kw_only=True)
    _picture: Text = field(factory=Text, init=False)
    _shown: list[int] = field(factory=list, init=False)
    """Columns of each row that is shown."""
    _cursor_hidden: bool = field(default=False, init=False)

    async def show(self, board: Board, changed: list[Lane]) -> None:
        """Draw a board."""
        size = self._terminal.err.size
        self._picture = render(board, width=size.width, height=size.height, glyphs=self.glyphs)
        await to_thread.run_sync(self._draw)

    async def line(self, line: Text) -> None:
        """Write a result, above the lanes."""
        # Where both streams are one terminal, a line has to go through the display's console to come out above them.
        shared = self._terminal.out.is_terminal
        await to_thread.run_sync(self._terminal.note if shared else self._terminal.result, line)

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        """Return what is printed, in the place of the lanes, and the lanes below it; rich calls this."""
        if not self._in_foreground():
            return renderables
        erased = self._erased()
        self._shown = [min(line.cell_len, self._terminal.err.width) for line in self._picture.split()]
        return [erased, *renderables, self._picture]

    def close(self) -> None:
        """Erase the lanes."""
        if self._in_foreground():
            self._terminal.err.control(self._erased())
            if self._cursor_hidden:
                self._terminal.err.show_cursor(True)

    def _draw(self) -> None:
        if self._in_foreground():
            self._cursor_hidden = self._cursor_hidden or self._terminal.err.show_cursor(False)
            self._terminal.err.print(Control())

    def _in_foreground(self) -> bool:
        """Tell whether lanes may be drawn: the shell, or another command, has the terminal of one in the background."""
        try:
            if os.tcgetpgrp(self._terminal.err.file.fileno()) == os.getpgrp():
                return True
        except (AttributeError, OSError):  # Windows, or a terminal that does not control the process
            return True
        self._shown = []  # others write over it meanwhile
        return False

    def _erased(self) -> Control:
        """Return what erases the rows that are shown, with those by which they grew if the terminal became narrower."""
        rows = len(self._shown) + (folded_rows(self._shown, self._terminal.err.width) if self.reflows else 0)
        erase = (ControlType.ERASE_IN_LINE, 2)
        above = (ControlType.CURSOR_UP, 1)
        return Control(ControlType.CARRIAGE_RETURN, erase, *(above, erase) * (rows - 1)) if rows else Control()


def folded_rows(widths: Iterable[int], width: int) -> int:
    """Return how many more rows lines of these widths take in a terminal of `width` columns."""
    return sum((columns - 1) // max(width, 1) for columns in widths if columns)


def reflows(environ: Mapping[str, str] = os.environ) -> bool:
    """Tell whether the terminal folds the rows that it shows when it becomes narrower: most do, xterm does not."""
    if "TMUX" in environ:
        return True
    return "XTERM_VERSION" not in environ and "STY" not in environ and environ.get("TERM") != "linux"
