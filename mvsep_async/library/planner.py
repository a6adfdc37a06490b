"""From a folder to what is to be done, song by song, without holding more than one. All of it blocks."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Final

from attrs import define, frozen

from mvsep_async.audio.tags import Tags, read_tags
from mvsep_async.audio.walk import AudioFile, SkippedFile, walk
from mvsep_async.jobs.fingerprint import fingerprint
from mvsep_async.jobs.request import JobSettings
from mvsep_async.library.decisions import Done, Fetch, Make, decide
from mvsep_async.library.layout import Layout, place_key, values_of
from mvsep_async.library.manifest import Manifest, Row
from mvsep_async.recipes.recipe import Recipe

__all__ = ["EDITED", "ONLY", "Planned", "Planner", "Remark", "Work"]

ONLY: Final = "separation"
"""The step of a song that is separated by one algorithm. It has no name of its own in what the manifest knows a way by,
so that a second way of the same algorithm, which makes both names longer, changes nothing about what is done."""


EDITED: Final = "was changed since it was made: left as it is"
"""What is said of a stem whose size is not the one it was made with."""


@frozen
class Work:
    """One way in which every song is separated: a resolved recipe, `digest` for short.

    `label`: its name for people. `steps`, `algorithms`: what `{step}` and `{algorithm}` are, by the step's name.
    `price`: step, seconds → credits.
    """

    label: str
    recipe: Recipe
    digest: str
    steps: dict[str, str]
    algorithms: dict[str, str]
    price: Callable[[str, float], int]

    def total(self, seconds: float | None) -> int | None:
        """Return the credits of all steps for a song of this length."""
        return None if seconds is None else sum(self.price(step.name, seconds) for step in self.recipe.steps)


@frozen
class Planned:
    """A song, a way to separate it, and what is to be done about it.

    `identity`: stands for the song with its content in the keys of jobs. `earlier`: its row in the manifest.
    """

    song: AudioFile
    work: Work
    action: Done | Fetch | Make
    title: str
    place: str
    identity: str
    seconds: float | None = None
    credits: int | None = None
    earlier: Row | None = None


@frozen
class Remark:
    """Something to be told about a file."""

    path: str
    why: str


@define
class Planner:
    """Plans the songs below `source`, in the order in which they are found."""

    source: Path
    target: Path
    works: Sequence[Work]
    layout: Layout
    manifest: Manifest

    def plan(self) -> Iterator[Planned | Remark | None]:
        """Give one `Planned` for each song and way; `None` marks a moment at which one may pause."""
        for found in walk(self.source, exclude=self.target):
            match found:
                case None:
                    yield None
                case SkippedFile(path, why):
                    yield Remark(path, why)
                case _:
                    yield from self._plan(found)

    def to_make(self, run: str) -> Iterator[int | None]:
        """Give for each song in how many ways it is to be separated: a look ahead, which reads no tags.

        `run`: songs that this run has done already count as well, so that it does not matter which of them those are.
        """
        for found in walk(self.source, exclude=self.target):
            if isinstance(found, AudioFile):
                yield sum(self._is_to_make(found, work, run) for work in self.works)
            else:
                yield None

    def _is_to_make(self, song: AudioFile, work: Work, run: str) -> bool:
        row = self.manifest.row(song.name, work.digest)
        if row is not None and row.run == run:
            return True
        return not isinstance(decide(work.recipe, song.size, song.mtime_ns, row, self._sizes(row)), Done)

    def _plan(self, song: AudioFile) -> Iterator[Planned | Remark]:
        tags: Tags | None = None
        place: str | None = None
        identity = fingerprint(song.path, song.size, song.mtime_ns, JobSettings())
        for work in self.works:
            row = self.manifest.row(song.name, work.digest)
            action = decide(work.recipe, song.size, song.mtime_ns, row, self._sizes(row))
            if row is not None and not isinstance(action, Make):
                yield Planned(
                    song, work, action, row.title, row.place, identity, row.seconds, work.total(row.seconds), row
                )
                if isinstance(action, Done):
                    for file in action.edited:
                        yield Remark(str(self.target / file.path), EDITED)
                continue
            if tags is None:
                tags = read_tags(song.path, song.format)
            if place is None:
                place, holder = self._choose_place(song, tags)
                if holder is not None:
                    other = str(self.source / holder)
                    yield Remark(song.path, f"has the same target as {other}: its stems go to {_readable(place)}")
            title = tags.get("title") or PurePosixPath(os.fsencode(song.name).decode("utf-8", "replace")).stem
            yield Planned(song, work, action, title, place, identity, tags.seconds, work.total(tags.seconds), row)

    def _choose_place(self, song: AudioFile, tags: Tags) -> tuple[str, str | None]:
        """Return the place that is the song's alone, and the song that has the one it would have had."""
        wanted = self.layout.place(values_of(song.name, tags))
        place, number, first = wanted, 1, None
        while (holder := self.manifest.claim(place_key(place), song.name)) is not None:
            first = first or holder
            number += 1
            place = self.layout.numbered(wanted, number)
        return place, first

    def _sizes(self, row: Row | None) -> dict[str, int]:
        sizes: dict[str, int] = {}
        for file in () if row is None else row.files:
            try:
                sizes[file.path] = os.stat(self.target / file.path).st_size  # noqa: PTH116
            except OSError:
                continue
        return sizes


def _readable(place: str) -> str:
    """Return the part of a place that all stems of the song share."""
    shared = place.replace("{{", "\0").partition("{")[0].replace("\0", "{").replace("}}", "}")
    return shared.strip("/ ")
