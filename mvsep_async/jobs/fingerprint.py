"""Fingerprints of songs and settings, to recognise a song that was already separated, in any process."""

from __future__ import annotations

import json
import os
from hashlib import blake2b
from typing import Final

from mvsep_async.audio.digest import read_content
from mvsep_async.concurrency import in_thread
from mvsep_async.jobs.request import JobSettings
from mvsep_async.sources import Data, JobSource, Pair, Spooled, Stream, is_url

__all__ = ["content_fingerprint", "content_fingerprint_of", "fingerprint", "fingerprint_of"]

_BYTES: Final = 15
"""Size of the hash: with 120 bits, the probability of a collision among a billion songs is below 1e-18."""


def fingerprint(path: str, size: int, mtime_ns: int, settings: JobSettings) -> str:
    """Return a short hash of a file's path, size and time and of the settings; it is the same in every process.

    `path` is absolute. Only the settings that change the result are included: algorithm, options in any order, output
    format and demo.
    """
    return _hashed(["file", path, size, mtime_ns], settings)


async def fingerprint_of(source: JobSource, settings: JobSettings) -> str | None:
    """Return the fingerprint of any source, or `None` if it has no identity or cannot be read.

    A URL is identified by its text, a song in memory by its content. An algorithm without a song, a stream and a song
    spooled from a stream have no identity. Files are checked, and bytes hashed, in a worker thread.
    """
    match source:
        case None | Stream() | Spooled():
            return None
        case Data(data, _):
            digest = await in_thread(_digest, data)
            return _hashed(["bytes", digest], settings)
        case Pair(target, reference):
            entries = await in_thread(_entries, (target, reference))
            return None if entries is None else _hashed(["pair", *entries], settings)
        case str() as url if is_url(url):
            return _hashed(["url", url], settings)
        case _:
            entries = await in_thread(_entries, (source,))
            return None if entries is None else fingerprint(*entries[0], settings)


async def content_fingerprint_of(source: JobSource, settings: JobSettings) -> str | None:
    """Return the fingerprint of a file's audio, independent of path, time and tags; `None` for other sources.

    The file is read once, in a worker thread. `fingerprint_of` is faster, but differs after a move or touch.
    """
    paths = (source.target, source.reference) if isinstance(source, Pair) else (source,)
    digests = []
    for path in paths:
        if not isinstance(path, str | os.PathLike) or is_url(path):
            return None
        try:
            digests.append((await read_content(path)).digest)
        except (OSError, ValueError):
            return None  # `submit` reports what is wrong with a file
    return content_fingerprint(*digests, settings=settings)


def content_fingerprint(*digests: str, settings: JobSettings) -> str:
    """Return the fingerprint of audio whose digests are known."""
    return _hashed(["audio", *digests], settings)


def _hashed(identity: list[object], settings: JobSettings) -> str:
    parts = [identity, settings.algorithm, sorted(settings.options), int(settings.output_format), settings.demo]
    return _digest(json.dumps(parts, separators=(",", ":")).encode())


def _digest(data: bytes) -> str:
    return blake2b(data, digest_size=_BYTES).hexdigest()


def _entries(paths: tuple[str | os.PathLike[str], ...]) -> list[tuple[str, int, int]] | None:
    try:
        return [_entry(path) for path in paths]
    except (OSError, ValueError):
        return None  # `submit` reports what is wrong with a file


def _entry(path: str | os.PathLike[str]) -> tuple[str, int, int]:
    full = os.path.abspath(path)  # noqa: PTH100 -- `Path.absolute` keeps `..`, which would give one file two names
    found = os.stat(full)  # noqa: PTH116 -- called for every song of a library
    return full, found.st_size, found.st_mtime_ns
