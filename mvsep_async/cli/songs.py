"""The songs that a command was given: files, addresses, and the audio in folders, found while work has begun."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Final

import anyio
from anyio import to_thread
from attrs import define, field

from mvsep_async.catalogue.estimate import AUDIO_SUFFIXES
from mvsep_async.download.content_type import ENOUGH, detect_wrong_content
from mvsep_async.errors import InvalidRequestError
from mvsep_async.sources import is_url

__all__ = ["Songs", "audio_in", "detect_non_audio"]

_BATCH: Final = 200
"""Songs found per visit to the worker thread."""

_EMPTY: Final = "empty"

OnBad = Callable[[str, InvalidRequestError], None]


@define(eq=False)
class Songs:
    """An async iterable of sources for `client.map`, in the order given, each once.

    `search` finds them and has to run beside whoever iterates. `on_bad` is told of what cannot be separated. `avoid` is
    the folder that stems go to: they are no songs.
    """

    given: Sequence[str]
    on_bad: OnBad = lambda source, error: None
    avoid: Path | None = None
    found: int = 0
    taken: int = 0
    complete: bool = False
    _waiting: deque[str] = field(factory=deque)
    _change: anyio.Event = field(factory=anyio.Event)

    @property
    def left(self) -> int:
        """How many are found and not yet taken."""
        return self.found - self.taken

    async def search(self) -> None:
        """Find all songs, in a thread."""
        bad: list[tuple[str, InvalidRequestError]] = []
        sources = _sources(self.given, self.avoid, bad)
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

    def _notify(self) -> None:
        self._change.set()
        self._change = anyio.Event()


def audio_in(folder: Path, *, avoid: Path | None = None) -> Iterator[Path]:
    """Give the files in a folder and all below it that are audio by their names, in order of these.

    Links are followed, but no folder is entered twice; hidden entries are left out, and the folder `avoid`.
    """
    seen = {_identity(avoid)} if avoid is not None else set()
    folders = [folder]
    while folders:
        here = folders.pop()
        identity = _identity(here)
        if identity in seen:
            continue
        seen.add(identity)
        try:
            with os.scandir(here) as entries:
                found = sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda e: e.name)
        except OSError:
            continue
        below = []
        for entry in found:
            try:
                if entry.is_dir():
                    below.append(Path(entry.path))
                elif Path(entry.name).suffix.lower() in AUDIO_SUFFIXES and entry.is_file():
                    yield Path(entry.path)
            except OSError:
                continue
        folders.extend(reversed(below))


def detect_non_audio(path: str | os.PathLike[str]) -> str | None:
    """Return what a file is if it cannot be audio, `None` if it can; files that cannot be read are not judged here."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123 -- many of them
            head = file.read(ENOUGH)
    except (OSError, ValueError):
        return None
    if not head:
        return _EMPTY
    found = detect_wrong_content(head, "song.wav")
    return found.why.removeprefix("the server sent ").removesuffix(" instead of the file") if found else None


def _sources(given: Iterable[str], avoid: Path | None, bad: list[tuple[str, InvalidRequestError]]) -> Iterator[str]:
    known: set[str] = set()
    for source in given:
        for song in _songs_of(source, avoid, bad):
            mark = song if is_url(song) else os.path.abspath(song)  # noqa: PTH100 -- many of them
            if mark not in known:
                known.add(mark)
                yield song


def _songs_of(source: str, avoid: Path | None, bad: list[tuple[str, InvalidRequestError]]) -> Iterator[str]:
    if is_url(source):
        yield source
    elif Path(source).is_dir():
        empty = True
        for path in map(str, audio_in(Path(source), avoid=avoid)):
            empty = False
            if (what := detect_non_audio(path)) is None:
                yield path
            else:
                bad.append((path, _no_song(path, what)))
        if empty:
            bad.append((source, InvalidRequestError(f"the folder {source!r} has no audio in it")))
    elif (what := detect_non_audio(source)) is not None and what != _EMPTY:
        bad.append((source, _no_song(source, what)))
    else:
        yield source  # what is missing, empty or unreadable, the client says itself


def _no_song(path: str, what: str) -> InvalidRequestError:
    return InvalidRequestError(f"{path!r} is {what}" if what == _EMPTY else f"{path!r} is no audio but {what}")


def _identity(folder: Path) -> object:
    try:
        found = folder.stat()
    except OSError:
        return folder
    return (found.st_dev, found.st_ino) if found.st_ino else folder.resolve()
