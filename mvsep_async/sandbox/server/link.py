"""A shared network link: how long bytes take that all connections together send through it."""

from __future__ import annotations

import math

from attrs import define


@define
class Link:
    """One direction of a link. Bytes pass one after another, in the order in which they were reserved."""

    _free_at: float = -math.inf

    def reserve(self, size: int, rate: float, now: float) -> float:
        """Send `size` bytes at `rate` bytes per second; return the seconds from `now` until the last one is through."""
        self._free_at = max(self._free_at, now) + size / rate
        return self._free_at - now
