"""Many songs at once: read as slots come free, given back as they finish."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Iterator
from typing import Final

import anyio
from anyio import CancelScope
from anyio.abc import TaskGroup
from attrs import define, field

from mvsep_async.errors import ClientClosedError
from mvsep_async.jobs.job import Job
from mvsep_async.sources import Source

__all__ = ["AHEAD", "JobStream"]

AHEAD: Final = 4
"""Songs held beyond the slots: enough that a slot never waits for the next one, few enough that nothing piles up."""


@define(eq=False, repr=False)
class JobStream:
    """The jobs of `client.map`, as each finishes, the failed ones too.

    Songs are read only while fewer than the slots and a few more are under way or waiting to be taken: whoever stops
    taking stops the reading. Leaving the loop early leaves its jobs to the client; `aclose()` stops the reading.
    """

    _sources: Iterable[Source] | AsyncIterable[Source]
    _submit: Callable[[Source], Awaitable[Job]]
    _wait: Callable[[Job], Awaitable[None]]
    _tasks: Callable[[], TaskGroup]
    _width: Callable[[], int]
    _widened: Callable[[], Awaitable[None]]
    """Returns when `_width` says more than it did."""
    _scope: CancelScope = field(factory=CancelScope)
    _finished: list[Job] = field(factory=list)
    _held: int = 0
    _begun: bool = False
    _exhausted: bool = False
    _error: BaseException | None = None
    _change: anyio.Event = field(factory=anyio.Event)

    def __aiter__(self) -> AsyncIterator[Job]:
        return self

    async def __anext__(self) -> Job:
        if not self._begun:
            self._begun = True
            self._tasks().start_soon(self._feed)
        while not self._finished:
            if self._error is not None and not self._held:
                error, self._error, self._exhausted = self._error, None, True
                raise error
            if self._exhausted and not self._held:
                raise StopAsyncIteration
            await self._change.wait()
        self._held -= 1
        job = self._finished.pop(0)
        self._notify()
        return job

    def __repr__(self) -> str:
        state = "new" if not self._begun else "finished" if self._exhausted and not self._held else "running"
        return f"<JobStream {state}, {self._held} jobs held>"

    async def aclose(self) -> None:
        """Read no more songs. The jobs already submitted go on in the client."""
        self._scope.cancel()
        self._exhausted, self._held, self._finished = True, 0, []
        self._notify()

    async def _feed(self) -> None:
        try:
            with self._scope:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._widen)
                    async with anyio.create_task_group() as waits:
                        await self._read(waits)
                    tasks.cancel_scope.cancel()
        finally:
            # Ended by the client's closing, with songs still under way: whoever waits for them must not wait for ever.
            if self._held > len(self._finished) and not self._scope.cancel_called and self._error is None:
                self._error = ClientClosedError("the client was closed before all songs were through")
            self._held = len(self._finished)
            self._exhausted = True
            self._notify()

    async def _read(self, waits: TaskGroup) -> None:
        sources: AsyncIterator[Source] | None = None
        while True:
            while self._held >= self._width() + AHEAD and not self._exhausted:
                await self._change.wait()
            if self._exhausted:
                return
            try:
                sources = sources or _asynchronous(self._sources)
                job = await self._submit(await anext(sources))
            except StopAsyncIteration:
                return
            except Exception as error:  # noqa: BLE001 -- it is the caller's own, raised where the caller reads
                self._error = error
                return
            self._held += 1
            waits.start_soon(self._follow, job)

    async def _widen(self) -> None:
        await self._widened()
        self._notify()

    async def _follow(self, job: Job) -> None:
        try:
            await self._wait(job)
        except ClientClosedError:
            return  # the reading is ended by it too, and says so
        self._finished.append(job)
        self._notify()

    def _notify(self) -> None:
        self._change.set()
        self._change = anyio.Event()


@define(eq=False)
class _OneByOne:
    """Sources of a plain iterable. Unlike an async generator it may be dropped half-way, also on trio."""

    _sources: Iterator[Source]

    def __aiter__(self) -> AsyncIterator[Source]:
        return self

    async def __anext__(self) -> Source:
        try:
            return next(self._sources)
        except StopIteration:
            raise StopAsyncIteration from None


def _asynchronous(sources: Iterable[Source] | AsyncIterable[Source]) -> AsyncIterator[Source]:
    return aiter(sources) if isinstance(sources, AsyncIterable) else _OneByOne(iter(sources))
