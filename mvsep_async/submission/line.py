"""Which uploads use the line: one at a time at its full rate, in the order of the queue."""

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
"""Bytes up to which a song neither waits for its turn nor is sent ahead: on most lines it takes no longer than opening
the connection does."""

_NEWEST: Final = 0.3
"""Weight of the last upload in the measured rate: a line changes, and one upload may have been slow by chance."""


@define(order=True)
class UploadTurn:
    """The place of one upload in line, and then its right to use the line until it is released."""

    order: float
    number: int
    job: str = field(order=False)
    size: int = field(order=False)
    began: float = field(default=0.0, order=False)
    admitted: anyio.Event = field(factory=anyio.Event, order=False)


@define(eq=False)
class UploadLine:
    """Gives the line to one upload after another: of ten at a time all would end late, and ten slots stay empty.

    `on_idle` is called when the line has nothing left to send.
    """

    clock: Callable[[], float]
    on_idle: Callable[[], None] = field(default=lambda: None)
    rate: float | None = None
    """Measured bytes per second; `None` before the first upload has ended."""
    _sending: list[UploadTurn] = field(factory=list, init=False)
    _waiting: list[UploadTurn] = field(factory=list, init=False)
    _numbers: count[int] = field(factory=count, init=False)
    width: int = 1
    """Uploads at one time."""

    @property
    def idle(self) -> bool:
        """Whether no upload uses the line or waits for it."""
        return not self._sending and not self._waiting

    @asynccontextmanager
    async def turn(self, job: str, size: int, order: float | None) -> AsyncIterator[UploadTurn]:
        """Wait until `job` may send `size` bytes. The lowest `order` goes first; `None`, without a slot, goes last."""
        turn = UploadTurn(inf if order is None else order, next(self._numbers), job, size)
        insort(self._waiting, turn)
        self._admit()
        try:
            await turn.admitted.wait()
            yield turn
        finally:
            self._end(turn)

    def promote(self, job: str, order: float) -> None:
        """Move a job that waits for its turn ahead, since it has a slot."""
        for turn in self._waiting:
            if turn.job == job:
                self._waiting.remove(turn)
                turn.order = order
                insort(self._waiting, turn)
                return

    def release(self, turn: UploadTurn) -> None:
        """Let the next upload begin: the transport has all that this one may send. Harmless if repeated."""
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
