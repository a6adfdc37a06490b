"""Iterate over a blocking iterator in a worker thread, in small batches."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from typing import Final, TypeVar

from mvsep_async.concurrency import in_thread

__all__ = ["in_batches"]

T = TypeVar("T")

_SECONDS: Final = 0.02
_MOST: Final = 64
"""Longest time and most items of a batch: the first song comes at once, many songs share a call to a thread, and the
loop handles a batch within a few milliseconds."""


async def in_batches(items: Iterator[T | None]) -> AsyncIterator[list[T]]:
    """Yield what `items` yields, without `None`, in short lists; one thread at a time runs it.

    Reading tags is pure Python: with several threads, the event loop would wait for the interpreter behind all of them.
    """

    def take() -> tuple[list[T], bool]:
        batch: list[T] = []
        until = time.monotonic() + _SECONDS
        for item in items:
            # Let the event loop's thread run between two songs: by itself, Python switches threads every 5 ms only.
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
