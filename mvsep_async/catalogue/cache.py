"""A disk cache of the catalogue, shared by successive processes."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from math import isinf
from pathlib import Path
from typing import Final

from mvsep_async.catalogue.catalogue import Catalogue
from mvsep_async.concurrency import in_thread
from mvsep_async.errors import ProtocolError
from mvsep_async.http.call import Json

__all__ = ["DiskCache"]

_FORMAT: Final = 1


class DiskCache:
    """Stores the catalogue of one base URL in a folder.

    Losing it costs three requests, so nothing here is an error: a file that is damaged, of another format or unreadable
    is ignored, and so is a folder that cannot be written.
    """

    def __init__(self, folder: str | os.PathLike[str], address: str) -> None:
        digest = hashlib.sha256(address.encode()).hexdigest()[:12]
        self.path = Path(folder) / f"catalogue-{digest}.json"

    async def load(self, *, now: float, max_age: float) -> Catalogue | None:
        """Return the stored catalogue if it is at most `max_age` seconds old at `now` (epoch seconds), else `None`."""
        return await in_thread(self._load, now, max_age)

    async def save(self, catalogue: Catalogue, *, now: float) -> None:
        """Replace the stored catalogue atomically: a concurrent reader gets the old or the new one, complete."""
        await in_thread(self._save, catalogue.entries, now)

    def _load(self, now: float, max_age: float) -> Catalogue | None:
        try:
            stored = json.loads(self.path.read_bytes())
            age = now - float(stored["saved_at"])
            # A negative age means that the clock was set back: only a caller who accepts any age gets that file.
            if stored["format"] != _FORMAT or not (0 <= age <= max_age or (age < 0 and isinf(max_age))):
                return None
            catalogue = Catalogue(stored["algorithms"])
        except (OSError, ValueError, LookupError, TypeError, ArithmeticError, RecursionError, ProtocolError):
            return None
        return catalogue if len(catalogue) else None

    def _save(self, entries: Sequence[Json], now: float) -> None:
        with suppress(OSError, RecursionError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=self.path.parent, prefix=f"{self.path.name}.")
            try:
                with os.fdopen(handle, "w", encoding="utf-8") as file:
                    json.dump({"format": _FORMAT, "saved_at": now, "algorithms": entries}, file)
                Path(name).replace(self.path)
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise
