"""Outages: how long the service has failed without a break, and how long to rest between tries."""

from __future__ import annotations

from typing import Final

from attrs import define

from mvsep_async.backoff import Backoff

__all__ = ["Outage"]

_RESTS: Final = Backoff(first=0.5, longest=30.0)
"""Seconds between tries during an outage, our choice: rare enough to be no load, soon enough to lose little."""

_LONGEST_GAP: Final = 300.0
"""Most seconds that count from one failure to the next. Tries are closer than that: during a longer gap nothing was
tried, as while a machine sleeps, whose clock may go on."""


@define
class Outage:
    """One run of failures without a success between them.

    `patience`: seconds after which those who wait get the error; `time_scale`: factor for all rests.
    """

    patience: float
    time_scale: float = 1.0
    rest: float = 0.0
    _lasted: float = 0.0
    _failed_at: float | None = None
    _rested_at: float = 0.0
    _rests: int = 0

    def failed(self, now: float) -> bool:
        """Count a failure; return whether patience is over. Failures during the rest do not make it longer."""
        if self._failed_at is not None:
            self._lasted += min(now - self._failed_at, _LONGEST_GAP)
        if self._failed_at is None or now >= self._rested_at:
            self._rests += 1
            self.rest = _RESTS.scaled(self.time_scale).pause(self._rests)
            self._rested_at = now + self.rest
        self._failed_at = now
        return self._lasted >= self.patience

    def ended(self) -> None:
        """Start again: the service answered."""
        self._failed_at, self._lasted, self.rest, self._rests = None, 0.0, 0.0, 0
