"""The requests that a process may send, leased in small blocks from the budget that all processes share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import anyio
from attrs import define, field

from mvsep_async.http.call import Priority

__all__ = ["LeasedRequests"]

VALID: Final = 5.0
"""Seconds for which a leased block may be used. It counts for a minute after that: more would waste the budget, less
would ask the database more often."""


@define(eq=False)
class LeasedRequests:
    """Blocks of requests in the hands of this process. `asked` is set when another block is needed.

    `share`: the part of the account's requests that this process should use for polls.
    """

    clock: Callable[[], float]
    share: float = 1.0
    limit: int | None = None
    """The account's limit that the service's headers gave, if it is not reported yet."""
    asked: anyio.Event = field(factory=anyio.Event)
    urgent: bool = False
    """Whether a create or a cancel waits for a request."""
    changed: anyio.Event = field(factory=anyio.Event)
    """Set when something more urgent waits than before."""
    _blocks: dict[str, tuple[int, float]] = field(factory=dict)
    """How many requests are left of each block, and until when."""
    _expired: dict[str, int] = field(factory=dict)
    _wake: Callable[[], None] = lambda: None

    def connect(self, wake: Callable[[], None]) -> None:
        """Set the function to call when `take` may succeed again."""
        self._wake = wake

    def take(self, priority: Priority) -> bool:
        """Use one request; `False` if there is none, and one is being asked for."""
        self._expire()
        for block, (left, until) in self._blocks.items():
            self._blocks[block] = left - 1, until
            if left == 1:
                del self._blocks[block]
            return True
        if not self.asked.is_set() or (priority <= Priority.CANCEL and not self.urgent):
            self.urgent = priority <= Priority.CANCEL
            self.asked.set()
            self.changed.set()
        return False

    def learned(self, limit: int) -> None:
        """Record the account's limit of requests a minute, as the service's headers give it."""
        self.limit = limit

    def leased(self, block: str, count: int, until: float) -> None:
        """Add a block of requests that may be used until this time."""
        if count:
            self._blocks[block] = count, until
            self._wake()

    def unused(self) -> dict[str, int]:
        """Return the requests of expired blocks that were not used, to give them back."""
        self._expire()
        expired, self._expired = self._expired, {}
        return expired

    def _expire(self) -> None:
        now = self.clock()
        for block, (left, until) in list(self._blocks.items()):
            if until <= now:
                del self._blocks[block]
                self._expired[block] = left
