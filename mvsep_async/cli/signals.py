"""Ctrl-C once: stop, with everything resumable. Twice: at once."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

from anyio import CancelScope
from attrs import define, field

from mvsep_async.cli.exits import INTERRUPTED

__all__ = ["Interruption", "interruptible"]

_SIGNALS: Final = tuple(
    number for name in ("SIGINT", "SIGTERM", "SIGBREAK") if (number := getattr(signal, name, None)) is not None
)
_SAME: Final = 0.1
"""Seconds within which a second signal counts as the first one: `timeout` and the like signal a process and then its
group. Faster than anybody presses a key twice."""
_SHOW_CURSOR: Final = "\x1b[?25h"


@define(eq=False)
class Interruption:
    """What signals do to a command: the first one cancels `scope`, the second one ends the process."""

    scope: CancelScope = field(factory=CancelScope)
    asked_at: float | None = None
    """When a stop was asked for."""


@contextmanager
def interruptible(
    on_stop: Callable[[], None] = lambda: None, *, clock: Callable[[], float] = time.monotonic
) -> Iterator[Interruption]:
    """Handle signals for as long as the block lasts; to be used inside the event loop.

    `on_stop` is called on the event loop when a stop is asked for. Plain handlers, since those of the event loop do not
    exist on Windows. Outside the main thread there are none. A signal that the process inherited as ignored stays so.
    """
    interruption = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield interruption
        return
    wake = asyncio.get_running_loop().call_soon_threadsafe

    def stop(number: int, frame: FrameType | None) -> None:
        now = clock()
        if interruption.asked_at is not None:
            if now - interruption.asked_at > _SAME:
                _leave()
            return
        interruption.asked_at = now
        wake(interruption.scope.cancel)
        wake(on_stop)

    before: dict[int, Callable[[int, FrameType | None], object] | int | None] = {
        number: signal.signal(number, stop)
        for number in _SIGNALS
        if signal.getsignal(number) is not signal.SIG_IGN  # inherited from `nohup`, `trap ''` and the like
    }
    try:
        yield interruption
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _leave() -> None:
    """End the process at once; the terminal gets its cursor back."""
    if sys.stderr.isatty():
        os.write(sys.stderr.fileno(), _SHOW_CURSOR.encode())
    os._exit(INTERRUPTED)
