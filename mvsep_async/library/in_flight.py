"""The songs of a library run that are in flight: how many there may be, and which of them have the same audio."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Final

from attrs import define, field

from mvsep_async.client import MVSepClient
from mvsep_async.concurrency import KeyedLock, Wakeup
from mvsep_async.jobs.progress import Progress
from mvsep_async.library.planner import PlannedSong
from mvsep_async.models.stage import Stage

__all__ = ["SongsInFlight"]

_AHEAD: Final = 4
"""Songs started beyond the slots: enough that a slot never waits for the next one, few enough to stop quickly."""


@define(eq=False)
class SongsInFlight:
    """Songs that were started and are not over. Those whose stems are being downloaded need no slot."""

    client: MVSepClient
    _songs: dict[tuple[str, str], str] = field(factory=dict)
    """The songs' keys → the keys of their audio."""
    _downloading: set[tuple[str, str]] = field(factory=set)
    _locks: KeyedLock = field(factory=KeyedLock)
    _changed: Wakeup = field(factory=Wakeup)

    @property
    def full(self) -> bool:
        """Whether as many songs are in flight as are needed to fill the slots."""
        return len(self._songs) - len(self._downloading) >= self._most

    @property
    def downloading(self) -> list[tuple[str, str]]:
        """The keys of the songs that are separated and whose stems are being downloaded."""
        return list(self._downloading)

    async def wait_for_change(self) -> None:
        """Wait until another song may be started, or one is over."""
        await self._changed.wait()

    def begin(self, item: PlannedSong) -> None:
        """Add a song that is started."""
        self._songs[item.key] = _audio_key(item)

    def show(self, item: PlannedSong, progress: Progress) -> None:
        """Make room for another song if this one is separated and only its stems are to be downloaded."""
        separated = progress.stage is Stage.DONE and len(item.method.recipe.steps) == 1
        if separated and item.key not in self._downloading and len(self._downloading) < self._most:
            self._downloading.add(item.key)
            self._changed.set()

    def end(self, item: PlannedSong) -> None:
        """Remove a song that is over."""
        self._songs.pop(item.key, None)
        self._downloading.discard(item.key)
        self._changed.set()

    def has_copy(self, item: PlannedSong) -> bool:
        """Tell whether a song of the same audio is in flight."""
        return _audio_key(item) in self._songs.values()

    def alone(self, item: PlannedSong) -> AbstractAsyncContextManager[None]:
        """Return a block in which no other song of the same audio is worked on."""
        return self._locks.for_key(_audio_key(item))

    @property
    def _most(self) -> int:
        return self.client.slots + _AHEAD


def _audio_key(item: PlannedSong) -> str:
    """Return a key that is the same for songs of the same audio and method."""
    audio = item.song.name if item.content is None else item.content.digest
    return f"{item.method.digest} {audio}"
