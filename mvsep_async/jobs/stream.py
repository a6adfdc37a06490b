"""Many jobs at once: sources are read as slots come free, and jobs are yielded as they finish."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Iterator
from typing import Final, Protocol

import anyio
from anyio import CancelScope
from anyio.abc import TaskGroup
from attrs import define, field

from mvsep_async.errors import ClientClosedError
from mvsep_async.jobs.job import Job
from mvsep_async.sources import Source

__all__ = ["AHEAD", "JobStream", "StreamBackend"]

AHEAD: Final = 4
"""Songs read beyond the number of slots: enough to keep every slot in use, few enough to keep the backlog small."""


class StreamBackend(Protocol):
    """The part of a client that a stream of jobs runs on."""

    @property
    def tasks(self) -> TaskGroup:
        """The client's task group."""
        ...

    def slots(self) -> int:
        """Return how many jobs may be at the service at one time, as far as is known."""
        ...

    async def account_known(self) -> None:
        """Wait until `slots` is exact, because the account's plan is known."""
        ...


@define(eq=False, repr=False)
class JobStream:
    """The jobs of `client.map`, yielded as they finish, including failed ones.

    A source is read only while few jobs (the slots and `AHEAD` more) are unfinished or not yet received, so a consumer
    that stops iterating stops the reading. As many more may be downloading, since they need no slot. After leaving the
    loop early, the submitted jobs continue in the client; `aclose()` stops the reading. An exception of the iterable of
    sources is raised where the caller iterates, after the jobs before it.
    """

    _sources: Iterable[Source] | AsyncIterable[Source]
    _submit: Callable[[Source], Awaitable[Job]]
    _wait: Callable[[Job], Awaitable[None]]
    """Waits until a job needs no slot: it is separated, or over."""
    _finish: Callable[[Job], Awaitable[None]]
    """Waits until a job is over and its stems are downloaded."""
    _backend: StreamBackend
    _scope: CancelScope | None = None
    """Created by the reading task: `map` may be called outside of any task."""
    _finished: deque[Job] = field(factory=deque)
    _held: int = 0
    """Jobs that are unfinished, or finished and not yet received."""
    _downloading: int = 0
    """Of those: jobs that are separated and not yet finished."""
    _begun: bool = False
    _exhausted: bool = False
    _error: BaseException | None = None
    _change: anyio.Event = field(factory=anyio.Event)

    def __aiter__(self) -> AsyncIterator[Job]:
        return self

    async def __anext__(self) -> Job:
        if not self._begun:
            self._begun = True
            self._backend.tasks.start_soon(self._feed)
        while not self._finished:
            if self._error is not None and not self._held:
                error, self._error, self._exhausted = self._error, None, True
                raise error
            if self._exhausted and not self._held:
                raise StopAsyncIteration
            await self._change.wait()
        self._held -= 1
        job = self._finished.popleft()
        self._notify()
        return job

    async def aclose(self) -> None:
        """Stop reading sources. The jobs already submitted continue in the client."""
        if self._scope is not None:
            self._scope.cancel()
        self._exhausted, self._held = True, 0
        self._finished.clear()
        self._notify()

    def __repr__(self) -> str:
        state = "finished" if self._exhausted else "running" if self._begun else "new"
        return f"<JobStream {state}, {self._held} jobs held>"

    async def _feed(self) -> None:
        if self._exhausted:
            return
        scope = self._scope = CancelScope()
        try:
            with scope:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._watch_slots)
                    async with anyio.create_task_group() as waits:
                        await self._read(waits)
                    tasks.cancel_scope.cancel()
        finally:
            # If the client closes with unfinished jobs, the caller that iterates gets an error and does not wait.
            if self._held > len(self._finished) and not scope.cancel_called and self._error is None:
                self._error = ClientClosedError("the client was closed before all songs were finished")
            self._held = len(self._finished)
            self._exhausted = True
            self._notify()

    async def _read(self, waits: TaskGroup) -> None:
        sources: AsyncIterator[Source] | None = None
        while True:
            while self._is_full() and not self._exhausted:
                await self._change.wait()
            if self._exhausted:
                return
            try:
                sources = sources or _asynchronous(self._sources)
                job = await self._submit(await anext(sources))
            except StopAsyncIteration:
                return
            except BaseException as error:
                if not isinstance(error, Exception) and _is_cancelled():
                    raise
                self._error = error  # of the caller's iterable, even a CancelledError: raised where the caller iterates
                return
            self._held += 1
            waits.start_soon(self._wait_for, job)

    def _is_full(self) -> bool:
        most = self._backend.slots() + AHEAD
        return self._held - min(self._downloading, most) >= most

    async def _watch_slots(self) -> None:
        await self._backend.account_known()
        self._notify()

    async def _wait_for(self, job: Job) -> None:
        try:
            await self._wait(job)
            self._downloading += 1
            self._notify()
            try:
                await self._finish(job)
            finally:
                self._downloading -= 1
        except ClientClosedError:
            return  # `_feed` ends too, and raises it
        self._finished.append(job)
        self._notify()

    def _notify(self) -> None:
        self._change.set()
        self._change = anyio.Event()


def _is_cancelled() -> bool:
    """Tell whether a cancel scope around this task is cancelled."""
    return anyio.current_effective_deadline() == float("-inf")


@define(eq=False)
class _PlainIterator:
    """An async iterator over a plain iterable. Unlike an async generator, it needs no close, also on trio."""

    _sources: Iterator[Source]

    def __aiter__(self) -> AsyncIterator[Source]:
        return self

    async def __anext__(self) -> Source:
        try:
            return next(self._sources)
        except StopIteration:
            raise StopAsyncIteration from None


def _asynchronous(sources: Iterable[Source] | AsyncIterable[Source]) -> AsyncIterator[Source]:
    return aiter(sources) if isinstance(sources, AsyncIterable) else _PlainIterator(iter(sources))
