"""The folders that an assistant may read and write."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from attrs import frozen

from mvsep_async.audio.walk import AudioFile, rejection, walk
from mvsep_async.errors import InvalidRequestError
from mvsep_async.naming import song_name

__all__ = ["STEMS", "AllowedFolders"]

STEMS: Final = "stems"
"""The folder for stems below the folder that a song is in, unless the assistant names another."""


@frozen
class AllowedFolders:
    """Folders by their real paths. Paths are checked after their symbolic links are resolved.

    Every method blocks for a moment: it asks the file system.
    """

    folders: tuple[Path, ...]

    @classmethod
    def of(cls, folders: Iterable[str | os.PathLike[str]]) -> AllowedFolders:
        """Return these folders; raises `InvalidRequestError` for one that does not exist."""
        found = []
        for folder in folders:
            path = Path(folder).expanduser()
            if not path.is_dir():
                raise InvalidRequestError(f"there is no folder {str(folder)!r}: give folders that exist")
            found.append(path.resolve())
        return cls(tuple(dict.fromkeys(found)))

    def song(self, path: str) -> Path:
        """Return the real path of a song; raises `InvalidRequestError` for any other file."""
        found = self._existing(path)
        if found.is_dir():
            raise InvalidRequestError(f"{path!r} is a folder: give one song; list_songs lists those in it")
        reason = rejection(found)
        if reason is not None:
            raise InvalidRequestError(f"{path!r} {reason}")
        return found

    def songs(self, path: str) -> Iterator[Path]:
        """Yield a song, or the songs in a folder."""
        found = self._existing(path)
        if not found.is_dir():
            yield self.song(path)
            return
        for entry in walk(found):
            if isinstance(entry, AudioFile):
                real = Path(entry.path).resolve()
                if self._root_of(real) is not None:
                    yield real

    def all_songs(self) -> Iterator[AudioFile]:
        """Yield the songs of all folders, without the default folders for stems."""
        for folder in self.folders:
            for entry in walk(folder, exclude=folder / STEMS):
                if isinstance(entry, AudioFile) and self._root_of(Path(entry.path).resolve()) is not None:
                    yield entry

    def target(self, path: str | None, song: Path) -> Path:
        """Return the folder for the stems of a song, below `path`.

        Raises `InvalidRequestError` for one that is not allowed.
        """
        root = self._root_of(song) or self.folders[0]
        given = STEMS if path is None else path
        found = (root / Path(given).expanduser() / song_name(str(song))).resolve()
        if self._root_of(found) is None:
            raise self._outside(given)
        return found

    def _existing(self, path: str) -> Path:
        """Return the real path of a file or folder; a relative path is looked for in each folder."""
        candidates = [(folder / Path(path).expanduser()).resolve() for folder in self.folders]
        allowed = [one for one in candidates if self._root_of(one) is not None]
        if not allowed:
            raise self._outside(path)
        for one in allowed:
            if one.exists():
                return one
        raise InvalidRequestError(f"there is no file {path!r}; list_songs lists the songs there are")

    def _root_of(self, real: Path) -> Path | None:
        return next((folder for folder in self.folders if real.is_relative_to(folder)), None)

    def _outside(self, path: str) -> InvalidRequestError:
        allowed = ", ".join(map(str, self.folders))
        return InvalidRequestError(f"{path!r} is outside the folders that this server may use: {allowed}")
