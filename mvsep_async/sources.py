"""What can be separated, and what can be known of it before anything is sent."""

from __future__ import annotations

import os
import stat
from collections.abc import AsyncIterable, Mapping
from pathlib import Path
from typing import Final, Literal, TypeAlias
from urllib.parse import unquote, urlsplit

from attrs import Factory, evolve, field, frozen

from mvsep_async.errors import InvalidRequestError

__all__ = ["Pair", "PreparedSource", "Source", "Spooled", "check", "is_url", "label", "remote_type_of"]

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
    """A song that came as bytes and was put into a file beside the journal, to survive the process."""

    path: Path
    filename: str


@frozen
class Data:
    """A song in memory, with the name that the service is told; without its bytes once the service has them."""

    data: bytes
    filename: str
    size: int = field(default=Factory(lambda self: len(self.data), takes_self=True))

    def emptied(self) -> Data:
        """Return it without its bytes."""
        return evolve(self, data=b"")

    def __repr__(self) -> str:
        return f"Data(<{self.size} bytes>, {self.filename!r})"


@frozen
class Pair:
    """A song and the one that it shall sound like, for matchering: both paths."""

    target: str | os.PathLike[str]
    reference: str | os.PathLike[str]


Source: TypeAlias = "str | os.PathLike[str] | bytes | AsyncIterable[bytes] | Pair | None"
"""What `submit` takes: a path, an http(s) URL, bytes or an async iterable of bytes, a `Pair`, `None` for generators."""

PreparedSource: TypeAlias = "str | os.PathLike[str] | Data | Spooled | Pair | None"
"""What a job holds of its source: an async iterable is spooled into a file first."""


def is_url(source: object) -> bool:
    """Tell whether a source is an address that the service shall fetch from."""
    return isinstance(source, str) and source[:8].lower().startswith(("http://", "https://"))


def remote_type_of(url: str) -> RemoteType:
    """Return how the service is to fetch from `url`, recognised by its host; `direct` for all it does not know."""
    name = (urlsplit(url).hostname or "").lower()
    for host, kind in _REMOTE_HOSTS.items():
        if name == host or name.endswith("." + host):
            return kind
    return "direct"


def check(source: PreparedSource) -> None:
    """Raise `InvalidRequestError` for a source that cannot be sent: missing, a folder, empty, unreadable.

    This looks at the file's entry only, which costs microseconds; the content is read when its turn comes.
    """
    match source:
        case None:
            return
        case Data(data, filename):
            if not data:
                raise InvalidRequestError(f"{filename} is empty: there is nothing to separate")
        case Pair(target, reference):
            _check_path(target)
            _check_path(reference)
        case Spooled(path, _):
            _check_path(path)
        case str() as url if is_url(url):
            _check_url(url)
        case _:
            _check_path(source)


def label(source: PreparedSource, filename: str | None = None) -> str:
    """Return the name that a song goes by: given, of its file, or the last part of its URL."""
    if filename:
        return filename
    match source:
        case None:
            return "generated"
        case Data(_, name) | Spooled(_, name):
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
        raise InvalidRequestError(f"{url[:120]!r} is not an address that the service could fetch a song from")


def _check_path(path: str | os.PathLike[str]) -> None:
    try:
        found = os.stat(path)  # noqa: PTH116 -- a Path object a song would triple the cost of submitting
    except FileNotFoundError:
        raise InvalidRequestError(f"there is no file {os.fspath(path)!r}") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a possible name"
        raise InvalidRequestError(f"{os.fspath(path)!r} cannot be read: {reason}") from None
    if stat.S_ISDIR(found.st_mode):
        raise InvalidRequestError(f"{os.fspath(path)!r} is a folder: give the files in it, or use the library command")
    if not stat.S_ISREG(found.st_mode):
        raise InvalidRequestError(f"{os.fspath(path)!r} is no regular file")
    if not found.st_size:
        raise InvalidRequestError(f"{os.fspath(path)!r} is empty: there is nothing to separate")
    # What everybody may read needs no second question: it would add a third to what a song's entry costs.
    if found.st_mode & _READABLE != _READABLE and not os.access(path, os.R_OK):
        raise InvalidRequestError(f"{os.fspath(path)!r} may not be read by this user: change its permissions")
