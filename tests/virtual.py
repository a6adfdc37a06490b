"""Virtual time: async code runs on trio, whose clock jumps to the next timer as soon as every task waits."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio
from trio.testing import MockClock

__all__ = ["run_virtually"]


def run_virtually(function: Callable[[], Awaitable[None]]) -> None:
    """Run `function()`, in which seconds pass at once."""
    trio.run(function, clock=MockClock(autojump_threshold=0))
