"""Plan what to do about each song of a folder, holding one song at a time. Everything here blocks."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Final

from attrs import define, field, frozen

from mvsep_async.audio.digest import AudioContent, audio_length, content_of
from mvsep_async.audio.tags import Tags, read_tags
from mvsep_async.audio.walk import AudioFile, SkippedFile, audio_file, walk
from mvsep_async.library.decisions import (
    Action,
    FailedBefore,
    FetchMissing,
    Follow,
    Separate,
    UpToDate,
    check_stems,
    is_tried_again,
    matches,
)
from mvsep_async.library.layout import Layout, values_of
from mvsep_async.library.manifest import Manifest
from mvsep_async.library.outcome import Notice
from mvsep_async.library.records import FailedSong, ManifestFile, SeparatedSong
from mvsep_async.naming import caseless, fill
from mvsep_async.recipes.recipe import Recipe

__all__ = ["EDITED", "SINGLE_STEP", "Method", "PlannedSong", "Planner"]

SINGLE_STEP: Final = "separation"
"""The name of the step of a song that is separated by one algorithm. Labels are not part of a method's digest: a second
method of the same algorithm, which makes both labels longer, changes nothing about what is done."""

EDITED: Final = "was changed since it was written: left as it is"
"""The notice about a stem whose size is not the one it was written with."""


@frozen
class Method:
    """A method by which every song is separated: a resolved recipe, `digest` for short.

    `label`: its name for people. `steps`, `algorithms`: the values of `{step}` and `{algorithm}`, by the step's name.
    `price`: step, seconds → credits.
    """

    label: str
    recipe: Recipe
    digest: str
    steps: dict[str, str]
    algorithms: dict[str, str]
    price: Callable[[str, float], int]

    @property
    def kept(self) -> dict[str, list[str] | None]:
        """The stems that are wanted of each step, `None` for all."""
        return {step.name: None if step.keep is None else list(step.keep) for step in self.recipe.keeping}

    def layout(self, place: str, step: str) -> str:
        """Return the layout of a step's stems at a song's place, as `job.download` takes it."""
        values = {"step": self.steps.get(step, step), "algorithm": self.algorithms.get(step, step)}
        return fill(place, values)

    def total(self, seconds: float | None) -> int | None:
        """Return the credits of all steps for a song of this length."""
        return None if seconds is None else sum(self.price(step.name, seconds) for step in self.recipe.steps)


@frozen
class PlannedSong:
    """A song, a method, and what to do about it.

    `known`: its separation in the manifest. `content`: its audio as it was read last, `None` if that was not needed.
    """

    song: AudioFile
    method: Method
    action: Action
    title: str
    place: str
    seconds: float | None = None
    credits: int | None = None
    known: SeparatedSong | None = None
    content: AudioContent | None = None

    @property
    def path(self) -> Path:
        """The song's file."""
        return Path(self.song.path)

    @property
    def key(self) -> tuple[str, str]:
        """What identifies it in a run: the song's name and the digest of the method."""
        return self.song.name, self.method.digest

    def separated(self, files: tuple[ManifestFile, ...] = ()) -> SeparatedSong:
        """Return what the manifest holds of the song with these stems. Its audio was read."""
        assert self.content is not None
        return SeparatedSong(
            source=self.song.name,
            method=self.method.digest,
            method_name=self.method.label,
            title=self.title,
            size=self.content.size,
            mtime_ns=self.content.mtime_ns,
            content=self.content.digest,
            audio_length=self.content.length,
            seconds=self.seconds,
            credits=self.credits,
            place=self.place,
            files=files,
            kept=self.method.kept,
            finished=time.time(),
        )


@define
class Planner:
    """Plans the songs below `source`, in the order in which they are found.

    `run`: the run that they are planned for. `retry_failed`: songs that failed in earlier runs are planned again,
    unless their files are damaged. `include`, `exclude`: patterns of names, see `matches`.
    """

    source: Path
    target: Path
    methods: Sequence[Method]
    layout: Layout
    manifest: Manifest
    run: str
    retry_failed: bool = False
    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    _content: tuple[AudioFile, AudioContent | None] | None = field(default=None, init=False)

    def plan(self) -> Iterator[PlannedSong | Notice | None]:
        """Yield one `PlannedSong` for each song and method; `None` marks a moment at which a reader may pause."""
        for found in self._walk():
            match found:
                case None:
                    yield None
                case SkippedFile(path, reason, duplicate):
                    yield Notice(Path(path), reason, rejected=not duplicate)
                case _:
                    yield from self._plan(found, self.methods)

    def replan(self, item: PlannedSong) -> list[PlannedSong | Notice]:
        """Plan a song again, whose file has changed."""
        found = audio_file(item.song.path, item.song.name)
        if isinstance(found, SkippedFile):
            return [Notice(item.path, found.reason)]
        return list(self._plan(found, [item.method]))

    def count(self) -> Iterator[int | None]:
        """Yield for each song by how many methods it is to be separated, by name, size and time alone.

        Songs that this run has separated already count as well, so that it does not matter which of them it has.
        """
        for found in self._walk():
            if isinstance(found, AudioFile):
                yield sum(self._is_to_separate(found, method) for method in self.methods)
            else:
                yield None

    def sizes(self, known: SeparatedSong) -> dict[str, int]:
        """Return the sizes of a song's stems that exist, by their paths."""
        sizes: dict[str, int] = {}
        for file in known.files:
            try:
                sizes[file.path] = os.stat(self.target / file.path).st_size  # noqa: PTH116
            except OSError:
                continue
        return sizes

    def recall(self, song: AudioFile, content: AudioContent, method: Method) -> Follow | FailedBefore | None:
        """Return what is known of this audio under any name, `None` for audio to be separated."""
        known = self.manifest.songs_with(content.digest, method.digest)
        if known:
            return Follow(next((one for one in known if self.is_moved(one, song)), known[0]))
        failed = self.manifest.failure_of(content.digest, method.digest)
        if failed is not None and not is_tried_again(failed, retry_failed=self.retry_failed):
            return FailedBefore(failed)
        return None

    def is_moved(self, known: SeparatedSong, song: AudioFile) -> bool:
        """Tell whether a song was renamed since it was separated: a copy still has its earlier name, too."""
        before = self.source / known.source
        if known.source == song.name:
            return False
        if known.replaced or not os.path.lexists(before):
            return True
        # Where the file system takes both spellings for one name, the old one still leads to the file.
        return caseless(known.source) == caseless(song.name) and before.samefile(song.path)

    def choose_place(self, song: AudioFile, tags: Tags, moved: str | None = None) -> tuple[str, str | None]:
        """Return a place for a song, and the other song that has the place by the layout, if there is one.

        `moved`: the song's earlier name.
        """
        wanted = self.layout.place(values_of(song.name, tags))
        place, number, first = wanted, 1, None
        while (holder := self.manifest.claim(place, song.name, moved=moved)) is not None:
            first = first or holder
            number += 1
            place = self.layout.numbered(wanted, number)
        return place, first

    def _walk(self) -> Iterator[AudioFile | SkippedFile | None]:
        return walk(self.source, exclude=self.target, accepts=self._accepts)

    def _accepts(self, name: str) -> bool:
        return (not self.include or matches(name, self.include)) and not matches(name, self.exclude)

    def _is_to_separate(self, song: AudioFile, method: Method) -> bool:
        known = self.manifest.song(song.name, method.digest)
        action = self._action_by_file(song, method, known)
        if isinstance(action, UpToDate):
            return known is not None and known.run == self.run
        return not isinstance(action, FailedBefore)

    def _plan(self, song: AudioFile, methods: Sequence[Method]) -> Iterator[PlannedSong | Notice]:
        tags: Tags | None = None
        place: str | None = None
        for method in methods:
            known = self.manifest.song(song.name, method.digest)
            action, content = self._action(song, method, known)
            if isinstance(action, UpToDate | FetchMissing):
                assert known is not None
                yield PlannedSong(
                    song, method, action, known.title, known.place, known.seconds, method.total(known.seconds), known
                )
                if isinstance(action, UpToDate):
                    for file in action.edited:
                        yield Notice(self.target / file.path, EDITED)
                continue
            if tags is None:
                tags = read_tags(song.path, song.format)
            if place is None and not isinstance(action, FailedBefore):
                followed = action.known if isinstance(action, Follow) else None
                moved = followed.source if followed is not None and self.is_moved(followed, song) else None
                place, holder = self.choose_place(song, tags, moved)
                if holder is not None:
                    other = self.source / holder
                    reason = f"has the same target as {other}: its stems go to {_readable(place)}"
                    yield Notice(Path(song.path), reason)
            title = tags.get("title") or PurePosixPath(os.fsencode(song.name).decode("utf-8", "replace")).stem
            yield PlannedSong(
                song,
                method,
                action,
                title.encode("utf-8", "replace").decode(),
                place or "",
                tags.seconds,
                method.total(tags.seconds),
                action.known if isinstance(action, Follow) else None,
                content,
            )

    def _action(
        self, song: AudioFile, method: Method, known: SeparatedSong | None
    ) -> tuple[Action, AudioContent | None]:
        """Decide by name, size and time where they match, else by the audio, where audio of this length is known."""
        action = self._action_by_file(song, method, known)
        if action is not None:
            return action, None
        content = self._read(song)
        recalled = None if content is None else self.recall(song, content, method)
        return recalled or Separate(known), content

    def _action_by_file(self, song: AudioFile, method: Method, known: SeparatedSong | None) -> Action | None:
        """Decide by name, size and time; `None` where the file is not one that is known."""
        if known is not None and _is_same_file(known, song):
            return check_stems(method.recipe, known, self.sizes(known))
        failed = self.manifest.failure(song.name, method.digest)
        if failed is None or not _is_same_file(failed, song):
            return None
        return Separate(known) if is_tried_again(failed, retry_failed=self.retry_failed) else FailedBefore(failed)

    def _read(self, song: AudioFile) -> AudioContent | None:
        """Return the song's audio if audio of its length is known, else `None` without reading it."""
        if self._content is not None and self._content[0] == song:
            return self._content[1]
        try:
            found = content_of(song.path) if self.manifest.knows_length(audio_length(song.path)) else None
        except OSError:
            found = None  # it is looked at again before it is sent
        self._content = (song, found)
        return found


def _is_same_file(known: SeparatedSong | FailedSong, song: AudioFile) -> bool:
    return (known.size, known.mtime_ns) == (song.size, song.mtime_ns)


def _readable(place: str) -> str:
    """Return the part of a place that all stems of the song share."""
    shared = place.replace("{{", "\0").partition("{")[0].replace("\0", "{").replace("}}", "}")
    return shared.strip("/ ")
