"""The sandbox's own time: steady, and it can be put forward."""

from __future__ import annotations

import time

from attrs import define, field


@define
class Clock:
    """Seconds since the clock was made, and the dates they stand for."""

    _started: float = field(factory=time.monotonic, init=False)
    _epoch: float = field(factory=time.time, init=False)
    _ahead: float = field(default=0.0, init=False)

    def now(self) -> float:
        return time.monotonic() - self._started + self._ahead

    def epoch(self, moment: float) -> float:
        """The date (seconds since 1970) of a moment of this clock."""
        return self._epoch + moment

    def advance(self, seconds: float) -> None:
        """Put it forward: what takes time is that much further."""
        self._ahead += seconds
