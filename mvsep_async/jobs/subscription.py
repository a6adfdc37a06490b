"""Subscriptions to a job's progress, each read at its own pace."""

from __future__ import annotations

from collections import deque

import anyio
from attrs import define, field

from mvsep_async.jobs.progress import Progress

__all__ = ["Subscription"]


@define(eq=False)
class Subscription:
    """A queue of progress that one subscriber has not received yet.

    A slow reader receives every stage, but only the latest numbers of each, so the backlog stays small.
    """

    _backlog: deque[Progress] = field(factory=deque)
    _news: anyio.Event | None = None
    closed: bool = False

    @property
    def pending(self) -> bool:
        """Whether `receive` would return at once."""
        return bool(self._backlog)

    def put(self, progress: Progress) -> None:
        """Add a progress; it replaces the last one if that has the same stage."""
        if self._backlog and self._backlog[-1].stage is progress.stage:
            self._backlog[-1] = progress
        else:
            self._backlog.append(progress)
        self._notify()

    def close(self) -> None:
        """Mark the end of the progress."""
        self.closed = True
        self._notify()

    async def receive(self) -> Progress | None:
        """Wait for the next progress and return it; `None` after the end."""
        while not self._backlog and not self.closed:
            if self._news is None or self._news.is_set():
                self._news = anyio.Event()
            await self._news.wait()
        return self._backlog.popleft() if self._backlog else None

    def _notify(self) -> None:
        if self._news is not None:
            self._news.set()
