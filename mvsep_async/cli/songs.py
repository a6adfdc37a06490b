"""Find the songs given to a command: files, links, lists, and the audio in folders."""

from __future__ import annotations

import os
import sys
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path, PurePath
from typing import Final

import anyio
from anyio import to_thread
from attrs import define, field

from mvsep_async.audio.walk import AudioFile, rejection, walk
from mvsep_async.errors import InvalidRequestError
from mvsep_async.naming import caseless, safe_name, song_name
from mvsep_async.sources import is_url

__all__ = ["Songs"]

_BATCH: Final = 200
"""Songs found per call of the worker thread."""

_PLAYLISTS: Final = (".m3u", ".m3u8")

OnBad = Callable[[str, InvalidRequestError], None]


@define(eq=False)
class Songs:
    """An async iterable of sources for `client.map`, in the order given, each once.

    `given`: files, folders, links, `@FILE` (a list, a source a line), `.m3u` playlists, and `-` for a list on standard
    input. `search` finds the songs and runs concurrently with the iteration. `on_bad` is called with what cannot be
    separated. `exclude`: the folder of the stems, which are not songs.
    """

    given: Sequence[str]
    on_bad: OnBad = lambda source, error: None
    exclude: Path | None = None
    found: int = 0
    taken: int = 0
    complete: bool = False
    _waiting: deque[str] = field(factory=deque)
    _change: anyio.Event = field(factory=anyio.Event)
    _folders: list[str] = field(factory=list)
    _several_folders: bool = False
    _names: Counter[str] = field(factory=Counter)
    """How many of the files given by themselves have each name."""

    @property
    def left(self) -> int:
        """How many are found and not yet taken."""
        return self.found - self.taken

    async def search(self) -> None:
        """Find all songs, in a thread."""
        bad: list[tuple[str, InvalidRequestError]] = []
        sources = self._sources(bad)
        try:
            while batch := await to_thread.run_sync(lambda: list(islice(sources, _BATCH))):
                self.found += len(batch)
                self._waiting.extend(batch)
                self._notify()
        finally:
            self.complete = True
            for source, error in bad:
                self.on_bad(source, error)
            self._notify()

    async def __aiter__(self) -> AsyncIterator[str]:
        while True:
            while self._waiting:
                self.taken += 1
                yield self._waiting.popleft()
            if self.complete:
                return
            await self._change.wait()

    def folders_of(self, source: str) -> list[PurePath]:
        """Return the folder for a song's stems, relative to the target, and then those where it may have some already.

        A folder that is given is mirrored, as a library is. Of several folders, each is mirrored below its own name, so
        that the `track1` of two albums do not collide. Files given by themselves go below the name of their folder only
        where several have the same name.
        """
        if is_url(source):
            return [PurePath()]
        for folder in self._folders:
            if source.startswith(folder.rstrip(os.sep) + os.sep):
                inside = PurePath(os.path.relpath(os.path.dirname(source), folder))  # noqa: PTH120
                mirrored = PurePath(*map(safe_name, inside.parts))
                named = PurePath(_folder_name(folder), mirrored)
                unchanged = PurePath(_folder_name(folder), inside)  # with names that not every file system has
                chosen = [named, mirrored] if self._several_folders else [mirrored, named]
                return list(dict.fromkeys([*chosen, unchanged]))
        if self._names[_name(source)] > 1:
            return [PurePath(_folder_name(os.path.dirname(source) or "."))]  # noqa: PTH120
        return [PurePath()]

    def _sources(self, bad: list[tuple[str, InvalidRequestError]]) -> Iterator[str]:
        known: set[str] = set()
        listed = list(_listed(self.given, bad))
        self._several_folders = sum(map(os.path.isdir, dict.fromkeys(listed))) > 1
        for source in listed:
            for song in self._songs_of(source, bad):
                mark = song if is_url(song) else os.path.abspath(song)  # noqa: PTH100 -- many of them
                if mark not in known:
                    known.add(mark)
                    yield song

    def _songs_of(self, source: str, bad: list[tuple[str, InvalidRequestError]]) -> Iterator[str]:
        if is_url(source):
            yield source
        elif os.path.isdir(source):  # noqa: PTH112
            self._folders.append(source)
            empty = True
            for found in walk(source, exclude=self.exclude):
                if isinstance(found, AudioFile):
                    yield found.path
                elif found is not None and not found.duplicate:
                    bad.append((found.path, InvalidRequestError(f"{found.path!r} {found.reason}")))
                empty = empty and found is None
            if empty:
                bad.append((source, InvalidRequestError(f"the folder {source!r} has no audio in it")))
        elif "://" in source and not os.path.exists(source):  # noqa: PTH110
            why = "is not a link that a song can be fetched from: give an http:// or https:// link"
            bad.append((source, InvalidRequestError(f"{source!r} {why}")))
        elif (reason := rejection(source)) is not None:
            bad.append((source, InvalidRequestError(f"{source!r} {reason}")))
        else:
            self._names[_name(source)] += 1
            yield source

    def _notify(self) -> None:
        self._change.set()
        self._change = anyio.Event()


def _listed(given: Iterable[str], bad: list[tuple[str, InvalidRequestError]]) -> Iterator[str]:
    """Yield what was given, with lists replaced by what is in them."""
    for source in given:
        if source in ("-", "@-"):
            yield from _lines(sys.stdin.read())
        elif source.startswith("@") and not Path(source).exists():
            yield from _entries(Path(source[1:]), source, bad)
        elif source.lower().endswith(_PLAYLISTS) and not is_url(source):
            path = Path(source)
            for entry in _entries(path, source, bad):
                if not entry.startswith("#"):
                    yield entry if is_url(entry) else os.path.join(path.parent, entry)  # noqa: PTH118
        else:
            yield source


def _entries(path: Path, source: str, bad: list[tuple[str, InvalidRequestError]]) -> list[str]:
    try:
        data = path.read_bytes()
    except OSError as error:
        bad.append((source, InvalidRequestError(f"the list {str(path)!r} cannot be read: {error.strerror}")))
        return []
    try:
        return _lines(data.decode("utf-8-sig"))
    except UnicodeDecodeError:
        return _lines(data.decode("latin-1"))  # what playlists without a U in their suffix are written in


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def _name(source: str) -> str:
    return caseless(song_name(source))


def _folder_name(folder: str) -> str:
    """Return what a folder is called in the target; nothing for `.` and `..`."""
    name = PurePath(folder).name
    return "" if name == ".." else name
