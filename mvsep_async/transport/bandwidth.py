"""The bandwidth of transfers: the highest rate of all together, and the lowest of a single one."""

from __future__ import annotations

from typing import Final

import anyio
from attrs import define, field

__all__ = ["Bandwidth", "MinimumRate", "TokenBucket"]

_STEP: Final = 0.1
"""Seconds of the allowed rate that one piece may have: small enough that the line is shared evenly."""

_LARGEST: Final = 64 * 1024
_SMALLEST: Final = 1024

_TICK: Final = 0.01
"""Seconds between two checks of a download that waits for uploads."""


@define
class TokenBucket:
    """Bytes that may be sent or received: `rate` more each second, and never more than `capacity` at once."""

    rate: float
    capacity: float
    _left: float = field(default=0.0, init=False)
    _at: float | None = field(default=None, init=False)

    def wait(self, now: float) -> float:
        """Return the seconds until something may be spent; 0 means now."""
        if self._at is None:
            self._left = self.capacity
        else:
            self._left = min(self.capacity, self._left + (now - self._at) * self.rate)
        self._at = now
        return 0.0 if self._left > 0 else (1.0 - self._left) / self.rate  # one byte more, against rounding

    def spend(self, size: int) -> None:
        """Take `size` bytes, even if fewer are left: the next caller waits longer then."""
        self._left -= size


@define(eq=False)
class Bandwidth:
    """One limit in bytes per second for all uploads and downloads together; uploads go first.

    An upload keeps a slot of the account waiting, a download keeps nothing waiting.
    """

    rate: float
    _bucket: TokenBucket = field(init=False)
    _uploads: int = field(default=0, init=False)
    """Uploads that wait for their next piece."""
    _upload_lane: anyio.Lock = field(factory=anyio.Lock, init=False)
    _download_lane: anyio.Lock = field(factory=anyio.Lock, init=False)

    def __attrs_post_init__(self) -> None:
        self._bucket = TokenBucket(self.rate, capacity=self.piece)

    @property
    def piece(self) -> int:
        """The most bytes to move at once."""
        return int(min(_LARGEST, max(_SMALLEST, self.rate * _STEP)))

    async def before_sending(self, size: int) -> None:
        """Wait until `size` bytes of an upload, at most `piece`, may be sent."""
        self._uploads += 1
        try:
            async with self._upload_lane:
                while wait := self._bucket.wait(anyio.current_time()):  # noqa: ASYNC110 it is time that is waited for
                    await anyio.sleep(wait)
                self._bucket.spend(size)
        finally:
            self._uploads -= 1

    async def after_receiving(self, size: int) -> None:
        """Count `size` bytes of a download, and wait until more of them may be read."""
        self._bucket.spend(size)
        async with self._download_lane:
            while (wait := self._bucket.wait(anyio.current_time())) or self._uploads:  # noqa: ASYNC110
                await anyio.sleep(max(wait, _TICK))


@define
class MinimumRate:
    """Detects a slow transfer: fewer than `rate` bytes per second over `window` seconds."""

    rate: float = 1024.0
    window: float = 30.0
    _size: int = field(default=0, init=False)
    _seconds: float = field(default=0.0, init=False)

    def count(self, size: int, seconds: float) -> bool:
        """Count bytes that were waited for so long, and return whether the transfer is fast enough."""
        self._size += size
        self._seconds += seconds
        if self._seconds < self.window:
            return True
        fast = self._size >= self.rate * self._seconds
        self._size, self._seconds = 0, 0.0
        return fast
