"""Outages: how long the service has failed without a success, and how long to pause between tries."""

from __future__ import annotations

from typing import Final

from attrs import define

from mvsep_async.backoff import Backoff

__all__ = ["Outage"]

_RESTS: Final = Backoff(first=0.5, longest=30.0)
"""Seconds between tries during an outage: a compromise between load on the service and lost time."""

_LONGEST_GAP: Final = 300.0
"""Most seconds that count from one failure to the next. Tries are closer together, so a longer gap means that nothing
was tried, for example because the machine was asleep."""


@define
class Outage:
    """Counts consecutive failures.

    `patience`: seconds of failure after which the waiting jobs fail; `time_scale`: factor for all pauses.
    """

    patience: float
    time_scale: float = 1.0
    rest: float = 0.0
    _lasted: float = 0.0
    _failed_at: float | None = None
    _rested_at: float = 0.0
    _rests: int = 0

    def failed(self, now: float) -> bool:
        """Count a failure; return whether `patience` is exceeded. Failures during a pause do not lengthen it."""
        if self._failed_at is not None:
            self._lasted += min(now - self._failed_at, _LONGEST_GAP)
        if self._failed_at is None or now >= self._rested_at:
            self._rests += 1
            self.rest = _RESTS.scaled(self.time_scale).pause(self._rests)
            self._rested_at = now + self.rest
        self._failed_at = now
        return self._lasted >= self.patience

    def ended(self) -> None:
        """Reset after a success."""
        self._failed_at, self._lasted, self.rest, self._rests = None, 0.0, 0.0, 0
