"""Structured concurrency helpers: caller scopes, a host task for a context manager, keyed locks, threads."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from time import monotonic
from typing import Final, Generic, TypeVar, TypeVarTuple

import anyio
from anyio import CancelScope, CapacityLimiter, create_task_group, to_thread
from anyio.lowlevel import RunVar, checkpoint
from attrs import define, field

from mvsep_async.errors import ClientClosedError, ConfigurationError

__all__ = [
    "CallerScopes",
    "HostTask",
    "KeyedLock",
    "LoopGuard",
    "Wakeup",
    "Yielder",
    "in_thread",
    "loop_caller",
    "loop_clock",
    "thread_limiter",
    "uncancelled",
]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_CLEANUP: Final = 1.0
"""Seconds that callers' downloads have to save received bytes when the client closes."""

_YIELD_EVERY: Final = 0.002
"""Seconds of uninterrupted work before other tasks run."""

_THREADS: Final = 40
"""Most worker threads of this package on one event loop: the same as anyio's default."""

_limiter: RunVar[CapacityLimiter] = RunVar("mvsep_async.concurrency.limiter")


@define(eq=False)
class Yielder:
    """Lets other tasks run during long work that would otherwise not await anything."""

    _until: float = field(default=float("-inf"), init=False)

    async def maybe_yield(self) -> bool:
        """Let other tasks run if none could for 2 ms; return whether it yielded."""
        if monotonic() < self._until:
            return False
        await checkpoint()
        self._until = monotonic() + _YIELD_EVERY
        return True


@define(eq=False)
class Wakeup:
    """An event for the loop of one task, which is reset when the task has waited for it.

    A `set` while the task does not wait lets its next `wait` return at once.
    """

    _event: anyio.Event = field(factory=anyio.Event, init=False)

    def set(self) -> None:
        """Wake the task."""
        self._event.set()

    async def wait(self) -> None:
        """Wait for a `set` since the last time that this returned."""
        await self._event.wait()
        self._event = anyio.Event()


@define(eq=False)
class CallerScopes:
    """Cancel scopes around the calls of other tasks into a client, so that closing the client ends them.

    `closed`: if true, entering raises `ClientClosedError`.
    """

    closed: bool = False
    _scopes: set[CancelScope] = field(factory=set, init=False)
    _left: anyio.Event = field(factory=anyio.Event, init=False)
    _yielder: Yielder = field(factory=Yielder, init=False)

    async def maybe_yield(self) -> None:
        """Let other tasks run if none could for 2 ms, since a loop of submits may otherwise not await anything.

        Raises `ClientClosedError` if the client was closed while they ran.
        """
        if await self._yielder.maybe_yield():
            self._check()

    @contextmanager
    def enter(self) -> Iterator[None]:
        """Run a caller's work in this block; closing the client cancels it and raises `ClientClosedError`."""
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
            raise ClientClosedError("the client was closed meanwhile")

    async def cancel_all(self) -> None:
        """Cancel all callers and wait for their cleanup, for at most one second."""
        with CancelScope(shield=True), anyio.move_on_after(_CLEANUP):
            while self._scopes:
                self._left = anyio.Event()
                for scope in self._scopes:
                    scope.cancel()
                await self._left.wait()

    def _check(self) -> None:
        if self.closed:
            raise ClientClosedError("the client is closed: open a new one")


@define(eq=False)
class HostTask(Generic[T]):
    """Runs an async context manager in its own task, so that it may be entered and left from different tasks.

    `start` waits until the context manager is entered, `stop` until the task has ended. An error in between ends the
    task, and `stop` raises it. `value`: the context manager's value, `None` until it is entered.
    """

    _manager: Callable[[], AbstractAsyncContextManager[T]]
    guard: LoopGuard = field(factory=lambda: LoopGuard(), init=False)
    value: T | None = field(default=None, init=False)
    _scope: CancelScope = field(factory=CancelScope, init=False)
    _entered: anyio.Event = field(factory=anyio.Event, init=False)
    _leave: anyio.Event = field(factory=anyio.Event, init=False)
    _ended: anyio.Event = field(factory=anyio.Event, init=False)
    _error: BaseException | None = field(default=None, init=False)
    _task: object = field(default=None, init=False)

    async def start(self) -> T:
        """Start the task and return the context manager's value; if this is cancelled, the task is ended."""
        self._task = _spawn(self._run)
        try:
            await self._entered.wait()
        except BaseException:
            self._scope.cancel()
            await uncancelled(self._ended.wait)
            raise
        if self.value is None:
            await self.stop()
            raise RuntimeError("the host task ended before it was entered")
        return self.value

    async def stop(self) -> None:
        """Leave the context manager and wait for the end of the task, even if this is cancelled."""
        self._leave.set()
        await uncancelled(self._ended.wait)
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    async def _run(self) -> None:
        try:
            with self._scope:
                async with self._manager() as self.value:
                    self._entered.set()
                    await self._leave.wait()
        except BaseException as error:
            self._error = error
            if not isinstance(error, Exception):
                raise
        finally:
            self._entered.set()
            self._ended.set()


@define(eq=False)
class KeyedLock:
    """A lock for each key: callers with the same key take turns, callers with different keys do not wait.

    A lock exists only while a caller holds it or waits for it.
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


@define(eq=False)
class LoopGuard:
    """Remembers the process and thread of an event loop; `check` raises in any other."""

    _process: int = field(factory=os.getpid, init=False)
    _thread: int = field(factory=threading.get_ident, init=False)

    def check(self) -> None:
        """Raise `ConfigurationError` in another process, or in another thread than that of the loop."""
        if os.getpid() != self._process:
            raise ConfigurationError("the client was opened in another process: open a new client in this one")
        if threading.get_ident() != self._thread:
            raise ConfigurationError(
                "the client was opened in another thread's event loop: call it there with "
                "asyncio.run_coroutine_threadsafe or anyio.from_thread.run, or open a new client in this thread"
            )


async def uncancelled(function: Callable[[], Awaitable[T]]) -> T:
    """Await `function()` until it ends; a cancellation, by anyio or by `Task.cancel()`, takes effect afterwards.

    A shielded scope does not protect from a plain `Task.cancel()`. So the function runs in a child task, which no other
    task can cancel.
    """
    results: list[T] = []
    errors: list[Exception] = []

    async def work() -> None:
        with CancelScope(shield=True):
            try:
                results.append(await function())
            except Exception as error:  # noqa: BLE001 raised below, outside the group that would wrap it
                errors.append(error)

    async with create_task_group() as group:
        group.start_soon(work)
    if errors:
        raise errors[0]
    return results[0]


async def in_thread(function: Callable[[*Ts], T], /, *args: *Ts) -> T:
    """Run `function(*args)` in a worker thread and wait for its end; a cancellation takes effect afterwards.

    Otherwise the thread could continue to write to a file that its owner has already closed. The function is called
    even if the task is already cancelled.
    """
    return await uncancelled(lambda: to_thread.run_sync(function, *args, limiter=thread_limiter()))


def thread_limiter() -> CapacityLimiter:
    """Return the limiter of this package's worker threads on this event loop.

    It is separate from anyio's default limiter, so that an application that uses all threads of that limiter does not
    block jobs, and jobs do not block the application.
    """
    try:
        return _limiter.get()
    except LookupError:
        _limiter.set(CapacityLimiter(_THREADS))
        return _limiter.get()


def loop_caller() -> Callable[..., object]:
    """Return a function that schedules a call on this event loop from another thread, without waiting for it.

    `anyio.from_thread.run_sync` waits for the result, which costs the thread a second switch. The returned function
    raises `RuntimeError` after the loop has ended.
    """
    loop = _asyncio_loop()
    if loop is not None:
        return loop.call_soon_threadsafe
    import trio

    return trio.lowlevel.current_trio_token().run_sync_soon


def loop_clock() -> Callable[[], float]:
    """Return the clock of this event loop. It also works in callbacks, where `anyio.current_time` raises."""
    loop = _asyncio_loop()
    return anyio.current_time if loop is None else loop.time


def _spawn(function: Callable[[], Coroutine[object, object, None]]) -> object:
    """Run `function()` in a task outside of any task group, and return the task."""
    loop = _asyncio_loop()
    if loop is not None:
        return loop.create_task(function(), name="mvsep_async client")
    import trio

    return trio.lowlevel.spawn_system_task(function, name="mvsep_async client")


def _asyncio_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
