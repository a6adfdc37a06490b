"""How fast the client lives: all its pauses are in proportion to the poll interval."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Final

__all__ = ["POLL_INTERVAL", "default_poll_interval", "pace_of"]

POLL_INTERVAL: Final = 2.0
"""Seconds, the fastest that one job is looked at: separations take minutes, so faster would only cost requests."""

default_poll_interval: ContextVar[float] = ContextVar("default_poll_interval", default=POLL_INTERVAL)
"""What a client is made with that names no interval; tests make it small (`mvsep_async.testing.no_waiting`)."""


def pace_of(poll_interval: float) -> float:
    """Return what pauses are multiplied by: 1 at the default interval, less below it, never more."""
    return min(1.0, poll_interval / POLL_INTERVAL)
