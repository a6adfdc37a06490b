"""Carry out what was planned for one song: bring its stems along, fetch them, or separate it."""

from __future__ import annotations

from pathlib import Path

import anyio
from attrs import define, evolve, field

from mvsep_async.concurrency import in_thread
from mvsep_async.errors import JobNotFoundError
from mvsep_async.library.decisions import FetchMissing, Follow, Separate, UpToDate, check_stems
from mvsep_async.library.manifest import Manifest
from mvsep_async.library.outcome import EventKind
from mvsep_async.library.planner import PlannedSong, Planner
from mvsep_async.library.progress import RunProgress
from mvsep_async.library.records import SeparatedSong
from mvsep_async.library.separator import JobObserver, SongSeparator, Stems
from mvsep_async.library.stems import StemStore

__all__ = ["ActionExecutor"]


@define(eq=False)
class ActionExecutor:
    """Carries out the actions of songs.

    `deleted`: songs with missing stems whose jobs the service has deleted; they are separated again.
    """

    target: Path
    planner: Planner
    manifest: Manifest
    separator: SongSeparator
    stems: StemStore
    progress: RunProgress
    deleted: dict[tuple[str, str], SeparatedSong] = field(factory=dict)
    _stems_lock: anyio.Lock = field(factory=anyio.Lock)

    def lacks_tags(self, known: SeparatedSong | None) -> bool:
        """Tell whether the stems of a song should have its tags and do not."""
        return self.separator.copy_tags and known is not None and not known.tagged

    async def execute(self, item: PlannedSong, observer: JobObserver) -> bool:
        """Do what was planned for a song, and report it; `False` if it has to be planned again.

        Raises the error of the song's jobs, or of a file.
        """
        action, known = item.action, item.known
        if isinstance(action, Follow):
            known = await self._follow(item)
            if known is None:
                return False  # the stems of this audio were replaced meanwhile
            item = evolve(item, place=known.place, seconds=known.seconds, credits=known.credits)
            action = check_stems(item.method.recipe, known, await in_thread(self.planner.sizes, known))
            if isinstance(action, UpToDate):
                self.progress.followed(item, tuple(self.target / file.path for file in known.files))
        match action:
            case UpToDate():
                if known is not None and self.lacks_tags(known):
                    await self.separator.tag(item, known)
            case FetchMissing(present):
                assert known is not None
                self.progress.emit(EventKind.STARTED, item)
                try:
                    stems = await self.separator.fetch_missing(item, known, present, observer)
                except JobNotFoundError:
                    self.deleted[item.key] = known
                    return False
                await self._finish(item, stems, observer, known)
            case Separate(replaced):
                self.progress.emit(EventKind.STARTED, item)
                stems = await self.separator.separate(item, observer, lambda: self._set_aside(replaced))
                await self._finish(item, stems, observer, None)
        return True

    async def _follow(self, item: PlannedSong) -> SeparatedSong | None:
        """Bring the stems of the same audio to the song's place."""
        async with self._stems_lock:
            followed, notices = await in_thread(self.stems.follow, item)
        for notice in notices:
            self.progress.notice(notice.path, notice.reason)
        return followed

    async def _finish(
        self, item: PlannedSong, stems: Stems, observer: JobObserver, known: SeparatedSong | None
    ) -> None:
        paths = await self.separator.record(item, stems, observer, known)
        self.progress.separated(item, paths)

    async def _set_aside(self, replaced: SeparatedSong | None) -> None:
        """Make room for new stems where those of the earlier audio of a song are."""
        if replaced is None:
            return
        async with self._stems_lock:
            current = await in_thread(self.manifest.song, replaced.source, replaced.method)
            if current is None or current.content != replaced.content:
                return  # another song has them by now
            for notice in await in_thread(self.stems.set_aside, current):
                self.progress.notice(notice.path, notice.reason)
