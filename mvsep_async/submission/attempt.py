"""The state of one in-flight create: whether it can still be cancelled, and when its last bytes may be sent."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from math import inf
from typing import Final

import anyio
from anyio import CancelScope
from anyio.lowlevel import checkpoint
from attrs import define, field

__all__ = ["HOLD_LIMIT", "TRICKLE_EVERY", "Attempt"]

TRICKLE_EVERY: Final = 10.0
"""Seconds between two trickles. Servers and proxies close a connection whose body pauses: nginx and AWS load balancers
after 60 s, HAProxy mostly after 50, Apache after 20. Half of the shortest leaves room for a slow network."""

HOLD_LIMIT: Final = 120.0
"""Most seconds that a body waits for its slot. Some servers limit the total time of a request, often to five minutes,
and a waiting connection uses resources of the service."""


@define(eq=False)
class Attempt:
    """One in-flight create. It is not cancelled after its body is complete: only the response tells if it was paid.

    `ahead`: it begins without a slot, and its last bytes wait for `slot`. Before they are sent, `record_intent` is
    awaited, which syncs the journal to disk. `on_full` is called when everything except these bytes is sent.
    """

    clock: Callable[[], float]
    ahead: bool
    record_intent: Callable[[], Awaitable[None]]
    on_full: Callable[[], None] = field(default=lambda: None)
    abort: CancelScope = field(factory=CancelScope, init=False)
    answer: CancelScope = field(factory=CancelScope, init=False)
    slot: anyio.Event = field(factory=anyio.Event, init=False)
    began: float = 0.0
    handed_over: bool = field(default=False, init=False)
    given_up: bool = field(default=False, init=False)
    """Whether the job was left to another client, so that this attempt must not change it any longer."""
    closing_by: float | None = field(default=None, init=False)
    _waited: float = field(default=0.0, init=False)
    """Seconds that the body has waited for the slot so far."""

    def hand_over(self) -> None:
        """Record that the last bytes are sent: from this point the service may have the job."""
        self.on_full()
        self.handed_over = True
        self.answer.shield = True
        if self.closing_by is not None:
            self.answer.deadline = self.closing_by

    def rate_limited(self) -> None:
        """Record that the service rejected the request by its rate limit: it is sent again and can be cancelled."""
        self.handed_over = False
        self.answer.deadline = inf
        self.answer.shield = False

    def close(self, deadline: float) -> None:
        """Limit the wait for the response to `deadline`. The owner cancels a create that is not sent completely."""
        self.closing_by = deadline
        if self.handed_over:
            self.answer.deadline = deadline

    async def wait(self) -> AsyncGenerator[None]:
        """Wait for the slot, and yield whenever a few bytes should be sent to keep the connection open."""
        if not self.ahead:
            return
        self.on_full()
        began = self.clock()
        limit = began + HOLD_LIMIT - self._waited
        try:
            while not self.slot.is_set():
                with anyio.move_on_after(min(TRICKLE_EVERY, limit - self.clock())):
                    await self.slot.wait()
                if self.slot.is_set():
                    break
                if self.clock() >= limit:
                    self.abort.cancel()
                    await checkpoint()  # raises the cancellation
                yield
        finally:
            waited = self.clock() - began
            self._waited += waited
            self.began += waited
        await self.record_intent()
