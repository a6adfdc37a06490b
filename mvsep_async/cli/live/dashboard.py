"""Shows one run of a command: its lanes while it lasts, and a line for each result."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Final, TypeAlias

import anyio
from anyio import CancelScope
from attrs import define, evolve, field
from rich.text import Text

from mvsep_async.cli.live.driver import Display, open_display
from mvsep_async.cli.live.lanes import LaneTracker, Snapshot
from mvsep_async.cli.live.render import Glyphs
from mvsep_async.cli.terminal import terminal
from mvsep_async.client import MVSepClient
from mvsep_async.errors import DailyLimitError, MVSepError
from mvsep_async.http.call import Json
from mvsep_async.models.user import User

__all__ = ["Dashboard"]

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
