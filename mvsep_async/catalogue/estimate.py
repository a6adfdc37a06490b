"""Estimate the price of songs before anything is uploaded."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import anyio
from anyio import CapacityLimiter, to_thread
from attrs import frozen

from mvsep_async.audio.tags import DAMAGED
from mvsep_async.audio.walk import AudioFile, rejection, walk
from mvsep_async.catalogue.algorithm import Algorithm
from mvsep_async.catalogue.options import Options
from mvsep_async.catalogue.price import credits_for
from mvsep_async.errors import InvalidRequestError

__all__ = ["Estimate", "SongEstimate", "estimate"]

_READERS: Final = 4
"""Files read at one time: a duration takes a few small reads, so more only helps on slow disks."""


@frozen
class SongEstimate:
    """One song: its length in seconds, and its price as a premium job."""

    path: Path
    seconds: float
    credits: int


@frozen
class Estimate:
    """The price of separating some songs. `unreadable`: the files whose length is not known, with the reason."""

    algorithm: Algorithm
    songs: tuple[SongEstimate, ...]
    unreadable: tuple[tuple[Path, str], ...] = ()

    @property
    def credits(self) -> int:
        """The credits of all songs together."""
        return sum(song.credits for song in self.songs)

    @property
    def seconds(self) -> float:
        """The length of all songs together, in seconds."""
        return sum(song.seconds for song in self.songs)


async def estimate(
    sources: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    algorithm: Algorithm,
    options: Options | None = None,
) -> Estimate:
    """Return the price of these files, and of the audio files in these folders, as premium jobs.

    Lengths are read from the files' headers in worker threads. Raises `InvalidRequestError` for a path that does not
    exist, a folder without audio, and an invalid option.
    """
    credits_for(algorithm, options, 0)
    given = [sources] if isinstance(sources, str | os.PathLike) else list(sources)
    lengths = await to_thread.run_sync(lambda: dict(_songs(given)))
    remaining = iter([path for path, reason in lengths.items() if reason is None])
    limiter = CapacityLimiter(_READERS)

    async def read() -> None:
        for path in remaining:
            lengths[path] = await to_thread.run_sync(_length, path, limiter=limiter)

    async with anyio.create_task_group() as readers:
        for _ in range(_READERS):
            readers.start_soon(read)
    songs = tuple(
        SongEstimate(path, length, credits_for(algorithm, options, length))
        for path, length in lengths.items()
        if isinstance(length, float)
    )
    unreadable = tuple((path, reason) for path, reason in lengths.items() if isinstance(reason, str))
    return Estimate(algorithm, songs, unreadable)


def _songs(sources: Iterable[str | os.PathLike[str]]) -> Iterator[tuple[Path, float | str | None]]:
    """Yield the songs given and found in folders, each with the reason why it cannot be sent, or `None`."""
    for source in sources:
        path = Path(source)
        if path.is_dir():
            yield from _songs_in(path)
        elif not path.exists():
            raise InvalidRequestError(f"there is no file {path}")
        else:
            yield path, rejection(path)


def _songs_in(folder: Path) -> Iterator[tuple[Path, float | str | None]]:
    empty = True
    for found in walk(folder):
        if isinstance(found, AudioFile):
            yield Path(found.path), None
        elif found is not None and not found.duplicate:
            yield Path(found.path), found.reason
        empty = empty and found is None
    if empty:
        raise InvalidRequestError(f"there are no audio files in {folder}: check the folder")


def _length(path: Path) -> float | str:
    """Return a file's length in seconds, or the reason why it is not known."""
    import mutagen

    try:
        info = getattr(mutagen.File(path), "info", None)
        length = float(getattr(info, "length", 0) or 0)
    except (mutagen.MutagenError, *DAMAGED) as error:
        return f"cannot be read: {str(error)[:150] or type(error).__name__}"
    if info is None:
        return "is not of a known audio format"
    return length if length > 0 else "has no duration in its header"
