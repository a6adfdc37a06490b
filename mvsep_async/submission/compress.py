"""Send WAV and AIFF songs as FLAC: the same samples, bit by bit, in about half the bytes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from hashlib import sha256
from importlib import import_module
from pathlib import Path, PurePath
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

import anyio
from anyio import CancelScope
from attrs import define, evolve, field

from mvsep_async.concurrency import in_thread
from mvsep_async.http.content import FileContent
from mvsep_async.http.multipart import Part

if TYPE_CHECKING:
    from hashlib import _Hash

    from soundfile import SoundFile

__all__ = ["Compressor", "encode_flac"]

_FORMATS: Final = frozenset({"WAV", "WAVEX", "RF64", "AIFF"})
_SUBTYPES: Final = frozenset({"PCM_16", "PCM_24"})
"""Samples that FLAC stores as they are. It has no floating point and no 32 bits."""

_MOST_CHANNELS: Final = 8

_FRAMES: Final = 1024 * 1024
"""Frames encoded in one go, about 24 s of audio in 0.1 s; in between, a cancellation takes effect."""


@define(eq=False)
class Compressor:
    """Replaces songs by FLAC files for the time of their upload, one song after the other."""

    _turns: anyio.Lock = field(factory=anyio.Lock)

    @asynccontextmanager
    async def compress(self, parts: tuple[Part, ...]) -> AsyncIterator[tuple[Part, ...]]:
        """Return the parts of a form, with FLAC files in the place of songs that become smaller without loss.

        The files exist in a temporary folder during the block. Tags are not in them. Without room for such a folder,
        the parts are returned as they are.
        """
        folders: list[TemporaryDirectory[str]] = []
        try:
            with suppress(OSError):
                await in_thread(lambda: folders.append(TemporaryDirectory(prefix="mvsep-", ignore_cleanup_errors=True)))
            for folder in folders:
                async with self._turns:
                    paths = [Path(folder.name) / f"{index}.flac" for index in range(len(parts))]
                    parts = tuple([await _smaller(part, path) for part, path in zip(parts, paths, strict=True)])
            yield parts
        finally:
            with CancelScope(shield=True):
                for each in folders:
                    await in_thread(each.cleanup)


async def _smaller(part: Part, target: Path) -> Part:
    if not isinstance(part.content, FileContent) or not await encode_flac(part.content.path, target):
        return part
    await part.content.check_unchanged()
    content = await FileContent.open(target)
    if content.size >= part.content.size:
        return part
    return evolve(part, filename=str(PurePath(part.filename).with_suffix(".flac")), content=content)


async def encode_flac(source: Path, target: Path) -> bool:
    """Write a WAV or AIFF file as FLAC; return whether that holds the same samples bit by bit.

    Returns `False` for all other formats too, and if the file cannot be decoded or the copy cannot be written.
    """
    soundfile = await in_thread(import_module, "soundfile")
    with suppress(soundfile.SoundFileError):
        with await in_thread(soundfile.SoundFile, source) as song:
            if song.format not in _FORMATS or song.subtype not in _SUBTYPES or song.channels > _MOST_CHANNELS:
                return False
            create = partial(soundfile.SoundFile, target, "w", song.samplerate, song.channels, song.subtype)
            with await in_thread(partial(create, format="FLAC")) as flac:
                written = await _samples(song, flac)
        with await in_thread(soundfile.SoundFile, target) as flac:
            return await _samples(flac) == written
    return False


async def _samples(song: SoundFile, copy: SoundFile | None = None) -> bytes:
    """Read a song to its end, write it to `copy` if given, and return the digest of its samples."""
    digest = sha256()
    while await in_thread(partial(_next_samples, song, copy, digest)):
        pass
    return digest.digest()


def _next_samples(song: SoundFile, copy: SoundFile | None, digest: _Hash) -> bool:
    samples: Any = song.buffer_read(_FRAMES, dtype="int32")  # without numpy; 16 and 24 bits in its upper ones
    digest.update(samples)
    if copy is not None:
        copy.buffer_write(samples, dtype="int32")
    return len(samples) > 0
