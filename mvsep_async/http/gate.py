"""The rate limiter of all calls: the budget with a clock, and a queue by priority."""

from __future__ import annotations

import heapq
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from itertools import count
from typing import Protocol

import anyio
from attrs import define, field

from mvsep_async.http.budget import Budget
from mvsep_async.http.call import Priority
from mvsep_async.http.rate_headers import limit_of, remaining_of

__all__ = ["Allowance", "Gate", "Pass"]


class Allowance(Protocol):
    """The requests that one of several clients of an account may send."""

    @property
    def share(self) -> float:
        """The part of the account's requests that this client should use for polls."""
        ...

    def connect(self, wake: Callable[[], None]) -> None:
        """Set the function to call when `take` may succeed again."""
        ...

    def take(self, priority: Priority) -> bool:
        """Use one request of this priority. If none is left, return `False` and ask for more."""
        ...

    def learned(self, limit: int) -> None:
        """Report the account's limit of requests a minute, as the service's headers give it."""
        ...


@define
class Pass:
    """One admitted request. Set how it ended before its block ends."""

    headers: Mapping[str, str] | None = None
    sent: bool = True


@define(eq=False)
class _Waiter:
    priority: Priority
    woken: anyio.Event = field(factory=anyio.Event)


@define
class Gate:
    """Admits requests in the order of their priority, as the budget allows.

    There is no task behind it: the first in the queue sleeps for all, and wakes the next one when it is admitted.
    `allowance`: this client's part of the requests, if other clients with a shared journal send some too.
    """

    budget: Budget
    clock: Callable[[], float] = anyio.current_time
    on_wait: Callable[[float], None] | None = None
    allowance: Allowance | None = None
    _queue: list[tuple[Priority, int, _Waiter]] = field(factory=list)
    _numbers: count[int] = field(factory=count)

    def __attrs_post_init__(self) -> None:
        if self.allowance is not None:
            self.allowance.connect(self._wake)

    @property
    def per_minute(self) -> int:
        """How many requests a minute this client may send, as far as is known."""
        if self.allowance is None:
            return self.budget.limit
        return max(1, round(self.budget.limit * self.allowance.share))

    @asynccontextmanager
    async def admit(self, priority: Priority) -> AsyncIterator[Pass]:
        """Wait until a request may be sent, and count it until the block ends."""
        await self._wait(priority)
        admitted, began = Pass(), self.clock()
        try:
            yield admitted
        finally:
            now = self.clock()
            if not admitted.sent:
                self.budget.unsent()
            elif admitted.headers is None:
                self.budget.answered(now)
            else:
                limit, remaining = limit_of(admitted.headers), remaining_of(admitted.headers)
                self.budget.answered(now, limit=limit, remaining=remaining, took=now - began)
                if limit is not None and self.allowance is not None:
                    self.allowance.learned(self.budget.limit)
            self._wake()

    def rate_limited(self, retry_after: float | None) -> None:
        """Stop all requests for a while after a 429."""
        self.budget.rate_limited(self.clock(), retry_after)

    def spare(self) -> int:
        """Return how many requests of the lowest priority could be sent now without a wait."""
        return 0 if self._queue else self.budget.spare(self.clock())

    async def _wait(self, priority: Priority) -> None:
        waiter = _Waiter(priority)
        entry = (priority, next(self._numbers), waiter)
        heapq.heappush(self._queue, entry)
        reported = False
        try:
            while True:
                first = self._queue[0] is entry
                wait = self.budget.wait(priority, self.clock()) if first else float("inf")
                if wait <= 0:
                    if self.allowance is None or self.allowance.take(priority):
                        self.budget.sent()
                        return
                    wait = float("inf")
                if wait < float("inf") and not reported and self.on_wait is not None:
                    reported = True
                    self.on_wait(wait)
                with anyio.move_on_after(wait):
                    await waiter.woken.wait()
                waiter.woken = anyio.Event()
        finally:
            self._queue.remove(entry)
            heapq.heapify(self._queue)
            self._wake()

    def _wake(self) -> None:
        if self._queue:
            self._queue[0][2].woken.set()
