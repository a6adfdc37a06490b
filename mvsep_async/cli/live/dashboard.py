"""Shows one run of a command: its lanes while it lasts, and a line for each result, without blocking the event loop."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Final, TypeAlias

import anyio
from anyio import CancelScope, to_thread
from attrs import define, evolve, field
from rich.console import ConsoleRenderable, RenderHook
from rich.control import Control
from rich.segment import ControlType
from rich.text import Text

from mvsep_async.cli.live.board import Board, Lane
from mvsep_async.cli.live.lanes import LaneTracker, Snapshot
from mvsep_async.cli.live.render import ASCII, UNICODE, Glyphs, render, stage_line
from mvsep_async.cli.terminal import Terminal, terminal
from mvsep_async.cli.text import visible
from mvsep_async.client import MVSepClient
from mvsep_async.errors import DailyLimitError, MVSepError
from mvsep_async.http.call import Json
from mvsep_async.models.user import User

__all__ = ["Dashboard", "Display", "LiveDisplay", "folded_rows", "open_display", "reflows"]

LIVE_INTERVAL: Final = 0.15
"""Seconds between two frames."""
PLAIN_INTERVAL: Final = 0.25
"""Seconds between two looks for changed stages where lines are written."""

_ACCOUNT: Final = 20.0
"""Seconds between two requests for the account, whose credits are shown, until the client has asked for it itself."""

_SHARE: Final = 20
"""Drawing may take one part in so many of the time: with very many jobs there are fewer frames."""

_Line: TypeAlias = "Callable[[Glyphs, int | None], Text] | Mapping[str, Json]"


@define(eq=False)
class Dashboard:
    """The display of one run. It is made with the run's title."""

    tracker: LaneTracker = field(converter=LaneTracker)
    _lines: deque[_Line] = field(factory=deque)
    _user: User | None = None

    def write(self, line: _Line) -> None:
        """Write a result soon: a line for people, or a document for programs."""
        self._lines.append(line)

    @asynccontextmanager
    async def shown(self, client: MVSepClient, snapshot: Callable[[], Snapshot]) -> AsyncIterator[None]:
        """Draw `snapshot()` again and again while the block runs, then write the lines that are left."""
        with open_display(terminal()) as display:
            try:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._draw, client, display, snapshot)
                    tasks.start_soon(self._refresh_account, client)
                    yield
                    tasks.cancel_scope.cancel()
            finally:
                with CancelScope(shield=True):  # what happened is reported, also when the run is cancelled just then
                    await self._flush(display)

    async def _draw(self, client: MVSepClient, display: Display, snapshot: Callable[[], Snapshot]) -> None:
        while True:
            began = time.monotonic()
            board, changed = self.tracker.update(self._completed(client, snapshot()))
            spent = time.monotonic() - began
            await self._flush(display)
            await display.show(board, changed)
            await anyio.sleep(max(display.interval, _SHARE * spent))

    async def _flush(self, display: Display) -> None:
        while self._lines:
            line = self._lines[0]
            if isinstance(line, Mapping):
                terminal().document(dict(line))
            else:
                await display.line(line(display.glyphs, display.width))
            self._lines.popleft()  # only after it was written: writing may be cancelled

    def _completed(self, client: MVSepClient, snapshot: Snapshot) -> Snapshot:
        """Add the credits that are left, and why no song is sent."""
        user = client.user or self._user
        notice = None if client.paused_by is None else snapshot.notice or _notice(client.paused_by)
        return evolve(snapshot, credits=None if user is None else user.premium_minutes, notice=notice)

    async def _refresh_account(self, client: MVSepClient) -> None:
        while client.user is None:  # later the client's own polls show the credits
            with suppress(MVSepError):  # the credits are a courtesy: a run does not fail without them
                self._user = await client.account.user()
            await anyio.sleep(_ACCOUNT)


def _notice(error: MVSepError) -> str:
    if isinstance(error, DailyLimitError):
        return "the free separations of today are used up: the run continues by itself when the service allows more"
    return f"waiting: {' '.join(error.message.split())}"


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
