"""A sandbox in the foreground of a terminal."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable

from .sandbox import Sandbox


def serve(sandbox: Sandbox, started: Callable[[Sandbox], None]) -> None:
    """Run `sandbox` until SIGINT or SIGTERM, then stop it and return.

    `started` is called once, when it can be reached; what is shown to a person is its business. To be called in the
    main thread, where signals arrive; the handlers that were there are put back.
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
