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

from mvsep_async.audio.walk import AudioFile, rejection, walk
from mvsep_async.errors import InvalidRequestError
from mvsep_async.sources import is_url

__all__ = ["Songs"]

_BATCH: Final = 200
"""Songs found per visit to the worker thread."""

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
        for found in walk(source, exclude=avoid):
            if isinstance(found, AudioFile):
                yield found.path
            elif found is not None and not found.duplicate:
                bad.append((found.path, InvalidRequestError(f"{found.path!r} {found.reason}")))
            empty = empty and found is None
        if empty:
            bad.append((source, InvalidRequestError(f"the folder {source!r} has no audio in it")))
    elif (reason := rejection(source)) is not None:
        bad.append((source, InvalidRequestError(f"{source!r} {reason}")))
    else:
        yield source
