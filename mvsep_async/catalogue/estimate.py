"""What a whole library would cost, before anything is uploaded."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import anyio
from anyio import CapacityLimiter, to_thread
from attrs import frozen

from mvsep_async.catalogue.algorithm import Algorithm
from mvsep_async.catalogue.options import Options
from mvsep_async.catalogue.price import credits_for
from mvsep_async.errors import ConfigurationError, InvalidRequestError

__all__ = ["AUDIO_SUFFIXES", "Estimate", "SongEstimate", "estimate"]

AUDIO_SUFFIXES: Final = frozenset({".mp3", ".wav", ".flac", ".m4a", ".aac", ".ogg", ".opus", ".webm", ".aiff", ".aif"})
"""What the service takes (its API page)."""

_READERS: Final = 4
"""Files read at one time, our choice: reading a duration is a few small reads, so this is for slow disks."""


@frozen
class SongEstimate:
    """One song: its length in seconds, and what it would cost as a premium job."""

    path: Path
    seconds: float
    credits: int


@frozen
class Estimate:
    """What separating some songs would cost. `unreadable`: the files whose length is not known, and why."""

    algorithm: Algorithm
    songs: tuple[SongEstimate, ...]
    unreadable: tuple[tuple[Path, str], ...] = ()

    @property
    def credits(self) -> int:
        """Credits of all the songs together."""
        return sum(song.credits for song in self.songs)

    @property
    def seconds(self) -> float:
        """Length of all the songs together."""
        return sum(song.seconds for song in self.songs)


async def estimate(
    sources: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    algorithm: Algorithm,
    options: Options | None = None,
) -> Estimate:
    """Return what these files, and the audio files in these folders, would cost as premium jobs.

    Lengths are read from the files' headers in worker threads. Raises `InvalidRequestError` for a path that is not
    there, a folder without audio, and options that cannot be; `ConfigurationError` without the extra `library`.
    """
    _require_mutagen()
    credits_for(algorithm, options, 0)
    given = [sources] if isinstance(sources, str | os.PathLike) else list(sources)
    paths = await to_thread.run_sync(lambda: list(dict.fromkeys(_songs(given))))
    lengths: dict[Path, float | str] = {}
    remaining = iter(paths)
    limiter = CapacityLimiter(_READERS)

    async def read() -> None:
        for path in remaining:
            lengths[path] = await to_thread.run_sync(_length, path, limiter=limiter)

    async with anyio.create_task_group() as readers:
        for _ in range(_READERS):
            readers.start_soon(read)
    known = ((path, lengths[path]) for path in paths)
    songs: list[SongEstimate] = []
    unreadable: list[tuple[Path, str]] = []
    for path, length in known:
        if isinstance(length, str):
            unreadable.append((path, length))
        else:
            songs.append(SongEstimate(path, length, credits_for(algorithm, options, length)))
    return Estimate(algorithm, tuple(songs), tuple(unreadable))


def _songs(sources: Iterable[str | os.PathLike[str]]) -> Iterator[Path]:
    for source in sources:
        path = Path(source)
        if path.is_dir():
            found = sorted(file for file in path.rglob("*") if file.suffix.lower() in AUDIO_SUFFIXES and file.is_file())
            if not found:
                raise InvalidRequestError(f"the folder {path} has no audio in it")
            yield from found
        elif path.exists():
            yield path
        else:
            raise InvalidRequestError(f"there is no file {path}")


def _length(path: Path) -> float | str:
    """Return a file's length in seconds, or why it is not known."""
    import mutagen

    try:
        info = getattr(mutagen.File(path), "info", None)
        length = float(getattr(info, "length", 0) or 0)
    except (mutagen.MutagenError, OSError, ValueError, LookupError, ArithmeticError, EOFError, struct.error) as error:
        return f"cannot be read: {str(error)[:150] or type(error).__name__}"
    if info is None:
        return "is of no audio format that mutagen knows"
    return length if length > 0 else "does not tell its length"


def _require_mutagen() -> None:
    try:
        import mutagen  # noqa: F401
    except ImportError as error:
        raise ConfigurationError(
            "an estimate needs mutagen to read how long songs are: install mvsep-async[library]"
        ) from error
