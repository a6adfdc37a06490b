"""One thread of one's own that does blocking work in order, and tells the event loop of each piece."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeAlias, TypeVar

import anyio

from mvsep_async.concurrency import loop_caller

__all__ = ["WorkThread"]

T = TypeVar("T")
Then: TypeAlias = Callable[[Any, "Exception | None"], None]


class WorkThread:
    """Runs what is posted, one piece after the other, in the order of posting.

    Whoever waits for a piece may be cancelled in any way: the piece is still done, whole, and its outcome told. That,
    and half the time of a hop, is what this has over `anyio.to_thread`, which lets go of its thread when the task that
    waits is cancelled natively. To be made on the event loop; the thread never keeps the process from ending.
    """

    def __init__(self, name: str) -> None:
        self._posts: SimpleQueue[tuple[Callable[[], object], Then] | None] = SimpleQueue()
        self._tell = loop_caller()
        Thread(target=self._run, name=name, daemon=True).start()

    def post(self, work: Callable[[], T], then: Then) -> None:
        """Have `work` done; `then` is called on the event loop with its result, or with the exception it raised."""
        self._posts.put((work, then))

    async def do(self, work: Callable[[], T]) -> T:
        """Have `work` done and return what it returns; when the caller is cancelled it is done all the same."""
        over = anyio.Event()
        outcome: list[tuple[T, Exception | None]] = []

        def then(result: T, error: Exception | None) -> None:
            outcome.append((result, error))
            over.set()

        self.post(work, then)
        await over.wait()
        result, error = outcome.pop()
        if error is not None:
            raise error
        return result

    def stop(self) -> None:
        """End the thread when all that was posted is done."""
        self._posts.put(None)

    def _run(self) -> None:
        while (post := self._posts.get()) is not None:
            work, then = post
            result: object = None
            error: Exception | None = None
            try:
                result = work()
            except Exception as raised:  # noqa: BLE001 -- handed to whoever posted it
                error = raised
            with suppress(RuntimeError):  # the event loop is over: nobody is left to be told
                self._tell(then, result, error)
            del post, work, then, result, error  # or an idle thread would keep alive what it did last
