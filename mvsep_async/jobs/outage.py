"""How long the service has not been answering sensibly, without a break, and how long to rest between tries."""

from __future__ import annotations

from typing import Final

from attrs import define

__all__ = ["Outage"]

_FIRST_REST: Final = 0.5
_LONGEST_REST: Final = 30.0
"""Seconds between tries while the service is down: rare enough to be no load, often enough to lose little."""

_LONGEST_GAP: Final = 300.0
"""Most seconds that count from one failure to the next. Tries are closer than that: in a longer gap nobody asked, as
while a machine sleeps, whose clock may go on."""


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

    def failed(self, now: float) -> bool:
        """Note a failure; tell whether patience is at its end."""
        if self._failed_at is not None:
            self._lasted += min(now - self._failed_at, _LONGEST_GAP)
        self._failed_at = now
        self.rest = min(max(_FIRST_REST * self.time_scale, 2 * self.rest), _LONGEST_REST * self.time_scale)
        return self._lasted >= self.patience

    def ended(self) -> None:
        """Note that the service answered."""
        self._failed_at, self._lasted, self.rest = None, 0.0, 0.0
