"""What to do about a song, decided from what is known of it. Pure: no disk, no clock."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Final, TypeAlias

from attrs import define, frozen

from mvsep_async.jobs.failures import FailureKind
from mvsep_async.library.records import FailedSong, ManifestFile, SeparatedSong
from mvsep_async.recipes.recipe import Recipe

__all__ = [
    "Action",
    "CreditBudget",
    "FailedBefore",
    "FetchMissing",
    "Follow",
    "Separate",
    "UpToDate",
    "check_stems",
    "is_tried_again",
    "matches",
    "seconds_until_quiet",
]

QUIET: Final = 2.0
"""Seconds without a change after which a file counts as completely written: what copies or downloads a file
writes more often."""


@frozen
class UpToDate:
    """All stems asked for exist. `edited`: those whose size is not the one they were written with."""

    edited: tuple[ManifestFile, ...] = ()


@frozen
class FetchMissing:
    """Some stems of a separated song are missing: they are fetched again. `present`: the stems that exist."""

    present: tuple[ManifestFile, ...]


@frozen
class Follow:
    """The song was separated under another name, or with other tags: its stems are brought to its place."""

    known: SeparatedSong


@frozen
class FailedBefore:
    """The song failed in an earlier run and is not retried automatically."""

    failed: FailedSong


@frozen
class Separate:
    """The song is sent. `replaced`: the separation of what was there under its name before."""

    replaced: SeparatedSong | None = None


Action: TypeAlias = UpToDate | FetchMissing | Follow | FailedBefore | Separate


def check_stems(recipe: Recipe, known: SeparatedSong, on_disk: Mapping[str, int]) -> UpToDate | FetchMissing:
    """Return whether a separated song lacks stems.

    `on_disk`: the sizes of its files that exist, by their paths. A stem of another size was edited by the user: it
    counts as present. An empty one counts as missing.
    """
    present = tuple(file for file in known.files if on_disk.get(file.path, 0) > 0)
    if len(present) < len(known.files) or not _covers(recipe, known):
        return FetchMissing(present)
    return UpToDate(tuple(file for file in present if on_disk[file.path] != file.size))


def is_tried_again(failed: FailedSong, *, retry_failed: bool) -> bool:
    """Tell whether a song that failed in an earlier run is sent again."""
    return failed.kind is FailureKind.TEMPORARY or (retry_failed and failed.kind is FailureKind.ON_REQUEST)


def matches(name: str, patterns: Iterable[str]) -> bool:
    """Tell whether a song's path below the source folder, or its file name, matches a pattern, in any case.

    `*` stands for any text, `?` for a character, `[a-f]` for one of several. A pattern with `/` is for the path; at its
    beginning, `/` stands for the source folder.
    """
    path = name.casefold()
    file = path.rpartition("/")[2]
    return any(
        fnmatchcase(path if "/" in pattern else file, pattern.casefold().removeprefix("/")) for pattern in patterns
    )


def seconds_until_quiet(mtime_ns: int, now: float) -> float:
    """Return how long to wait before looking again at a file that may still be written; 0 for one that is not young.

    A time ahead of the clock, as servers with a clock of their own give it, counts as young for a minute.
    """
    age = now - mtime_ns / 1e9
    return max(0.0, min(QUIET - age, QUIET)) if age > -60 else 0.0


def _covers(recipe: Recipe, known: SeparatedSong) -> bool:
    """Tell whether a song was separated with all the stems that are wanted now."""
    for step in recipe.keeping:
        if step.name not in known.kept:
            return False
        kept = known.kept[step.name]
        if kept is None:
            continue
        if step.keep is None or {stem.casefold() for stem in step.keep} - {stem.casefold() for stem in kept}:
            return False
    return True


@define
class CreditBudget:
    """Credits that may be spent. `limit`: `None` for any number."""

    limit: int | None
    spent: int = 0

    def reserve(self, credits: int | None) -> bool:
        """Reserve a song's credits; `False`, and nothing reserved, if they are too many, or unknown under a limit."""
        if self.limit is not None and (credits is None or self.spent + credits > self.limit):
            return False
        self.spent += credits or 0
        return True

    def release(self, credits: int) -> None:
        """Return reserved credits that were not spent."""
        self.spent -= credits
