"""Whole music libraries: `separate_library` keeps a target folder up to date with a source folder.

result = await separate_library(client, "Music", "Stems", algorithms=["BS Roformer"])
"""

from __future__ import annotations

from mvsep_async.library.layout import PLACEHOLDERS
from mvsep_async.library.outcome import EventKind, Failure, LibraryEvent, LibraryResult, Notice, Tally
from mvsep_async.library.run import MANIFEST, SongOrder, separate_library
from mvsep_async.library.watch import watch_library

__all__ = [
    "MANIFEST",
    "PLACEHOLDERS",
    "EventKind",
    "Failure",
    "LibraryEvent",
    "LibraryResult",
    "Notice",
    "SongOrder",
    "Tally",
    "separate_library",
    "watch_library",
]
