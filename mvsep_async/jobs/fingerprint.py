"""Fingerprints: the same song, separated with the same settings, has the same one in every process."""

from __future__ import annotations

import json
import os
from hashlib import blake2b
from typing import Final

from mvsep_async.audio.digest import read_content
from mvsep_async.concurrency import in_thread
from mvsep_async.jobs.request import JobSettings
from mvsep_async.sources import Data, JobSource, Pair, Spooled, Stream, is_url

__all__ = ["content_fingerprint_of", "fingerprint", "fingerprint_of"]

_BYTES: Final = 15
"""Of the hash: 120 bits, so that two of a billion songs have the same one by chance with a probability below 1e-18."""


def fingerprint(path: str, size: int, mtime_ns: int, settings: JobSettings) -> str:
    """Return a short hash, the same in every process, of a file as it is now and of how it is to be separated.

    `path` is absolute. Only the settings that change the result count: algorithm, options in any order, output format
    and demo.
    """
    return _hashed(["file", path, size, mtime_ns], settings)


async def fingerprint_of(source: JobSource, settings: JobSettings) -> str | None:
    """Return the fingerprint of any source, or `None` for what has no identity of its own or cannot be looked at.

    A URL stands for itself, a song in memory for its content. A generator makes something new each time, and what was
    spooled from a stream has no origin to compare. Files are looked at, and bytes hashed, in a worker thread.
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
    """Return the fingerprint of a file's audio, whatever its path, time and tags; `None` for other sources.

    The file is read once, in a worker thread. `fingerprint_of` is the quick answer, this one the true one.
    """
    paths = (source.target, source.reference) if isinstance(source, Pair) else (source,)
    digests = []
    for path in paths:
        if not isinstance(path, str | os.PathLike) or is_url(path):
            return None
        try:
            digests.append((await read_content(path)).digest)
        except (OSError, ValueError):
            return None  # `submit` raises for what is wrong with a file
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
        return None  # what is wrong with a file is for `submit` to say


def _entry(path: str | os.PathLike[str]) -> tuple[str, int, int]:
    full = os.path.abspath(path)  # noqa: PTH100 -- `Path.absolute` would keep the `..` that makes one file two
    found = os.stat(full)  # noqa: PTH116 -- asked for every song of a library
    return full, found.st_size, found.st_mtime_ns
