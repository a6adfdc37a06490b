"""Suspend the tasks of one simulated process while those of the others run, as SIGSTOP does."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import trio
from attrs import define, field
from trio._core._run import GLOBAL_RUN_CONTEXT

__all__ = ["Suspendable", "owner_of_task", "suspensions"]


@define(eq=False)
class Suspendable:
    """A group of tasks: those that are adopted, and all that they start."""

    suspended: bool = field(default=False, init=False)
    _waiting: list[trio.lowlevel.Task] = field(factory=list, init=False)
    """Tasks that run again when it continues. Timers that have expired meanwhile are among them."""

    def adopt_current_task(self) -> None:
        """Make the current task one of this group."""
        _owners[trio.lowlevel.current_task()] = self

    def suspend(self) -> None:
        """Run none of the tasks until `resume`."""
        self.suspended = True
        queue = GLOBAL_RUN_CONTEXT.runner.runq
        tasks = list(queue)
        queue.clear()
        for task in tasks:
            queue.append(task)

    def resume(self) -> None:
        """Continue all tasks."""
        self.suspended = False
        waiting, self._waiting = self._waiting, []
        for task in waiting:
            GLOBAL_RUN_CONTEXT.runner.runq.append(task)


_owners: WeakKeyDictionary[trio.lowlevel.Task, Suspendable | None] = WeakKeyDictionary()


def owner_of_task(task: trio.lowlevel.Task | None) -> Any:
    """Return the group of a task: that of its parent, or for a system task that of the task which starts it."""
    if task is None:
        return None
    if task not in _owners:
        nursery = task.parent_nursery
        parent = None if nursery is None else nursery.parent_task
        if nursery is GLOBAL_RUN_CONTEXT.runner.system_nursery:
            parent = getattr(GLOBAL_RUN_CONTEXT, "task", None)
        owner = owner_of_task(parent) if parent is not task else None
        _owners[task] = owner
    return _owners[task]


class _RunQueue(deque[trio.lowlevel.Task]):
    """Trio's queue of tasks that can run, from which those of suspended groups are kept out."""

    def append(self, task: trio.lowlevel.Task, /) -> None:
        owner = owner_of_task(task)
        if owner is not None and owner.suspended:
            owner._waiting.append(task)
        else:
            super().append(task)


@contextmanager
def suspensions() -> Iterator[None]:
    """Let groups of tasks be suspended in the block, which is inside of a Trio run."""
    runner = GLOBAL_RUN_CONTEXT.runner
    before = runner.runq
    runner.runq = _RunQueue(before)
    try:
        yield
    finally:
        runner.runq = deque(runner.runq)
        _owners.clear()
