"""How fast the client lives: at a sandbox, all its pauses are in proportion to the poll interval."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Final

__all__ = ["POLL_INTERVAL", "default_poll_interval", "pace_of"]

POLL_INTERVAL: Final = 2.0
"""Seconds, the fastest that one job is looked at: separations take minutes, so faster would only cost requests."""

default_poll_interval: ContextVar[float] = ContextVar("default_poll_interval", default=POLL_INTERVAL)
"""What a client is made with that names no interval; tests make it small (`mvsep_async.testing.no_waiting`)."""


def pace_of(poll_interval: float, *, local: bool) -> float:
    """Return what pauses are multiplied by: 1, and less for a service on this machine that is looked at more often.

    Only there: what the pauses are for at the real service, above all the time that it may need to show an accepted
    job, does not shrink because somebody wants to see progress sooner.
    """
    return min(1.0, poll_interval / POLL_INTERVAL) if local else 1.0
