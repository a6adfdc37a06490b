"""Helpers for tests of applications that use this package: a client that does not wait.

Importing this loads nothing else of the package, so that the pytest plugin costs nothing until a fixture is used.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from mvsep_async.client import MVSepClient
    from mvsep_async.sandbox import Sandbox

__all__ = ["no_waiting", "sandbox_client"]

_INSTANT: Final = 0.01
"""Seconds: a sandbox on this machine answers within it."""


@contextmanager
def no_waiting() -> Iterator[None]:
    """Make clients that are created in this block poll, back off and retry a few hundred times faster.

    Nothing else about them changes: what they decide, and in which order, stays as it is. A client with a
    `poll_interval` of its own keeps it. Made for a sandbox; the real service would answer with 429.
    """
    from mvsep_async.config import default_poll_interval

    token = default_poll_interval.set(_INSTANT)
    try:
        yield
    finally:
        default_poll_interval.reset(token)


def sandbox_client(sandbox: Sandbox) -> MVSepClient:
    """Return a client of the sandbox's premium account that does not wait; it is not open yet."""
    from mvsep_async.client import MVSepClient

    with no_waiting():
        return MVSepClient(sandbox.premium_token, base_url=sandbox.url)
