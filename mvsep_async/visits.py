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

__all__ = ["Visits"]

_SEEING_OFF: Final = 1.0
"""Seconds for callers' downloads to keep what they have when the client closes."""

_BREATH: Final = 0.002
"""Seconds that submitting song after song may go on before other tasks run: without a journal it waits for nothing."""


@define(eq=False)
class Visits:
    """Who works with the parts of a client in a task that is not its own.

    `closed`: nobody is let in any more.
    """

    closed: bool = False
    _scopes: set[CancelScope] = field(factory=set, init=False)
    _left: anyio.Event = field(factory=anyio.Event, init=False)
    _breath: float = field(default=float("-inf"), init=False)
    """When other tasks are to run again."""

    async def breathe(self) -> None:
        """Let other tasks run, if none could for a while; raises `ClientClosedError` if the client was closed then."""
        if monotonic() >= self._breath:
            await checkpoint()
            self._breath = monotonic() + _BREATH
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
