"""The order of uploads: one at a time at the full rate of the connection, in the order of the queue."""

from __future__ import annotations

from bisect import insort
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import count
from math import inf
from typing import Final

import anyio
from attrs import define, field

__all__ = ["SMALL", "UploadLine", "UploadTurn"]

SMALL: Final = 256 * 1024
"""Bytes up to which a song neither waits for its turn nor is sent ahead: uploading it takes about as long as opening a
connection."""

_NEWEST: Final = 0.3
"""Weight of the latest upload in the measured rate: rates change, but one upload may have been slow by chance."""


@define(order=True)
class UploadTurn:
    """The turn of one upload: it waits until `admitted` is set, then uploads until it is released."""

    order: float
    number: int
    job: str = field(order=False)
    size: int = field(order=False)
    began: float = field(default=0.0, order=False)
    admitted: anyio.Event = field(factory=anyio.Event, order=False)


@define(eq=False)
class UploadLine:
    """Runs uploads one after the other. Ten at once would all end late, and leave ten slots empty until then.

    `on_idle` is called when no upload runs or waits.
    """

    clock: Callable[[], float]
    on_idle: Callable[[], None] = field(default=lambda: None)
    rate: float | None = None
    """Measured bytes per second; `None` until the first upload has ended."""
    _sending: list[UploadTurn] = field(factory=list, init=False)
    _waiting: list[UploadTurn] = field(factory=list, init=False)
    _numbers: count[int] = field(factory=count, init=False)
    width: int = 1
    """Uploads at one time."""

    @property
    def idle(self) -> bool:
        """Whether no upload runs or waits."""
        return not self._sending and not self._waiting

    @asynccontextmanager
    async def turn(self, job: str, size: int, order: float | None) -> AsyncIterator[UploadTurn]:
        """Wait until `job` may send `size` bytes. The lowest `order` goes first, `None` (no slot yet) last."""
        turn = UploadTurn(inf if order is None else order, next(self._numbers), job, size)
        insort(self._waiting, turn)
        self._admit()
        try:
            await turn.admitted.wait()
            yield turn
        finally:
            self._end(turn)

    def promote(self, job: str, order: float) -> None:
        """Change the order of a waiting upload whose job has got a slot."""
        for turn in self._waiting:
            if turn.job == job:
                self._waiting.remove(turn)
                turn.order = order
                insort(self._waiting, turn)
                return

    def release(self, turn: UploadTurn) -> None:
        """End a turn, since all bytes that may be sent are sent, and admit the next upload; idempotent."""
        if turn not in self._sending:
            return
        seconds = self.clock() - turn.began
        if seconds > 0:
            rate = turn.size / seconds
            self.rate = rate if self.rate is None else self.rate + _NEWEST * (rate - self.rate)
        self._end(turn)

    def _end(self, turn: UploadTurn) -> None:
        for turns in (self._sending, self._waiting):
            if turn in turns:
                turns.remove(turn)
                self._admit()
                if self.idle:
                    self.on_idle()

    def _admit(self) -> None:
        while self._waiting and len(self._sending) < self.width:
            turn = self._waiting.pop(0)
            turn.began = self.clock()
            self._sending.append(turn)
            turn.admitted.set()
