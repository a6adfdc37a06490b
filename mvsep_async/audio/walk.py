"""Find the songs below a folder, one after the other. Everything here blocks: it runs in a worker thread."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from attrs import frozen

from mvsep_async.audio.formats import (
    HEAD,
    LONG_HEAD,
    MPEG_SUFFIXES,
    Rejected,
    classify_file,
    is_never_audio,
    is_text,
)

__all__ = ["AudioFile", "SkippedFile", "audio_file", "is_inside", "rejection", "walk"]


@frozen
class AudioFile:
    """A song. `name`: its path relative to the walked folder, with `/`; `format`: that of its content."""

    path: str
    name: str
    size: int
    mtime_ns: int
    format: str


@frozen
class SkippedFile:
    """A file or folder that is skipped, and why. `duplicate`: a link to a file that is found anyway."""

    path: str
    reason: str
    duplicate: bool = False


@frozen
class _Folder:
    path: str
    real: str
    name: str
    linked: bool = False
    """Whether a link out of the walked folder led here."""


def walk(
    folder: str | os.PathLike[str],
    *,
    exclude: Path | None = None,
    accepts: Callable[[str], bool] = lambda name: True,
) -> Iterator[AudioFile | SkippedFile | None]:
    """Yield every song below `folder`, and what only looks like one, a folder at a time in the order of names.

    Songs are recognised by their content, whatever their names; a file that is named like a song but is not one is
    reported. Hidden files and folders are skipped, and so is the folder `exclude`, also behind links. Links out of
    `folder` are followed, each folder once; links into it are not, since their targets are found anyway. `None` stands
    for a file that is not a song, so that a reader can stop between any two files. The names of one folder are held at
    a time. `accepts` is asked about the name of each file before it is opened.
    """
    root = os.path.realpath(folder)
    excluded = None if exclude is None else os.path.realpath(exclude)
    seen: set[tuple[int, int]] = set()
    pending = [_Folder(os.fspath(folder), root, "")]
    while pending:
        here = pending.pop()
        if here.real == excluded:
            continue
        try:
            if here.linked and not _first_time(here.real, seen):
                continue
            with os.scandir(here.path) as entries:
                names = sorted(entry.name for entry in entries if not entry.name.startswith("."))
        except OSError as error:
            yield SkippedFile(here.path, _unreadable(error))
            continue
        below: list[_Folder] = []
        for name in names:
            found = _inspect(here, name, root, excluded, accepts)
            if isinstance(found, _Folder):
                below.append(found)
            else:
                yield found
        pending.extend(reversed(below))


def audio_file(path: str, name: str) -> AudioFile | SkippedFile:
    """Return the song at `path` as it is now, or why there is none."""
    try:
        return _audio_file(path, name, os.stat(path)) or SkippedFile(path, "is not audio")  # noqa: PTH116
    except OSError as error:
        return SkippedFile(path, _unreadable(error))


def rejection(path: str | os.PathLike[str]) -> str | None:
    """Return why a file that the caller named cannot be a song; `None` if it may be one.

    Other data than audio is accepted here unless it is text: the service reads more than it says, videos for example.
    What is missing, empty or unreadable is left to `submit`, which says so.
    """
    name = os.path.basename(path)  # noqa: PTH119 -- many of them
    try:
        head = _head(path, LONG_HEAD)
    except (OSError, ValueError):
        return None
    found = classify_file(name, head) if head else None
    if isinstance(found, Rejected):
        return found.reason
    return "is text, not audio" if found is None and head and is_text(head[:HEAD]) else None


def is_inside(path: str, folder: str | None) -> bool:
    """Tell whether a real path lies below a real folder."""
    return folder is not None and path.startswith(folder.rstrip(os.sep) + os.sep)


def _inspect(
    folder: _Folder, name: str, root: str, excluded: str | None, accepts: Callable[[str], bool]
) -> AudioFile | SkippedFile | _Folder | None:
    path = os.path.join(folder.path, name)  # noqa: PTH118
    real, linked = os.path.join(folder.real, name), folder.linked  # noqa: PTH118
    relative = f"{folder.name}/{name}" if folder.name else name
    try:
        entry = os.lstat(path)
        if stat.S_ISLNK(entry.st_mode):
            real = os.path.realpath(path)
            if real == excluded or is_inside(real, excluded):
                return None
            entry = os.stat(path)  # noqa: PTH116
            if real == root or is_inside(real, root) or is_inside(root, real):
                if stat.S_ISDIR(entry.st_mode) or not is_never_audio(name):
                    return SkippedFile(path, "is a link into the same folder: its target is found there", True)
                return None
            linked = True
        if stat.S_ISDIR(entry.st_mode):
            return _Folder(path, real, relative, linked)
        if not stat.S_ISREG(entry.st_mode) or is_never_audio(name) or not accepts(relative):
            return None
        return _audio_file(path, relative, entry)
    except OSError as error:
        return None if is_never_audio(name) else SkippedFile(path, _unreadable(error))


def _audio_file(path: str, name: str, entry: os.stat_result) -> AudioFile | SkippedFile | None:
    found = classify_file(name, _head(path, HEAD))
    if isinstance(found, Rejected) and os.path.splitext(name)[1].lower() in MPEG_SUFFIXES:  # noqa: PTH122
        found = classify_file(name, _head(path, LONG_HEAD))
    if isinstance(found, Rejected):
        return SkippedFile(path, found.reason)
    return None if found is None else AudioFile(path, name, entry.st_size, entry.st_mtime_ns, found)


def _head(path: str | os.PathLike[str], length: int) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0))
    try:
        return os.read(descriptor, length)
    finally:
        os.close(descriptor)


def _unreadable(error: OSError) -> str:
    return f"cannot be read: {error.strerror or error}"


def _first_time(real: str, seen: set[tuple[int, int]]) -> bool:
    entry = os.stat(real)  # noqa: PTH116
    identity = (entry.st_dev, entry.st_ino)
    if identity in seen:
        return False
    seen.add(identity)
    return True
