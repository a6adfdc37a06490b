"""The requests that a process may send, leased in small blocks from the budget that all processes share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final
from uuid import uuid4

import anyio
from attrs import define, field

from mvsep_async.errors import JournalError
from mvsep_async.http.budget import DEFAULT_LIMIT
from mvsep_async.http.call import Priority
from mvsep_async.postgres.backend import Availability
from mvsep_async.postgres.connection import Transactions
from mvsep_async.postgres.requests import RequestTable

__all__ = ["LeasedRequests", "RequestLeaser"]

VALID: Final = 5.0
"""Seconds for which a leased block may be used. Its requests count for a minute after that: a longer time would
waste the budget, a shorter one would cause more queries."""


_BLOCKS: Final = 30
"""A block for polls is this part of a minute's requests. A larger one would be returned unused, and count against the
other processes until then."""

_SHORTEST: Final = 0.05
_LONGEST: Final = 2.0
"""Seconds until the database is asked again while all requests are leased."""


@define
class _Block:
    """Requests that may be sent until a time."""

    count: int
    until: float
    sent: int = 0


@define(eq=False)
class LeasedRequests:
    """The blocks of requests leased by this process. `asked` is set when another block is needed.

    `share`: the part of the account's requests that this process should use for polls.
    """

    clock: Callable[[], float]
    share: float = 1.0
    limit: int | None = None
    """The account's limit by the service's headers; `None` until they gave one."""
    processes: int = 1
    """How many processes share the requests."""
    asked: anyio.Event = field(factory=anyio.Event)
    urgent: bool = False
    """Whether a create or a cancel waits for a request."""
    changed: anyio.Event = field(factory=anyio.Event)
    """Set when something more urgent waits than before."""
    _blocks: dict[str, _Block] = field(factory=dict)
    _expired: dict[str, int] = field(factory=dict)
    """Expired blocks that were not used up, and how many requests of each were sent."""
    _wake: Callable[[], None] = lambda: None

    def connect(self, wake: Callable[[], None]) -> None:
        """Set the function to call when `take` may succeed again."""
        self._wake = wake

    def take(self, priority: Priority) -> bool:
        """Use one request. Returns `False` if there is none, and asks for another block."""
        self._expire()
        for name, block in self._blocks.items():
            block.sent += 1
            if block.sent == block.count:
                del self._blocks[name]
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
            self._blocks[block] = _Block(count, until)
            self._wake()

    def sent(self) -> dict[str, int]:
        """Return the expired blocks that were not used up, and how many requests of each were sent."""
        self._expire()
        expired, self._expired = self._expired, {}
        return expired

    def _expire(self) -> None:
        now = self.clock()
        for name, block in list(self._blocks.items()):
            if block.until <= now:
                del self._blocks[name]
                self._expired[name] = block.sent


@define(eq=False)
class RequestLeaser:
    """Leases blocks of requests when they are asked for.

    `fixed`: the caller's own limit of requests a minute.
    """

    allowance: LeasedRequests
    database: Transactions
    requests: RequestTable
    fixed: int | None
    availability: Availability
    _reported: int | None = None
    """The limit that was last written for the other processes."""

    async def run(self) -> None:
        """Lease requests until cancelled."""
        allowance = self.allowance
        while True:
            await allowance.asked.wait()
            urgent, allowance.changed = allowance.urgent, anyio.Event()
            until = anyio.current_time() + VALID  # from now, as the database counts from when it receives this
            try:
                block, count, wait = await self._lease(urgent)
            except JournalError as error:
                self.availability.lost(error)
                # Without the database, polls continue at an equal share of the rate.
                await anyio.sleep(60 / self._limit * allowance.processes)
                block, count, wait, until = uuid4().hex, 1, 0.0, anyio.current_time() + VALID
            if count:
                allowance.asked = anyio.Event()
                allowance.leased(block, count, until)
            else:
                with anyio.move_on_after(min(max(wait, _SHORTEST), _LONGEST)):
                    await allowance.changed.wait()

    @property
    def _limit(self) -> int:
        known = [limit for limit in (self.fixed, self.allowance.limit) if limit is not None]
        return min(known, default=DEFAULT_LIMIT)

    async def _lease(self, urgent: bool) -> tuple[str, int, float]:
        limit, block = self._limit, uuid4().hex
        if self.allowance.limit not in (None, self._reported):
            await self.database.run(lambda connection: self.requests.learned(connection, limit))
            self._reported = self.allowance.limit
        sent = self.allowance.sent()
        count, wait = await self.database.run(
            lambda connection: self.requests.lease_requests(
                connection,
                block,
                asked=1 if urgent else max(2, limit // _BLOCKS),
                urgent=urgent,
                limit=limit,
                stated=self.allowance.limit is not None or self.fixed is not None,
                valid=VALID,
                sent=sent,
            )
        )
        return block, count, wait
