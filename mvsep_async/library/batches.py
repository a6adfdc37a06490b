"""Reading from something that blocks, a little at a time, in a worker thread."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from typing import Final, TypeVar

from mvsep_async.concurrency import in_thread

__all__ = ["in_batches"]

T = TypeVar("T")

_SECONDS: Final = 0.02
_MOST: Final = 64
"""How long a batch is collected, and how large it gets: the first song is there at once, a thread is not needed for
each one, and what the loop does about a batch takes it a few milliseconds at most."""


async def in_batches(items: Iterator[T | None]) -> AsyncIterator[list[T]]:
    """Give what `items` yields, `None` left out, in short lists; one thread at a time is at it.

    One, because reading tags is Python all through: with several, the loop would wait for its turn behind them all.
    """

    def take() -> tuple[list[T], bool]:
        batch: list[T] = []
        until = time.monotonic() + _SECONDS
        for item in items:
            # A moment for the loop's thread between two songs: left alone, Python hands over every 5 ms only.
            time.sleep(0)
            if item is not None:
                batch.append(item)
            if len(batch) >= _MOST or time.monotonic() >= until:
                return batch, True
        return batch, False

    more = True
    while more:
        batch, more = await in_thread(take)
        if batch:
            yield batch
