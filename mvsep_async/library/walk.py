"""Finding the songs below a folder, one after the other. Everything here blocks: it runs in a worker thread."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from attrs import frozen

from mvsep_async.errors import InvalidRequestError
from mvsep_async.library.formats import ENOUGH, Wrong, detect_format, never_audio

__all__ = ["Found", "Unfit", "check_folders", "walk"]


@frozen
class Found:
    """A song. `name`: its path relative to the source folder, with `/`; `kind`: the format of its content."""

    path: str
    name: str
    size: int
    mtime_ns: int
    kind: str


@frozen
class Unfit:
    """A file or folder that could not be taken, and why."""

    path: str
    why: str


@frozen
class _Folder:
    path: str
    real: str
    name: str
    linked: bool = False
    """Whether a link outside of the source folder led here."""


def check_folders(source: Path, target: Path) -> None:
    """Raise `InvalidRequestError` for folders between which a library cannot be separated."""
    if not source.is_dir():
        what = "is no folder" if source.exists() else "is not there"
        raise InvalidRequestError(f"the source folder {_shown(source)} {what}")
    if target.exists() and not target.is_dir():
        raise InvalidRequestError(f"the target folder {_shown(target)} is a file")
    real_source, real_target = os.path.realpath(source), os.path.realpath(target)
    if real_source == real_target or _inside(real_source, real_target):
        raise InvalidRequestError(
            f"the source folder {_shown(source)} is the target folder {_shown(target)} or lies in it, so that stems "
            "would be taken for songs: choose another target, one inside the source is fine"
        )


def walk(source: Path, target: Path) -> Iterator[Found | Unfit | None]:
    """Give every song below `source`, and what only looks like one, a folder at a time in the order of names.

    The target folder is not entered, by no link either, nor are hidden ones. Links out of the source folder are
    followed, each folder once; links into it are not, since what they lead to is found at its own place. `None` stands
    for a file that is no song, so that whoever reads can stop between any two files. One folder's names are held at a
    time.
    """
    root = os.path.realpath(source)
    shunned = os.path.realpath(target)
    beyond: set[tuple[int, int]] = set()
    pending = [_Folder(os.path.abspath(source), root, "")]  # noqa: PTH100 -- `Path.absolute` keeps `..`
    while pending:
        folder = pending.pop()
        if folder.real == shunned:
            continue
        try:
            if folder.linked and not _first_time(folder.real, beyond):
                continue
            with os.scandir(folder.path) as entries:
                names = sorted(entry.name for entry in entries if not entry.name.startswith("."))
        except OSError as error:
            yield Unfit(folder.path, f"cannot be read: {error.strerror or error}")
            continue
        below: list[_Folder] = []
        for name in names:
            found = _look(folder, name, root, shunned)
            if isinstance(found, _Folder):
                below.append(found)
            else:
                yield found
        pending.extend(reversed(below))


def _look(folder: _Folder, name: str, root: str, shunned: str) -> Found | Unfit | _Folder | None:
    path = os.path.join(folder.path, name)  # noqa: PTH118 -- a Path object a file would double the cost of walking
    real, linked = os.path.join(folder.real, name), folder.linked  # noqa: PTH118
    relative = f"{folder.name}/{name}" if folder.name else name
    try:
        entry = os.lstat(path)
        if stat.S_ISLNK(entry.st_mode):
            real = os.path.realpath(path)
            if real == shunned or _inside(real, shunned):
                return None
            entry = os.stat(path)  # noqa: PTH116
            if real == root or _inside(real, root) or _inside(root, real):
                if stat.S_ISDIR(entry.st_mode) or not never_audio(name):
                    return Unfit(path, "is a link into this very library: what it leads to is taken at its own place")
                return None
            linked = True
        if stat.S_ISDIR(entry.st_mode):
            return _Folder(path, real, relative, linked)
        if not stat.S_ISREG(entry.st_mode) or never_audio(name):
            return None
        verdict = detect_format(name, _head(path))
    except OSError as error:
        if never_audio(name):
            return None
        return Unfit(path, f"cannot be read: {error.strerror or error}")
    if isinstance(verdict, Wrong):
        return Unfit(path, verdict.why)
    if verdict is None:
        return None
    return Found(path, relative, entry.st_size, entry.st_mtime_ns, verdict)


def _head(path: str) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0))
    try:
        return os.read(descriptor, ENOUGH)
    finally:
        os.close(descriptor)


def _first_time(real: str, seen: set[tuple[int, int]]) -> bool:
    entry = os.stat(real)  # noqa: PTH116
    identity = (entry.st_dev, entry.st_ino)
    if identity in seen:
        return False
    seen.add(identity)
    return True


def _inside(path: str, folder: str) -> bool:
    return path.startswith(folder.rstrip(os.sep) + os.sep)


def _shown(path: Path) -> str:
    return os.fsencode(path).decode("utf-8", "replace")
