"""Handing each change of a job to everybody who looks on, at their own time_scale."""

from __future__ import annotations

from collections import deque
from weakref import WeakSet

import anyio
from attrs import define, field

from mvsep_async.jobs.progress import Progress

__all__ = ["Subscribers", "Subscription"]


@define(eq=False)
class Subscription:
    """What one iterator has not taken yet.

    A slow reader sees every stage, and of each only the latest numbers: the box stays small however many bytes pass.
    """

    _waiting: deque[Progress] = field(factory=deque)
    _news: anyio.Event | None = None
    closed: bool = False

    @property
    def pending(self) -> bool:
        """Tell whether there is something to take."""
        return bool(self._waiting)

    def put(self, progress: Progress) -> None:
        """Add a change; it replaces the last one of the same stage."""
        if self._waiting and self._waiting[-1].stage is progress.stage:
            self._waiting[-1] = progress
        else:
            self._waiting.append(progress)
        self._ring()

    def close(self) -> None:
        """Say that nothing more will come."""
        self.closed = True
        self._ring()

    async def receive(self) -> Progress | None:
        """Wait for the next change; `None` when nothing more will come."""
        while not self._waiting and not self.closed:
            if self._news is None or self._news.is_set():
                self._news = anyio.Event()
            await self._news.wait()
        return self._waiting.popleft() if self._waiting else None

    def _ring(self) -> None:
        if self._news is not None:
            self._news.set()


@define(eq=False)
class Subscribers:
    """The mailboxes of one job: held weakly, so that an iterator that is dropped half-way needs no goodbye."""

    boxes: WeakSet[Subscription] = field(factory=WeakSet)

    def put(self, progress: Progress) -> None:
        for box in self.boxes:
            box.put(progress)

    def close(self) -> None:
        for box in self.boxes:
            box.close()
