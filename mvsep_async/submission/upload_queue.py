"""Queue uploads: one runs at a time, or two where that is faster, in the order of the jobs."""

from __future__ import annotations

from bisect import insort
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from math import inf
from typing import Final

import anyio
from attrs import define, field

__all__ = ["SMALL", "UploadConcurrency", "UploadQueue", "UploadTurn"]

SMALL: Final = 256 * 1024
"""Bytes up to which a song neither waits for its turn nor is sent ahead: uploading it takes about as long as opening a
connection."""

_NEWEST: Final = 0.3
"""Weight of the latest upload in the measured rate: rates change, but one upload may have been slow by chance."""

_GAIN: Final = 1.2
"""How much faster two uploads together must be than one to be worth it: with one, the first song is complete sooner."""

_TRY_EVERY: Final = 16
"""Uploads between two trials of the other number: a trial delays one song by the time of one upload."""

_TRY_WITH: Final = 4
"""Fewest waiting uploads for a trial of the other number: some of them have to benefit from what is learned."""


@define
class UploadConcurrency:
    """Learns from measured rates whether one upload fills the line or two at one time send more bytes per second.

    One connection may not fill the line where the server is far away or packets are lost.
    """

    best: int = 1
    _rates: dict[int, float] = field(factory=dict)
    """Total bytes per second by the number of uploads at one time."""
    _measured: int = 0
    """Uploads measured since the last trial."""

    def next(self, waiting: int) -> int:
        """Return how many uploads may run at one time while `waiting` wait: `best`, or the other number as a trial."""
        due = len(self._rates) < 2 or self._measured >= _TRY_EVERY
        return 3 - self.best if due and self.best in self._rates and waiting >= _TRY_WITH else self.best

    def measured(self, count: int, rate: float) -> None:
        """Record the total bytes per second of `count` uploads at one time, and choose the best after a trial."""
        if count == self.best:
            known = self._rates.get(count, rate)
            self._rates[count] = known + _NEWEST * (rate - known)
            self._measured += 1
        elif self.best in self._rates:
            self._rates[count] = rate
            self._measured = 0
            self.best = 2 if self._rates[2] >= _GAIN * self._rates[1] else 1


@define(eq=False)
class UploadTurn:
    """The turn of one upload: it waits until `admitted` is set, then uploads until it is released."""

    order: float
    job: str
    size: int
    began: float = 0.0
    share_began: float = 0.0
    admitted: anyio.Event = field(factory=anyio.Event)


@define(eq=False)
class UploadQueue:
    """Admits uploads in turn. Ten at once would all end late, and leave ten slots empty until then.

    `on_idle` is called when no upload runs or waits.
    """

    clock: Callable[[], float]
    on_idle: Callable[[], None] = lambda: None
    rate: float | None = None
    """Measured bytes per second of all uploads together; `None` until the first one has ended."""
    _sending: list[UploadTurn] = field(factory=list, init=False)
    _waiting: list[UploadTurn] = field(factory=list, init=False)
    _concurrency: UploadConcurrency = field(factory=UploadConcurrency)
    _allowed: int = field(default=1, init=False)
    """Uploads at one time since the line was last free: a trial begins with all its uploads at once."""
    _share: float = field(default=0.0, init=False)
    """Seconds of sending that one upload has had if the uploads share the line equally."""
    _share_at: float = field(default=0.0, init=False)

    @property
    def idle(self) -> bool:
        """Whether no upload runs or waits."""
        return not self._sending and not self._waiting

    @asynccontextmanager
    async def turn(self, job: str, size: int, order: float | None) -> AsyncIterator[UploadTurn]:
        """Wait until `job` may send `size` bytes. The lowest `order` goes first, `None` (no slot yet) last."""
        turn = UploadTurn(inf if order is None else order, job, size)
        self._wait(turn)
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
                self._wait(turn)
                return

    def _wait(self, turn: UploadTurn) -> None:
        insort(self._waiting, turn, key=lambda waiting: waiting.order)

    def release(self, turn: UploadTurn) -> None:
        """End a turn, since all bytes that may be sent are sent, and admit the next upload; idempotent."""
        if turn not in self._sending:
            return
        self._count_share()
        share = self._share - turn.share_began
        if share > 0:
            rate = turn.size / share
            self.rate = rate if self.rate is None else self.rate + _NEWEST * (rate - self.rate)
            together = (self.clock() - turn.began) / share
            if abs(together - round(together)) < 0.1:  # else it was alone for a part of the time
                self._concurrency.measured(round(together), rate)
        self._end(turn)

    def _end(self, turn: UploadTurn) -> None:
        for turns in (self._sending, self._waiting):
            if turn in turns:
                self._count_share()
                turns.remove(turn)
                self._admit()
                if self.idle:
                    self.on_idle()

    def _admit(self) -> None:
        self._count_share()
        count = self._concurrency.next(len(self._waiting))
        if not self._sending:
            self._allowed = count
        while self._waiting and len(self._sending) < min(count, self._allowed):
            turn = self._waiting.pop(0)
            turn.began, turn.share_began = self.clock(), self._share
            self._sending.append(turn)
            turn.admitted.set()

    def _count_share(self) -> None:
        now = self.clock()
        if self._sending:
            self._share += (now - self._share_at) / len(self._sending)
        self._share_at = now
