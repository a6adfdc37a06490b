"""The rate limit, without a clock of its own."""

from __future__ import annotations

import math
from collections import deque
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

    _fixed: dict[str, tuple[float, int]] = field(factory=dict, init=False)
    _sliding: dict[str, deque[float]] = field(factory=dict, init=False)

    def hit(
        self, key: str, now: float, *, limit: int, window: float, kind: Literal["fixed", "sliding"]
    ) -> RateDecision:
        """Decide on, and count, one request of `key` at `now` (seconds of any steady clock)."""
        count = self._hit_fixed if kind == "fixed" else self._hit_sliding
        return count(key, now, limit, window)

    def _hit_fixed(self, key: str, now: float, limit: int, window: float) -> RateDecision:
        start, used = self._fixed.get(key, (now, 0))
        if now - start >= window:
            start, used = now, 0
        if used >= limit:
            return RateDecision(limit, 0, start + window - now)
        self._fixed[key] = (start, used + 1)
        return RateDecision(limit, limit - used - 1, 0)

    def _hit_sliding(self, key: str, now: float, limit: int, window: float) -> RateDecision:
        passed = self._sliding.setdefault(key, deque())
        while passed and now - passed[0] >= window:
            passed.popleft()
        if len(passed) >= limit:
            return RateDecision(limit, 0, passed[0] + window - now if passed else window)
        passed.append(now)
        return RateDecision(limit, limit - len(passed), 0)

    def clear(self) -> None:
        """Forget all requests."""
        self._fixed.clear()
        self._sliding.clear()
