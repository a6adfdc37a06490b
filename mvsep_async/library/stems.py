"""Bring the stems of songs that were renamed, moved, copied or changed to their places. Everything here blocks."""

from __future__ import annotations

import filecmp
import os
import shutil
from contextlib import suppress
from pathlib import Path

from attrs import define, evolve

from mvsep_async.library.decisions import Follow
from mvsep_async.library.outcome import Notice
from mvsep_async.library.planner import EDITED, PlannedSong, Planner
from mvsep_async.library.records import ManifestFile, Renames, SeparatedSong, replaced_name
from mvsep_async.naming import stem_path
from mvsep_async.recipes.run import HIDDEN

__all__ = ["StemStore"]

_REPLACED = f"{HIDDEN}/replaced"
"""The folder, below the target, of stems whose song has other audio by now: until the end of the run its own audio may
turn up under another name."""


@define
class StemStore:
    """The stems below a target folder.

    A rename is written into the manifest first, then done: a process that is killed in between leaves it to the next.
    """

    planner: Planner

    def recover(self) -> None:
        """Finish the renames that a killed process has left."""
        for song, renames in self.planner.manifest.unfinished_renames():
            self._rename(renames)
            self.planner.manifest.rename(song.source, song)

    def follow(self, item: PlannedSong) -> tuple[SeparatedSong | None, list[Notice]]:
        """Bring the stems of the same audio to the song's place, and return what the manifest holds of it then.

        The stems of a song that was moved are moved, those of one that was copied are copied. Where that fails, they
        stay where they are, and a notice says so. Returns `None` for audio that the manifest does not hold.
        """
        assert item.content is not None
        recalled = self.planner.recall(item.song, item.content, item.method)
        if not isinstance(recalled, Follow):
            return None, []
        known = recalled.known
        notices: list[Notice] = []
        before = self.planner.manifest.song(item.song.name, item.method.digest)
        if before is not None and before.content != item.content.digest:
            notices += self.set_aside(before)
        song = evolve(
            known,
            source=item.song.name,
            size=item.content.size,
            mtime_ns=item.content.mtime_ns,
            method_name=item.method.label,
            title=item.title,
            tagged=False,
        )
        files = known.files if known.place == item.place else self._at_place(item, known.files)
        pairs = [(old, new) for old, new in zip(known.files, files, strict=True) if old.path != new.path]
        moved = evolve(song, place=item.place, files=files)
        if known.source == item.song.name or self.planner.is_moved(known, item.song):
            try:
                for _, new in pairs:
                    (self.planner.target / new.path).parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                notices.append(_stay(item, known, error))
                self.planner.manifest.rename(known.source, evolve(song, place=known.place), ())
                return evolve(song, place=known.place), notices
            renames = [(old.path, new.path) for old, new in pairs]
            self.planner.manifest.rename(known.source, moved, renames)
            self._rename(renames)
            self.planner.manifest.rename(moved.source, moved)
            return moved, notices
        for old, new in pairs:
            self._copy(old, new)
        moved = evolve(moved, credits=0, timelines=(), run="")  # paid for the other song
        self.planner.manifest.record(moved)
        return moved, notices

    def set_aside(self, song: SeparatedSong) -> list[Notice]:
        """Move the stems of a song whose file has other audio by now out of the way, but for those that were edited."""
        files: list[ManifestFile] = []
        renames: list[tuple[str, str]] = []
        notices: list[Notice] = []
        for file in song.files:
            path = self.planner.target / file.path
            size = path.stat().st_size if path.exists() else 0
            if size not in (0, file.size):
                notices.append(Notice(path, EDITED))
                continue
            away = f"{_REPLACED}/{song.content}-{song.method}/{len(files)}{path.suffix}"
            files.append(evolve(file, path=away))
            renames.append((file.path, away))
        name = replaced_name(song.content)
        aside = evolve(song, source=name, place=name, files=tuple(files))
        for _, after in renames[:1]:
            (self.planner.target / after).parent.mkdir(parents=True, exist_ok=True)
        self.planner.manifest.rename(song.source, aside, renames)
        self._rename(renames)
        self.planner.manifest.rename(aside.source, aside)
        return notices

    def discard_replaced(self) -> None:
        """Remove the stems that were set aside, whose audio is no longer in the source folder."""
        for song in self.planner.manifest.replaced_songs():
            for file in song.files:
                (self.planner.target / file.path).unlink(missing_ok=True)
                self._remove_empty((self.planner.target / file.path).parent)
            self.planner.manifest.forget(song)

    def _at_place(self, item: PlannedSong, files: tuple[ManifestFile, ...]) -> tuple[ManifestFile, ...]:
        """Return the files with the paths that they have at the place of `item`; names that are taken get a number."""
        own = {file.path for file in files}
        given: set[str] = set()
        placed = []
        for file in files:
            layout = item.method.layout(item.place, file.step)
            path = stem_path(layout, ext=Path(file.path).suffix, stem=file.stem)
            name, number = path, 1
            while str(name) in given or (str(name) not in own and self._is_foreign(str(name), file)):
                number += 1
                name = path.with_name(f"{path.stem} ({number}){path.suffix}")
            given.add(str(name))
            placed.append(evolve(file, path=str(name)))
        return tuple(placed)

    def _is_foreign(self, name: str, file: ManifestFile) -> bool:
        path, old = self.planner.target / name, self.planner.target / file.path
        return os.path.lexists(path) and not (old.exists() and path.is_file() and filecmp.cmp(path, old, shallow=False))

    def _rename(self, renames: Renames) -> None:
        for before, after in renames:
            old, new = self.planner.target / before, self.planner.target / after
            with suppress(FileNotFoundError):  # removed by the user, or renamed before the process was killed
                new.parent.mkdir(parents=True, exist_ok=True)
                old.replace(new)
                self._remove_empty(old.parent)

    def _copy(self, old: ManifestFile, new: ManifestFile) -> None:
        """Copy a stem that is as it was written; one that was edited, or cannot be copied, is fetched again later."""
        source, copy = self.planner.target / old.path, self.planner.target / new.path
        part = copy.with_name(f".{copy.name}.part")
        try:
            if source.stat().st_size != old.size:
                return
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, part)
            part.replace(copy)
        except OSError:
            with suppress(OSError):
                part.unlink(missing_ok=True)

    def _remove_empty(self, folder: Path) -> None:
        """Remove folders that became empty, up to the target."""
        with suppress(OSError):
            while folder != self.planner.target and folder.is_relative_to(self.planner.target):
                folder.rmdir()
                folder = folder.parent


def _stay(item: PlannedSong, known: SeparatedSong, error: OSError) -> Notice:
    return Notice(item.path, f"was renamed; its stems stay at {known.place}: {error.strerror or error}")
