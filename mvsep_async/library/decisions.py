"""What is to be done about a song, decided from what is known of it. Pure: no disk, no clock."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from attrs import define, frozen

from mvsep_async.errors import (
    DownloadError,
    JobFailedError,
    JobNotFoundError,
    MVSepError,
    ProtocolError,
    ServiceUnavailableError,
    TransportError,
    UploadError,
)
from mvsep_async.library.manifest import ManifestFile, Row
from mvsep_async.recipes.recipe import Recipe

__all__ = ["CreditBudget", "Done", "Fetch", "Make", "decide", "worth_repeating"]


@frozen
class Done:
    """All stems asked for are there. `edited`: those whose size is not the one they were made with."""

    edited: tuple[ManifestFile, ...] = ()


@frozen
class Fetch:
    """Some stems are missing, of a song that was separated: they are fetched, and only made again if they are gone.

    `present`: the stems that are there.
    """

    present: tuple[ManifestFile, ...]


@frozen
class Make:
    """The song is to be separated. `stale`: what an earlier version of it was separated into."""

    stale: tuple[ManifestFile, ...] = ()


def decide(
    recipe: Recipe, size: int, mtime_ns: int, row: Row | None, on_disk: Mapping[str, int]
) -> Done | Fetch | Make:
    """Say what to do about a song as it is now (`size`, `mtime_ns`), and the row of its earlier separation.

    `on_disk`: the sizes of the row's files that are there, by their paths. A stem of another size was edited by its
    owner: it is left alone. An empty one counts as missing.
    """
    if row is None:
        return Make()
    if (size, mtime_ns) != (row.size, row.mtime_ns):
        return Make(row.files)
    present = tuple(file for file in row.files if on_disk.get(file.path, 0) > 0)
    if len(present) < len(row.files) or not _covers(recipe, row):
        return Fetch(present)
    return Done(tuple(file for file in present if on_disk[file.path] != file.size))


def _covers(recipe: Recipe, row: Row) -> bool:
    """Tell whether all stems that are wanted now were wanted then, or came out all the same."""
    for step in recipe.keeping:
        if step.name not in row.kept:
            return False
        kept = row.kept[step.name]
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

    def take(self, credits: int | None) -> bool:
        """Take what a song costs; `False`, and nothing taken, where it is too much or not known under a limit."""
        if self.limit is not None and (credits is None or self.spent + credits > self.limit):
            return False
        self.spent += credits or 0
        return True


_WORTH: Final = (
    DownloadError,
    JobFailedError,
    JobNotFoundError,
    ProtocolError,
    ServiceUnavailableError,
    TransportError,
    UploadError,
)


def worth_repeating(error: MVSepError) -> bool:
    """Tell whether the same song may well succeed a second time: not where the request itself was refused."""
    return isinstance(error, _WORTH)
