"""Writes boards to a terminal, or stage changes to a log, without blocking the event loop."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final, Protocol

from anyio import to_thread
from attrs import define, field
from rich.control import Control
from rich.live import Live
from rich.segment import ControlType
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
        yield LiveDisplay(terminal, live, glyphs, reflows=reflows())


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


@define(eq=False)
class LiveDisplay:
    """Redraws the lanes in place.

    `reflows`: the terminal folds the rows that it shows when it becomes narrower, and they take more room.
    """

    _terminal: Terminal
    _live: Live
    glyphs: Glyphs = UNICODE
    interval: float = LIVE_INTERVAL
    reflows: bool = True
    _widths: list[int] = field(factory=list)
    """Columns of each row that is shown."""

    @property
    def width(self) -> int | None:
        return self._terminal.out.width if self._terminal.out.is_terminal else None

    async def show(self, board: Board, changed: list[Lane]) -> None:
        size = self._terminal.err.size
        picture = render(board, width=size.width, height=size.height, glyphs=self.glyphs)
        await to_thread.run_sync(self._draw, picture, size.width)

    async def line(self, line: Text) -> None:
        # Where both streams are one terminal, a line has to go through the display's console to come out above it.
        shared = self._terminal.out.is_terminal
        await to_thread.run_sync(self._write if shared else self._terminal.result, line)

    def _draw(self, picture: Text, width: int) -> None:
        self._erase_folded(width)
        self._live.update(picture, refresh=True)
        self._widths = [line.cell_len for line in picture.split()]

    def _write(self, line: Text) -> None:
        width = self._terminal.err.width
        self._erase_folded(width)
        self._terminal.note(line)
        self._widths = [min(columns, width) for columns in self._widths]

    def _erase_folded(self, width: int) -> None:
        """Erase the rows by which the display grew when the terminal became narrower: rich erases only the others."""
        rows = folded_rows(self._widths, width) if self.reflows else 0
        if rows:
            erase = ((ControlType.ERASE_IN_LINE, 2), (ControlType.CURSOR_UP, 1))
            self._terminal.err.control(Control(*erase * rows))


def folded_rows(widths: Iterable[int], width: int) -> int:
    """Return how many more rows lines of these widths take in a terminal of `width` columns."""
    return sum((columns - 1) // max(width, 1) for columns in widths if columns)


def reflows(environ: Mapping[str, str] = os.environ) -> bool:
    """Tell whether the terminal folds the rows that it shows when it becomes narrower: most do, xterm does not."""
    if "TMUX" in environ:
        return True
    return "XTERM_VERSION" not in environ and "STY" not in environ and environ.get("TERM") != "linux"
