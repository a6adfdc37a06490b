"""A shared network link: how long bytes take that all connections together send through it."""

from __future__ import annotations

import math

from attrs import define

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
