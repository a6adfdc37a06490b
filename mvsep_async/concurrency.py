"""Structured concurrency helpers: caller scopes, locks by name, cooperative yields, calls in threads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from time import monotonic
from typing import Final, TypeVar, TypeVarTuple

import anyio
from anyio import CancelScope, CapacityLimiter, create_task_group, to_thread
from anyio.lowlevel import RunVar, checkpoint
from attrs import define, field

from mvsep_async.errors import ClientClosedError

__all__ = ["CallerScopes", "KeyedLock", "Yielder", "in_thread", "loop_caller", "thread_limiter"]

_CLEANUP: Final = 1.0
"""Seconds for callers' downloads to keep what they have when the client closes."""

_YIELD_EVERY: Final = 0.002
"""Seconds that going through job after job may take before other tasks run."""

_THREADS: Final = 40
"""Most worker threads of this package on one event loop; as many as anyio allows by default."""


@define(eq=False)
class Yielder:
    """Lets other tasks run now and then, amid work that by itself waits for nothing."""

    _until: float = field(default=float("-inf"), init=False)

    async def maybe_yield(self) -> bool:
        """Let other tasks run, if none could for a while; tell whether they did."""
        if monotonic() < self._until:
            return False
        await checkpoint()
        self._until = monotonic() + _YIELD_EVERY
        return True


@define(eq=False)
class CallerScopes:
    """Who works with the parts of a client in a task that is not its own.

    `closed`: nobody is let in any more.
    """

    closed: bool = False
    _scopes: set[CancelScope] = field(factory=set, init=False)
    _left: anyio.Event = field(factory=anyio.Event, init=False)
    _yielder: Yielder = field(factory=Yielder, init=False)

    async def maybe_yield(self) -> None:
        """Let other tasks run, if none could for a while: without a journal, submitting song after song waits for
        nothing. Raises `ClientClosedError` if the client was closed then."""
        if await self._yielder.maybe_yield():
            self._check()

    @contextmanager
    def enter(self) -> Iterator[None]:
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

    async def cancel_all(self) -> None:
        """End all callers, and let them put down what they hold."""
        with CancelScope(shield=True), anyio.move_on_after(_CLEANUP):
            while self._scopes:
                self._left = anyio.Event()
                for scope in self._scopes:
                    scope.cancel()
                await self._left.wait()

    def _check(self) -> None:
        if self.closed:
            raise ClientClosedError("the client is closed: its block was left")


@define(eq=False)
class KeyedLock:
    """One lock for each key: callers with the same key take turns, all others pass at once.

    A key costs nothing while no caller holds or waits for its lock.
    """

    _locks: dict[str, tuple[anyio.Lock, int]] = field(factory=dict)

    @asynccontextmanager
    async def for_key(self, key: str | None) -> AsyncIterator[None]:
        """Wait for the lock of `key` and hold it in the block; `None` takes no lock."""
        if key is None:
            yield
            return
        lock, waiting = self._locks.get(key) or (anyio.Lock(), 0)
        self._locks[key] = (lock, waiting + 1)
        try:
            async with lock:
                yield
        finally:
            lock, waiting = self._locks.pop(key)
            if waiting > 1:
                self._locks[key] = (lock, waiting - 1)


T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_limiter: RunVar[CapacityLimiter] = RunVar("mvsep_async.concurrency.limiter")


def thread_limiter() -> CapacityLimiter:
    """Return the limiter of this package's worker threads on this event loop.

    It is apart from anyio's default limiter, so an application that keeps all of that one's threads busy does not stop
    jobs from making progress, and the other way round.
    """
    try:
        return _limiter.get()
    except LookupError:
        _limiter.set(CapacityLimiter(_THREADS))
        return _limiter.get()


async def in_thread(function: Callable[[*Ts], T], /, *args: *Ts) -> T:
    """Run `function(*args)` in a thread; being cancelled, by anyio or by `Task.cancel()`, takes effect after its end.

    `to_thread.run_sync` alone lets a plain `Task.cancel()` through: the thread would then go on writing to a file that
    its owner has closed already. So the wait happens in a child task, which nobody else can cancel. The call is made in
    any case, even when the task is cancelled already.
    """
    results: list[T] = []
    errors: list[Exception] = []

    async def work() -> None:
        with CancelScope(shield=True):
            try:
                results.append(await to_thread.run_sync(function, *args, limiter=thread_limiter()))
            except Exception as error:  # noqa: BLE001 raised below, outside the group that would wrap it
                errors.append(error)

    async with create_task_group() as group:
        group.start_soon(work)
    if errors:
        raise errors[0]
    return results[0]


def loop_caller() -> Callable[..., object]:
    """Return what calls a function on this event loop from another thread, without waiting for it.

    anyio's own way (`from_thread.run_sync`) waits for the function's result, which costs the thread a second hop. What
    is returned raises `RuntimeError` when the loop is over: nobody is left to be told.
    """
    try:
        return asyncio.get_running_loop().call_soon_threadsafe
    except RuntimeError:
        import trio

        return trio.lowlevel.current_trio_token().run_sync_soon
