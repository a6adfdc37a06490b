"""For the tests of those who use this package: a client that does not wait."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from mvsep_async.pace import default_poll_interval

__all__ = ["no_waiting"]

_INSTANT: Final = 0.01
"""Seconds: a sandbox on this machine answers within it."""


@contextmanager
def no_waiting() -> Iterator[None]:
    """Make clients that are created in this block look, back off and retry a few hundred times faster.

    Nothing else about them changes: what they decide, and in which order, stays as it is. A client with a
    `poll_interval` of its own keeps it. Made for a sandbox; the real service would answer with 429.
    """
    token = default_poll_interval.set(_INSTANT)
    try:
        yield
    finally:
        default_poll_interval.reset(token)
