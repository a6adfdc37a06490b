"""The limits of the edge: requests a minute, the speed of the network, pauses in the bodies of requests."""

from __future__ import annotations

import asyncio
import math
import time
from collections import defaultdict, deque
from collections.abc import Callable
from typing import Literal

from attrs import define, field, frozen
from starlette.types import Message, Receive


@frozen
class RateDecision:
    """The decision on one request; `wait` is 0 for an allowed one, else the seconds until one is allowed."""

    limit: int
    remaining: int
    wait: float

    @property
    def allowed(self) -> bool:
        return self.wait <= 0

    @property
    def retry_after(self) -> int:
        """`wait` in whole seconds, rounded up."""
        return max(1, math.ceil(self.wait))


@define
class RateLimiter:
    """Counts allowed requests by key. A refused one does not count (as in the usual PHP throttle)."""

    _passed: defaultdict[str, deque[float]] = field(factory=lambda: defaultdict(deque), init=False)

    def hit(
        self, key: str, now: float, *, limit: int, window: float, kind: Literal["fixed", "sliding"]
    ) -> RateDecision:
        """Decide on, and count, one request of `key` at `now` (seconds of any steady clock)."""
        passed = self._passed[key]
        if kind == "fixed" and passed and now - passed[0] >= window:
            passed.clear()
        while passed and now - passed[0] >= window:
            passed.popleft()
        if len(passed) >= limit:
            return RateDecision(limit, 0, passed[0] + window - now if passed else window)
        passed.append(now)
        return RateDecision(limit, limit - len(passed), 0)


BURST_SECONDS = 0.05
"""How much unused time the link may make up for. Timers wake tasks some milliseconds late: without this, a link of
10 MB/s would carry 9."""


@define
class Link:
    """One direction of a link: a token bucket that serves its callers in order."""

    _free_at: float = -math.inf

    def reserve(self, size: int, rate: float, now: float) -> float:
        """Send `size` bytes at `rate` bytes per second; return the seconds from `now` until the last one is through."""
        self._free_at = max(self._free_at, now - BURST_SECONDS) + size / rate
        return max(0.0, self._free_at - now)


@define(eq=False)
class BodyTimer:
    """Receives the body of one request, and calls `expired` when a piece of it takes longer than `timeout` seconds.

    It has one timer for the whole body: a cancel scope for each piece would make large uploads slower.
    """

    _receive: Receive
    _timeout: float | None
    _expired: Callable[[], None]
    _waiting_since: float | None = field(default=None, init=False)
    _handle: asyncio.TimerHandle | None = field(default=None, init=False)

    async def receive(self) -> Message:
        """Return the next piece of the body."""
        if self._handle is None and self._timeout is not None:
            self._handle = asyncio.get_running_loop().call_later(self._timeout, self._check, self._timeout)
        self._waiting_since = time.monotonic()
        try:
            message = await self._receive()
        finally:
            self._waiting_since = None
        if not message.get("more_body"):
            self.stop()
        return message

    def stop(self) -> None:
        """Stop the timer."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _check(self, timeout: float) -> None:
        waited = 0.0 if self._waiting_since is None else time.monotonic() - self._waiting_since
        if waited >= timeout:
            self._expired()
        else:
            self._handle = asyncio.get_running_loop().call_later(timeout - waited, self._check, timeout)
