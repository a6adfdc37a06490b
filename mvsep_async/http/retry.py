"""Repeating what may be repeated, for as long as a caller who waits for one answer has patience."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Final

import anyio
import stamina
from attrs import frozen

from mvsep_async.errors import ProtocolError, ServiceUnavailableError, TransportError
from mvsep_async.http.call import Call, Caller, Json

__all__ = ["ENDPOINT_PATIENCE", "PatientCaller"]

ENDPOINT_PATIENCE: Final = 30.0
"""Seconds after which a single endpoint call gives up: long enough for a restart of the service, short enough for
somebody who waits."""

# stamina's one warning says that something is tried again, and not what; where nobody has set up logging, Python would
# print it bare. `on_retry` is how we tell.
logging.getLogger("stamina").addHandler(logging.NullHandler())


@frozen
class PatientCaller:
    """Sends each call through another caller, again and again while that does no harm and may help."""

    caller: Caller
    patience: float = ENDPOINT_PATIENCE
    time_scale: float = 1.0
    """What the pauses between two tries are multiplied by."""
    on_retry: Callable[[str, Exception], None] | None = None
    """Told the call's path and what went wrong, each time it is sent again."""

    async def call(self, call: Call, /) -> Json:
        """Send `call`; one that is not repeatable is sent once."""
        if not call.repeatable:
            return await self.caller.call(call)
        async for attempt in stamina.retry_context(
            on=partial(self._repeat, call, anyio.current_time() + self.patience),
            attempts=None,
            timeout=self.patience,
            wait_initial=0.25 * self.time_scale,
            wait_max=8.0 * self.time_scale,
            wait_jitter=0.5 * self.time_scale,
        ):
            with attempt:
                return await self.caller.call(call)
        raise AssertionError("stamina either returns the answer or raises the last error")

    def _repeat(self, call: Call, deadline: float, error: Exception) -> bool | float:
        """Say whether to send it again, and when where the service said when: not if that is beyond our patience."""
        if not isinstance(error, TransportError | ServiceUnavailableError | ProtocolError):
            return False
        asked = error.retry_after if isinstance(error, ServiceUnavailableError) else None
        if anyio.current_time() + (asked or 0.0) > deadline:
            return False
        if self.on_retry is not None:
            self.on_retry(call.path, error)
        return True if asked is None else asked
