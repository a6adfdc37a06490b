"""Song sources: paths, URLs, bytes, streams and pairs, and the checks made before anything is sent."""

from __future__ import annotations

import os
import stat
from collections.abc import AsyncIterable, Mapping
from pathlib import Path
from typing import Final, Literal, TypeAlias
from urllib.parse import unquote, urlsplit

from attrs import Factory, evolve, field, frozen

from mvsep_async.errors import InvalidRequestError

__all__ = [
    "Data",
    "JobSource",
    "Pair",
    "RemoteType",
    "Source",
    "Spooled",
    "Stream",
    "check_source",
    "is_url",
    "job_source",
    "label",
    "remote_type_of",
    "uploaded_files",
]

RemoteType: TypeAlias = Literal["direct", "mega", "drive", "dropbox"]

_REMOTE_HOSTS: Final[Mapping[str, RemoteType]] = {
    "mega.nz": "mega",
    "mega.co.nz": "mega",
    "mega.io": "mega",
    "drive.google.com": "drive",
    "docs.google.com": "drive",
    "drive.usercontent.google.com": "drive",
    "dropbox.com": "dropbox",
}

_READABLE: Final = stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH


@frozen
class Spooled:
    """A song that arrived as bytes, in a file beside the journal or in a temporary folder."""

    path: Path
    filename: str


@frozen
class Data:
    """A song in memory, with its file name. The bytes are dropped once the service has them."""

    data: bytes
    filename: str
    size: int = field(default=Factory(lambda self: len(self.data), takes_self=True))

    def emptied(self) -> Data:
        """Return the same song without its bytes."""
        return evolve(self, data=b"")

    def __repr__(self) -> str:
        return f"Data(<{self.size} bytes>, {self.filename!r})"


@frozen
class Stream:
    """A song that is read from an async iterable of bytes, once, with its file name."""

    chunks: AsyncIterable[bytes]
    filename: str


@frozen
class Pair:
    """Two paths for matchering: a song, and the reference that it should sound like."""

    target: str | os.PathLike[str]
    reference: str | os.PathLike[str]


Source: TypeAlias = "str | os.PathLike[str] | bytes | AsyncIterable[bytes] | Pair | None"
"""What `submit` takes: a path, an http(s) URL, bytes or an async iterable of bytes, a `Pair`, `None` for generators."""

JobSource: TypeAlias = "str | os.PathLike[str] | Data | Stream | Spooled | Pair | None"
"""A source as a job request holds it: bytes and streams with their file name, streams spooled before they are sent."""


def job_source(source: Source, filename: str | None) -> JobSource:
    """Return a source as a job request holds it. Raises `InvalidRequestError` for a type that is not a source."""
    match source:
        case None | str() | os.PathLike() | Pair():
            return source
        case bytes():
            return Data(source, _required_name(filename, "bytes"))
        case AsyncIterable():
            return Stream(source, _required_name(filename, "an async iterable"))
        case _:
            raise InvalidRequestError(
                f"{type(source).__name__} is not a source: give a path, a URL, bytes, an async iterable of bytes, "
                "a Pair, or None for a generator"
            )


def _required_name(filename: str | None, kind: str) -> str:
    if not filename:
        raise InvalidRequestError(f"{kind} has no file name: pass filename='song.flac'")
    return filename


def is_url(source: object) -> bool:
    """Tell whether a source is an http(s) URL, which the service fetches itself."""
    return isinstance(source, str) and source[:8].lower().startswith(("http://", "https://"))


def remote_type_of(url: str) -> RemoteType:
    """Return the `remote_type` for a URL, recognised by its host; `direct` for all others."""
    name = (urlsplit(url).hostname or "").lower()
    for host, kind in _REMOTE_HOSTS.items():
        if name == host or name.endswith("." + host):
            return kind
    return "direct"


def uploaded_files(source: JobSource) -> tuple[str | os.PathLike[str], ...]:
    """Return the paths of the files that are uploaded for a source; empty for songs in memory, URLs and generators."""
    match source:
        case None | Data() | Stream():
            return ()
        case Pair(target, reference):
            return target, reference
        case Spooled(path, _):
            return (path,)
        case str() as url if is_url(url):
            return ()
        case path:
            return (path,)


def check_source(source: JobSource) -> None:
    """Raise `InvalidRequestError` for a source that cannot be sent: missing, a folder, empty, unreadable.

    Only the file's entry is read, which costs microseconds, except on a network share that does not answer.
    """
    if isinstance(source, Data) and not source.data:
        raise InvalidRequestError(f"{source.filename} is empty: there is nothing to separate")
    if isinstance(source, str) and is_url(source):
        _check_url(source)
    for path in uploaded_files(source):
        _check_path(path)


def label(source: JobSource, filename: str | None = None) -> str:
    """Return the song's file name: the given one, that of its file, or the last part of its URL."""
    if filename:
        return filename
    match source:
        case None:
            return "generated"
        case Data(_, name) | Stream(_, name) | Spooled(_, name):
            return name
        case Pair(target, _):
            return Path(target).name
        case str() as url if is_url(url):
            parts = urlsplit(url)
            return unquote(parts.path.rstrip("/").rpartition("/")[2]) or parts.hostname or "url"
        case _:
            return Path(source).name


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        usable = bool(parts.hostname) and not any(c.isspace() for c in url)
    except ValueError:
        usable = False
    if not usable:
        raise InvalidRequestError(f"{url[:120]!r} is not a URL that a song can be fetched from")


def _check_path(path: str | os.PathLike[str]) -> None:
    try:
        found = os.stat(path)  # noqa: PTH116 -- a Path object a song would triple the cost of submitting
    except FileNotFoundError:
        raise InvalidRequestError(f"file not found: {os.fspath(path)!r}") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "the name is not valid"
        raise InvalidRequestError(f"{os.fspath(path)!r} cannot be read: {reason}") from None
    if stat.S_ISDIR(found.st_mode):
        raise InvalidRequestError(f"{os.fspath(path)!r} is a folder: give the files in it, or use the library command")
    if not stat.S_ISREG(found.st_mode):
        raise InvalidRequestError(f"{os.fspath(path)!r} is not a regular file")
    if not found.st_size:
        raise InvalidRequestError(f"{os.fspath(path)!r} is empty: there is nothing to separate")
    # A file that everybody may read needs no second call, which would add a third to the cost of this check.
    if found.st_mode & _READABLE != _READABLE and not os.access(path, os.R_OK):
        raise InvalidRequestError(f"{os.fspath(path)!r} is not readable: change its permissions")
