"""The sandbox's clock: steady, and it can be moved forward."""

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
        """Return the seconds since the clock was made."""
        return time.monotonic() - self._started + self._ahead

    def epoch(self, moment: float) -> float:
        """Return the date (seconds since 1970) of a moment of this clock."""
        return self._epoch + moment

    def today(self) -> float:
        """Return the present date (seconds since 1970)."""
        return self.epoch(self.now())

    def advance(self, seconds: float) -> None:
        """Move it forward."""
        self._ahead += seconds
