"""Repeating what may be repeated, for as long as a caller who waits for one answer has patience."""

from __future__ import annotations

from typing import Final

import stamina
from attrs import frozen

from mvsep_async.errors import ProtocolError, RateLimitedError, ServiceUnavailableError, TransportError
from mvsep_async.http.call import Call, Caller, Json

__all__ = ["ENDPOINT_PATIENCE", "PatientCaller"]

ENDPOINT_PATIENCE: Final = 30.0
"""Seconds after which a single endpoint call gives up: long enough for a restart of the service, short enough for
somebody who waits."""


def _repeat(error: Exception) -> bool | float:
    if isinstance(error, ServiceUnavailableError | RateLimitedError) and error.retry_after is not None:
        return error.retry_after
    return isinstance(error, TransportError | ServiceUnavailableError | ProtocolError)


@frozen
class PatientCaller:
    """Sends each call through another caller, again and again while that does no harm and may help."""

    caller: Caller
    patience: float = ENDPOINT_PATIENCE

    async def call(self, call: Call, /) -> Json:
        """Send `call`; one that is not repeatable is sent once."""
        if not call.repeatable:
            return await self.caller.call(call)
        async for attempt in stamina.retry_context(
            on=_repeat, attempts=None, timeout=self.patience, wait_initial=0.25, wait_max=8.0, wait_jitter=0.5
        ):
            with attempt:
                return await self.caller.call(call)
        raise AssertionError("stamina either returns the answer or raises the last error")
