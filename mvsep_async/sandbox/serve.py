"""Run a sandbox until a signal stops it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable

from .sandbox import Sandbox


def serve(sandbox: Sandbox, started: Callable[[Sandbox], None]) -> None:
    """Run `sandbox` until SIGINT or SIGTERM, then stop it and return.

    `started` is called once, when the sandbox accepts requests. Call this in the main thread, where signals arrive; it
    restores their handlers.
    """
    over = threading.Event()
    with sandbox:
        before = {number: signal.signal(number, lambda *_: over.set()) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            started(sandbox)
            over.wait()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
