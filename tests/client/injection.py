"""Cancelling a coroutine at exactly its n-th suspension, in the ways of anyio and of asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any, Generic, TypeVar

import anyio
from attrs import define, field

T = TypeVar("T")

ANYIO = "by a cancel scope"
ASYNCIO = "by task.cancel()"


@define
class Outcome(Generic[T]):
    """What became of a run: `reached` says whether there was an n-th suspension at all."""

    reached: bool
    cancelled: bool
    result: T | None


@define
class _Counting(Awaitable[T]):
    _coroutine: Coroutine[Any, Any, T]
    _number: int
    _cancel: Callable[[], object]
    count: int = field(default=0, init=False)

    def __await__(self) -> Generator[Any, Any, T]:
        steps = self._coroutine.__await__()
        try:
            waited_for = next(steps)
            while True:
                self.count += 1
                if self.count == self._number:
                    self._cancel()
                try:
                    value = yield waited_for
                except BaseException as error:
                    waited_for = steps.throw(error)
                else:
                    waited_for = steps.send(value)
        except StopIteration as stop:
            result: T = stop.value
            return result


async def cancelled_at(number: int, coroutine: Coroutine[Any, Any, T], how: str) -> Outcome[T]:
    """Run `coroutine` and cancel it at its suspension of that number, counted from 1."""
    if how == ANYIO:
        with anyio.CancelScope() as scope:
            counting = _Counting(coroutine, number, scope.cancel)
            return await _run(counting, number)
        return Outcome(True, True, None)

    async def run() -> Outcome[T]:
        task = asyncio.current_task()
        assert task is not None
        return await _run(_Counting(coroutine, number, task.cancel), number)

    task = asyncio.ensure_future(run())
    await asyncio.wait([task])
    return Outcome(True, True, None) if task.cancelled() else task.result()


async def _run(counting: _Counting[T], number: int) -> Outcome[T]:
    result = await counting
    return Outcome(counting.count >= number, False, result)


async def at_every_suspension(run: Callable[[int], Awaitable[Outcome[Any]]], *, at_most: int = 300) -> int:
    """Call `run(n)` for n = 1, 2, … until the coroutine ends before its n-th suspension; return how many there were."""
    for number in range(1, at_most):
        if not (await run(number)).reached:
            return number - 1
    raise AssertionError(f"more than {at_most} suspensions")
