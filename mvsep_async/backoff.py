"""Exponential backoff: how long to wait after so many failures in a row."""

from __future__ import annotations

from attrs import frozen

__all__ = ["Backoff"]

_DOUBLINGS = 30
"""Most doublings: more would overflow, and `longest` is reached long before."""


@frozen
class Backoff:
    """Pauses that begin with `first` seconds and double up to `longest`."""

    first: float
    longest: float

    def pause(self, failures: int) -> float:
        """Return the seconds to wait after that many failures in a row; 0 after none."""
        if failures <= 0:
            return 0.0
        return min(self.longest, self.first * 2.0 ** min(failures - 1, _DOUBLINGS))

    def scaled(self, factor: float) -> Backoff:
        """Return the same backoff with all pauses multiplied by `factor`."""
        return Backoff(self.first * factor, self.longest * factor)
