"""Between the event loop and threads: blocking calls waited for to their end, and a word back without waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar, TypeVarTuple

from anyio import CancelScope, create_task_group, to_thread

__all__ = ["in_thread", "loop_caller"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


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
                results.append(await to_thread.run_sync(function, *args))
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
