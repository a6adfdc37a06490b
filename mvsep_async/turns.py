"""One at a time for each name."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
from attrs import define, field

__all__ = ["Turns"]


@define(eq=False)
class Turns:
    """Lets callers with the same name take turns, and all others pass at once.

    A name costs nothing while nobody is there for it.
    """

    _locks: dict[str, tuple[anyio.Lock, int]] = field(factory=dict)

    @asynccontextmanager
    async def of(self, name: str | None) -> AsyncIterator[None]:
        """Wait until nobody else is in a block of this `name`; `None` is nobody's name."""
        if name is None:
            yield
            return
        lock, waiting = self._locks.get(name) or (anyio.Lock(), 0)
        self._locks[name] = (lock, waiting + 1)
        try:
            async with lock:
                yield
        finally:
            lock, waiting = self._locks.pop(name)
            if waiting > 1:
                self._locks[name] = (lock, waiting - 1)
