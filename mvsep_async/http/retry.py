"""Retry calls that may be repeated, until a caller who waits for one answer has waited long enough."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Final

import anyio
import stamina
from attrs import evolve, frozen

from mvsep_async.errors import ProtocolError, ServiceUnavailableError, TransportError
from mvsep_async.http.call import Call, Caller, Json

__all__ = ["ENDPOINT_PATIENCE", "PatientCaller"]

ENDPOINT_PATIENCE: Final = 30.0
"""Seconds after which a single endpoint call fails: long enough for a restart of the service, short enough to wait
for."""

_SHORTEST: Final = 1.0
"""Seconds that the last attempt gets at least."""

# stamina logs one warning for each retry that does not say what is retried; without a logging configuration, Python
# prints it to stderr. `on_retry` reports retries instead.
logging.getLogger("stamina").addHandler(logging.NullHandler())


@frozen
class PatientCaller:
    """Sends each call through another caller, and retries it while that is safe and may help."""

    caller: Caller
    patience: float = ENDPOINT_PATIENCE
    time_scale: float = 1.0
    """Factor for all pauses between two attempts."""
    on_retry: Callable[[str, Exception], None] | None = None
    """Called with the path and the error before each retry."""

    async def call(self, call: Call, /) -> Json:
        """Send `call`; one that is not repeatable is sent once."""
        if not call.repeatable:
            return await self.caller.call(call)
        deadline = anyio.current_time() + self.patience
        async for attempt in stamina.retry_context(
            on=partial(self._repeat, call, deadline),
            attempts=None,
            timeout=self.patience,
            wait_initial=0.25 * self.time_scale,
            wait_max=8.0 * self.time_scale,
            wait_jitter=0.5 * self.time_scale,
        ):
            with attempt:
                return await self.caller.call(
                    evolve(call, answer_within=max(_SHORTEST, deadline - anyio.current_time()))
                )
        raise AssertionError("stamina either returns the answer or raises the last error")

    def _repeat(self, call: Call, deadline: float, error: Exception) -> bool | float:
        """Return whether to retry, or after how many seconds if the service said so; not beyond the deadline."""
        if not isinstance(error, TransportError | ServiceUnavailableError | ProtocolError):
            return False
        asked = error.retry_after if isinstance(error, ServiceUnavailableError) else None
        if anyio.current_time() + (asked or 0.0) > deadline:
            return False
        if self.on_retry is not None:
            self.on_retry(call.path, error)
        return True if asked is None else asked
