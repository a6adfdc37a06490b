"""How long the service has not been answering sensibly, without a break, and how long to rest between tries."""

from __future__ import annotations

from typing import Final

from attrs import define

__all__ = ["Outage"]

_FIRST_REST: Final = 0.5
_LONGEST_REST: Final = 30.0
"""Seconds between tries while the service is down: rare enough to be no load, often enough to lose little."""


@define
class Outage:
    """One run of failures. `patience`: seconds until whoever waits is told; `pace`: what rests are multiplied by."""

    patience: float
    pace: float = 1.0
    rest: float = 0.0
    _since: float | None = None

    def failed(self, now: float) -> bool:
        """Note a failure; tell whether patience is at its end."""
        if self._since is None:
            self._since = now
        self.rest = min(max(_FIRST_REST * self.pace, 2 * self.rest), _LONGEST_REST * self.pace)
        return now - self._since >= self.patience

    def ended(self) -> None:
        """Note that the service answered."""
        self._since, self.rest = None, 0.0
