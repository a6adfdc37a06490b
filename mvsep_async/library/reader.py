"""Read songs just before they are sent, and wait for those that are still being written."""

from __future__ import annotations

import os
import time
from typing import Final

import anyio
from attrs import define, evolve, field

from mvsep_async.audio.digest import AudioContent, FileChangedError, read_content
from mvsep_async.concurrency import in_thread
from mvsep_async.errors import UploadError
from mvsep_async.library.decisions import seconds_until_quiet
from mvsep_async.library.planner import PlannedSong

__all__ = ["SongReader", "has_changed", "pause"]

pause = anyio.sleep
"""How to wait for a file that is being written; tests replace it."""

_PATIENCE: Final = 60.0
"""Seconds to wait, at the end of a run, for a file that is still being written."""


@define
class _SeenFile:
    """A file as it was seen last: its size and time, and when it was first seen changing."""

    state: tuple[int, int]
    since: float


@define(eq=False)
class SongReader:
    """Reads the audio of songs just before they are sent. This audio is sent, recorded and paid, even if another was
    planned."""

    _seen: dict[str, _SeenFile] = field(factory=dict)

    async def read(self, item: PlannedSong) -> PlannedSong | None:
        """Return the song with its audio; `None` for a file that has changed since it was planned, or may be changing.

        Raises `UploadError` for a file that cannot be read.
        """
        path, planned = item.song.path, (item.song.size, item.song.mtime_ns)
        try:
            entry = await in_thread(os.stat, path)
            state = (entry.st_size, entry.st_mtime_ns)
            seen = self._seen.get(path)
            young = seconds_until_quiet(entry.st_mtime_ns, time.time()) > 0
            if state != planned or (young and (seen is None or seen.state != state)):
                self._note(path, state)
                return None
            content = item.content
            if content is None or (content.size, content.mtime_ns) != state:
                content = await read_content(path)
        except FileChangedError:
            self._note(path, planned)
            return None
        except OSError as error:
            raise UploadError(f"{path!r} cannot be read: {error.strerror or error}") from error
        return evolve(item, content=content)

    def gives_up(self, item: PlannedSong) -> bool:
        """Tell whether a file has been changing for too long."""
        seen = self._seen.get(item.song.path)
        return seen is not None and anyio.current_time() - seen.since > _PATIENCE

    async def wait_until_quiet(self, item: PlannedSong) -> None:
        """Wait until a file has not changed for a moment, as far as was seen."""
        seen = self._seen.get(item.song.path)
        if seen is not None:
            await pause(seconds_until_quiet(seen.state[1], time.time()))

    def _note(self, path: str, state: tuple[int, int]) -> None:
        seen = self._seen.get(path)
        self._seen[path] = _SeenFile(state, anyio.current_time() if seen is None else seen.since)


async def has_changed(item: PlannedSong) -> bool:
    """Tell whether the file of a song has changed since it was read."""

    def look(content: AudioContent) -> bool:
        try:
            entry = item.path.stat()
        except OSError:
            return False
        return (entry.st_size, entry.st_mtime_ns) != (content.size, content.mtime_ns)

    return item.content is not None and await in_thread(look, item.content)
