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

from mvsep_async.cli.exits import INTERRUPTED

__all__ = ["interruptible"]

_SIGNALS: Final = tuple(
    number for name in ("SIGINT", "SIGTERM", "SIGBREAK") if (number := getattr(signal, name, None)) is not None
)
_SAME: Final = 0.1
"""Seconds within which a second signal counts as the first one: `timeout` and the like signal a process and then its
group. Faster than anybody presses a key twice."""
_SHOW_CURSOR: Final = "\x1b[?25h"


@contextmanager
def interruptible(
    on_stop: Callable[[], None] = lambda: None, *, clock: Callable[[], float] = time.monotonic
) -> Iterator[CancelScope]:
    """Cancel the scope that is yielded at the first signal, and end the process at the second one.

    To be used inside the event loop, on which `on_stop` is called when a stop is asked for. Plain handlers, since those
    of the event loop do not exist on Windows. Outside the main thread there are none. A signal that the process
    inherited as ignored stays so.
    """
    scope = CancelScope()
    asked_at: float | None = None
    if threading.current_thread() is not threading.main_thread():
        yield scope
        return
    wake = asyncio.get_running_loop().call_soon_threadsafe

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal asked_at
        now = clock()
        if asked_at is not None:
            if now - asked_at > _SAME:
                _leave()
            return
        asked_at = now
        wake(scope.cancel)
        wake(on_stop)

    before: dict[int, Callable[[int, FrameType | None], object] | int | None] = {
        number: signal.signal(number, stop)
        for number in _SIGNALS
        if signal.getsignal(number) is not signal.SIG_IGN  # inherited from `nohup`, `trap ''` and the like
    }
    try:
        yield scope
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _leave() -> None:
    """End the process at once; the terminal gets its cursor back."""
    if sys.stderr.isatty():
        os.write(sys.stderr.fileno(), _SHOW_CURSOR.encode())
    os._exit(INTERRUPTED)
