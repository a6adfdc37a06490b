"""Who may move bytes now, among all the transfers of an event loop."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Final

import anyio
from anyio.lowlevel import RunVar
from attrs import define, field

__all__ = ["QUANTUM", "FairStep", "fair_step"]

QUANTUM: Final = 0.001
"""Seconds that a transfer which is alone goes on before the loop looks at its timers: a pass of the loop takes as long
as moving 100 KiB, and a millisecond late is what nobody notices."""


@define(eq=False)
class FairStep:
    """The block in which a stream takes one step: one at a time, in fair order.

    When twenty transfers are ready at once, the loop would run twenty steps before it looks at its timers again. So it
    is one or two: the loop is never later than a step takes, however many transfers there are.
    """

    _clock: Callable[[], float] = monotonic
    _lock: anyio.Lock = field(factory=anyio.Lock, init=False)
    _until: float = field(default=float("-inf"), init=False)

    async def __aenter__(self) -> None:
        if self._clock() < self._until and not self._lock.locked():
            self._lock.acquire_nowait()
        else:
            await self._lock.acquire()  # which lets the loop run in any case
            self._until = self._clock() + QUANTUM

    async def __aexit__(self, *exc_info: object) -> None:
        self._lock.release()


_step: RunVar[FairStep] = RunVar("mvsep_async.transport.fairness")


def fair_step() -> FairStep:
    """Return the one of this event loop."""
    try:
        return _step.get()
    except LookupError:
        _step.set(FairStep())
        return _step.get()
