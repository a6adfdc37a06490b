"""The rate limit, without a clock of its own."""

from __future__ import annotations

import math
from collections import defaultdict, deque
from typing import Literal

from attrs import define, field, frozen


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
