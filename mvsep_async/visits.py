"""Callers' own tasks inside an open client: let in, and seen off when it closes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Final

import anyio
from anyio import CancelScope
from anyio.lowlevel import checkpoint
from attrs import define, field

from mvsep_async.errors import ClientClosedError

__all__ = ["Breath", "Visits"]

_SEEING_OFF: Final = 1.0
"""Seconds for callers' downloads to keep what they have when the client closes."""

_BREATH: Final = 0.002
"""Seconds that going through job after job may take before other tasks run."""


@define(eq=False)
class Breath:
    """Lets other tasks run now and then, amid work that by itself waits for nothing."""

    _until: float = field(default=float("-inf"), init=False)

    async def take(self) -> bool:
        """Let other tasks run, if none could for a while; tell whether they did."""
        if monotonic() < self._until:
            return False
        await checkpoint()
        self._until = monotonic() + _BREATH
        return True


@define(eq=False)
class Visits:
    """Who works with the parts of a client in a task that is not its own.

    `closed`: nobody is let in any more.
    """

    closed: bool = False
    _scopes: set[CancelScope] = field(factory=set, init=False)
    _left: anyio.Event = field(factory=anyio.Event, init=False)
    _breath: Breath = field(factory=Breath, init=False)

    async def breathe(self) -> None:
        """Let other tasks run, if none could for a while: without a journal, submitting song after song waits for
        nothing. Raises `ClientClosedError` if the client was closed then."""
        if await self._breath.take():
            self._check()

    @contextmanager
    def visit(self) -> Iterator[None]:
        """Let a task work and wait in this block; closing ends it with `ClientClosedError`."""
        self._check()
        scope = CancelScope()
        self._scopes.add(scope)
        try:
            with scope:
                yield
        finally:
            self._scopes.discard(scope)
            self._left.set()
        if scope.cancelled_caught:
            raise ClientClosedError("the client was closed meanwhile: its block was left")

    async def see_off(self) -> None:
        """End all visits, and let them put down what they hold."""
        with CancelScope(shield=True), anyio.move_on_after(_SEEING_OFF):
            while self._scopes:
                self._left = anyio.Event()
                for scope in self._scopes:
                    scope.cancel()
                await self._left.wait()

    def _check(self) -> None:
        if self.closed:
            raise ClientClosedError("the client is closed: its block was left")
