"""The minute: how many requests may still come, decided without a clock of its own."""

from __future__ import annotations

import math
from collections import deque
from typing import Literal

from attrs import define, field, frozen


@frozen
class Verdict:
    """What a request is told about the limit; `wait` is 0 for one that may pass, else seconds until one may."""

    limit: int
    remaining: int
    wait: float

    @property
    def allowed(self) -> bool:
        return self.wait <= 0

    @property
    def retry_after(self) -> int:
        """Whole seconds, never too few."""
        return max(1, math.ceil(self.wait))


@define
class RateLimiter:
    """Counts what passed, per key. A refused request does not count (as the usual PHP throttle has it)."""

    _fixed: dict[str, tuple[float, int]] = field(factory=dict, init=False)
    _sliding: dict[str, deque[float]] = field(factory=dict, init=False)

    def hit(self, key: str, now: float, *, limit: int, window: float, kind: Literal["fixed", "sliding"]) -> Verdict:
        """Count one request of `key` at `now` (seconds of any steady clock)."""
        count = self._hit_fixed if kind == "fixed" else self._hit_sliding
        return count(key, now, limit, window)

    def _hit_fixed(self, key: str, now: float, limit: int, window: float) -> Verdict:
        start, used = self._fixed.get(key, (now, 0))
        if now - start >= window:
            start, used = now, 0
        if used >= limit:
            return Verdict(limit, 0, start + window - now)
        self._fixed[key] = (start, used + 1)
        return Verdict(limit, limit - used - 1, 0)

    def _hit_sliding(self, key: str, now: float, limit: int, window: float) -> Verdict:
        passed = self._sliding.setdefault(key, deque())
        while passed and now - passed[0] >= window:
            passed.popleft()
        if len(passed) >= limit:
            return Verdict(limit, 0, passed[0] + window - now if passed else window)
        passed.append(now)
        return Verdict(limit, limit - len(passed), 0)

    def clear(self) -> None:
        """Forget all that passed."""
        self._fixed.clear()
        self._sliding.clear()
