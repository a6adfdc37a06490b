"""The digest of a song's audio, which does not depend on its name, folder, time or tags."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO, Final

from anyio import to_thread
from attrs import frozen

from mvsep_async.audio.extents import AudioData, Extent, find_extents
from mvsep_async.audio.ogg import last_position, packets
from mvsep_async.concurrency import thread_limiter

__all__ = ["AudioContent", "FileChangedError", "audio_length", "content_of", "read_content"]

_BYTES: Final = 15
"""Of a digest: 120 bits, so that two songs of a billion have the same one by chance with a probability below 1e-18."""

_PIECE: Final = 1 << 20
"""Bytes hashed at one time: memory is the same for every file."""


class FileChangedError(OSError):
    """A file changed while it was read."""


@frozen
class AudioContent:
    """A song's audio as it was read: its digest and length, and the size and time of the file that it was read from.

    `length`: bytes of audio, of an Ogg file its samples. It is found without reading the audio, see `audio_length`.
    """

    digest: str
    length: int
    size: int
    mtime_ns: int


def audio_length(path: str | os.PathLike[str]) -> int:
    """Return the `length` that the file's content has: songs of different lengths differ. Reads headers only."""
    with Path(path).open("rb") as file:
        return _length(AudioData(file))


def content_of(path: str | os.PathLike[str], *, stop: Callable[[], bool] = lambda: False) -> AudioContent:
    """Read a file's audio and return its digest. It blocks, for about a second a gigabyte from memory.

    `stop` is asked between pieces; once it says yes, `InterruptedError` is raised. Raises `OSError` for a file that
    cannot be read, `FileChangedError` for one that changes meanwhile.
    """
    with Path(path).open("rb") as file:
        before = os.fstat(file.fileno())
        source = AudioData(file)
        digest = blake2b(digest_size=_BYTES)
        for piece in _pieces(source):
            if stop():
                raise InterruptedError("the reading was stopped")
            digest.update(piece)
        length = _length(source)
        after = os.fstat(file.fileno())
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise FileChangedError(f"{os.fspath(path)!r} changed while it was read")
    return AudioContent(digest.hexdigest(), length, after.st_size, after.st_mtime_ns)


async def read_content(path: str | os.PathLike[str]) -> AudioContent:
    """Return what `content_of` does, from a worker thread that ends soon when this is cancelled."""
    stopped = threading.Event()
    try:
        return await to_thread.run_sync(
            lambda: content_of(path, stop=stopped.is_set), abandon_on_cancel=True, limiter=thread_limiter()
        )
    finally:
        stopped.set()


def _is_ogg(source: AudioData) -> bool:
    return source.read(0, 4) == b"OggS"


def _length(source: AudioData) -> int:
    if _is_ogg(source):
        return last_position(source)
    return sum(last - first for first, last in find_extents(source))


def _pieces(source: AudioData) -> Iterator[bytes | memoryview]:
    if _is_ogg(source):
        yield from packets(source)
        return
    buffer = memoryview(bytearray(_PIECE))
    for extent in find_extents(source):
        yield from _read(source.file, extent, buffer)


def _read(file: BinaryIO, extent: Extent, buffer: memoryview) -> Iterator[memoryview]:
    at, end = extent
    file.seek(at)
    while at < end:
        count = file.readinto(buffer[: min(len(buffer), end - at)])  # type: ignore[attr-defined]
        if not count:
            return
        yield buffer[:count]
        at += count
