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

__all__ = ["LeasedRequests"]

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
    """The blocks of requests that this process may send. `run` leases another one when it is asked for.

    `fixed`: the caller's own limit of requests a minute. `share`: the part of the account's requests that this process
    should use for polls.
    """

    _database: Transactions
    _table: RequestTable
    _availability: Availability
    _fixed: int | None
    share: float = field(default=1.0, init=False)
    processes: int = field(default=1, init=False)
    """How many processes share the requests."""
    _learned: int | None = field(default=None, init=False)
    """The account's limit by the service's headers; `None` until they gave one."""
    _reported: int | None = field(default=None, init=False)
    """The limit that was last written for the other processes."""
    _asked: anyio.Event = field(factory=anyio.Event, init=False)
    """Set when another block is needed."""
    _urgent: bool = field(default=False, init=False)
    """Whether a create or a cancel waits for a request."""
    _changed: anyio.Event = field(factory=anyio.Event, init=False)
    """Set when something more urgent waits than before."""
    _blocks: dict[str, _Block] = field(factory=dict, init=False)
    _expired: dict[str, int] = field(factory=dict, init=False)
    """Expired blocks that were not used up, and how many requests of each were sent."""
    _wake: Callable[[], None] = field(default=lambda: None, init=False)

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
        if not self._asked.is_set() or (priority <= Priority.CANCEL and not self._urgent):
            self._urgent = priority <= Priority.CANCEL
            self._asked.set()
            self._changed.set()
        return False

    def learned(self, limit: int) -> None:
        """Record the account's limit of requests a minute, as the service's headers give it."""
        self._learned = limit

    async def run(self) -> None:
        """Lease requests until cancelled."""
        while True:
            await self._asked.wait()
            urgent, self._changed = self._urgent, anyio.Event()
            until = anyio.current_time() + VALID  # from now, as the database counts from when it receives this
            try:
                block, count, wait = await self._lease(urgent)
            except JournalError as error:
                self._availability.unreachable(error)
                # Without the database, polls continue at an equal share of the rate.
                await anyio.sleep(60 / self._limit * self.processes)
                block, count, wait, until = uuid4().hex, 1, 0.0, anyio.current_time() + VALID
            if count:
                self._asked = anyio.Event()
                self._blocks[block] = _Block(count, until)
                self._wake()
            else:
                with anyio.move_on_after(min(max(wait, _SHORTEST), _LONGEST)):
                    await self._changed.wait()

    @property
    def _limit(self) -> int:
        known = [limit for limit in (self._fixed, self._learned) if limit is not None]
        return min(known, default=DEFAULT_LIMIT)

    async def _lease(self, urgent: bool) -> tuple[str, int, float]:
        limit, block = self._limit, uuid4().hex
        if self._learned not in (None, self._reported):
            await self._database.run(lambda connection: self._table.learned(connection, limit))
            self._reported = self._learned
        self._expire()
        sent, self._expired = self._expired, {}
        count, wait = await self._database.run(
            lambda connection: self._table.lease_requests(
                connection,
                block,
                asked=1 if urgent else max(2, limit // _BLOCKS),
                urgent=urgent,
                limit=limit,
                stated=self._learned is not None or self._fixed is not None,
                valid=VALID,
                sent=sent,
            )
        )
        return block, count, wait

    def _expire(self) -> None:
        now = anyio.current_time()
        for name, block in list(self._blocks.items()):
            if block.until <= now:
                del self._blocks[name]
                self._expired[name] = block.sent
