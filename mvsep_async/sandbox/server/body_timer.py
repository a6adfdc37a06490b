"""The timeout for slow request bodies."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from attrs import define, field
from starlette.types import Message, Receive


@define(eq=False)
class BodyTimer:
    """Receives the body of one request, and calls `expired` when a piece of it takes longer than `timeout` seconds.

    It has one timer for the whole body: a cancel scope for each piece would make large uploads slower.
    """

    _receive: Receive
    _timeout: float | None
    _expired: Callable[[], None]
    _waiting_since: float | None = field(default=None, init=False)
    _handle: asyncio.TimerHandle | None = field(default=None, init=False)

    async def receive(self) -> Message:
        """Return the next piece of the body."""
        if self._handle is None and self._timeout is not None:
            self._handle = asyncio.get_running_loop().call_later(self._timeout, self._check, self._timeout)
        self._waiting_since = time.monotonic()
        try:
            message = await self._receive()
        finally:
            self._waiting_since = None
        if not message.get("more_body"):
            self.stop()
        return message

    def stop(self) -> None:
        """Stop the timer."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _check(self, timeout: float) -> None:
        waited = 0.0 if self._waiting_since is None else time.monotonic() - self._waiting_since
        if waited >= timeout:
            self._expired()
        else:
            self._handle = asyncio.get_running_loop().call_later(timeout - waited, self._check, timeout)
