"""Fair steps: many transfers on one event loop take turns, so that its timers are never late."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Final

import anyio
from anyio.lowlevel import RunVar
from attrs import define, field

__all__ = ["QUANTUM", "FairStep", "fair_step"]

QUANTUM: Final = 0.001
"""Seconds that a lone transfer continues before the loop runs its timers: one pass of the loop takes as long as moving
100 KiB, and a millisecond is late by little."""


@define(eq=False)
class FairStep:
    """A lock held during one step of a stream: one step at a time, first come, first served.

    When twenty transfers are ready at once, the loop would run twenty steps before its timers. With this it runs one or
    two, so it is late by one step at most, however many transfers there are.
    """

    _clock: Callable[[], float] = monotonic
    _lock: anyio.Lock = field(factory=anyio.Lock, init=False)
    _until: float = field(default=float("-inf"), init=False)

    async def __aenter__(self) -> None:
        if self._clock() < self._until and not self._lock.locked():
            self._lock.acquire_nowait()
        else:
            await self._lock.acquire()  # which yields to the loop in any case
            self._until = self._clock() + QUANTUM

    async def __aexit__(self, *exc_info: object) -> None:
        self._lock.release()


_step: RunVar[FairStep] = RunVar("mvsep_async.transport.fairness")


def fair_step() -> FairStep:
    """Return the `FairStep` of this event loop."""
    try:
        return _step.get()
    except LookupError:
        _step.set(FairStep())
        return _step.get()
