"""What a manifest holds of songs and stems, as values and as rows of its tables. Pure."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any, Final, TypeVar

from attrs import astuple, fields, frozen
from cattrs import Converter

from mvsep_async.errors import JournalError
from mvsep_async.jobs.failures import FailureKind
from mvsep_async.library.timeline import JobTimeline, Span

__all__ = [
    "FAILURE_COLUMNS",
    "SONG_COLUMNS",
    "FailedSong",
    "ManifestFile",
    "Renames",
    "SeparatedSong",
    "failure_row",
    "read_failure",
    "read_song",
    "replaced_name",
    "song_row",
]

T = TypeVar("T")

Renames = Sequence[tuple[str, str]]
"""Paths below the target folder, before and after."""


@frozen
class ManifestFile:
    """A stem. `path`: relative to the target folder, with `/`; `hash`, `host`: of the job that made it."""

    step: str
    stem: str
    path: str
    size: int
    hash: str | None = None
    host: str | None = None


@frozen(kw_only=True)
class SeparatedSong:
    """A song that was separated by one method.

    - `source`: its path relative to the source folder. `size`, `mtime_ns`, `content`, `audio_length`: of the file that
      was sent, see `AudioContent`.
    - `method`: the digest of the method, `method_name`: its name.
    - `kept`: the stems wanted of each step, `None` for all.
    - `seconds`, `credits`: `None` where not known. `tagged`: whether the stems have the song's tags.
    - `run`: the run that made it, `finished`: when, as a Unix time.
    """

    source: str
    method: str
    method_name: str
    title: str
    size: int
    mtime_ns: int
    content: str
    audio_length: int
    seconds: float | None
    credits: int | None
    place: str
    files: tuple[ManifestFile, ...]
    kept: dict[str, list[str] | None]
    tagged: bool = False
    timelines: tuple[JobTimeline, ...] = ()
    run: str = ""
    finished: float = 0.0

    @property
    def replaced(self) -> bool:
        """Whether its file has other audio by now, and its stems are set aside."""
        return self.source.startswith("/")


@frozen(kw_only=True)
class FailedSong:
    """A song that failed, and when it is tried again."""

    source: str
    method: str
    size: int
    mtime_ns: int
    content: str
    audio_length: int
    kind: FailureKind
    message: str


def replaced_name(content: str) -> str:
    """Return the `source` of a song whose file has other audio since: no file name begins with a slash."""
    return f"/{content}"


_DAMAGED: Final = (
    "a song in the manifest of a library is damaged. Nothing was sent: restore manifest.sqlite from a backup, or move "
    "it away to separate and pay the songs of the library again"
)

SONG_COLUMNS: Final = tuple(field.name for field in fields(SeparatedSong))
FAILURE_COLUMNS: Final = tuple(field.name for field in fields(FailedSong))
"""The columns of the two tables, in the order of their rows."""

_JSON: Final = ("files", "kept", "timelines")
"""Columns of a song that hold JSON."""

_converter: Final = Converter(detailed_validation=False)
_converter.register_unstructure_hook(JobTimeline, astuple)
_converter.register_structure_hook(
    JobTimeline, lambda value, _: JobTimeline(value[0], tuple(Span(*span) for span in value[1]))
)


def song_row(song: SeparatedSong) -> tuple[object, ...]:
    """Return the row of a song."""
    values = _converter.unstructure(song)
    texts = {name: json.dumps(values[name]) for name in _JSON}
    return tuple({**values, "source": os.fsencode(song.source), **texts}.values())


def failure_row(failed: FailedSong) -> tuple[object, ...]:
    """Return the row of a failed song."""
    return tuple({**_converter.unstructure(failed), "source": os.fsencode(failed.source)}.values())


def read_song(row: Sequence[Any]) -> SeparatedSong:
    """Return the song of a row with the columns `SONG_COLUMNS`. Raises `JournalError` for a damaged one."""
    return _read(SeparatedSong, dict(zip(SONG_COLUMNS, row, strict=True)))


def read_failure(row: Sequence[Any]) -> FailedSong:
    """Return the failed song of a row with the columns `FAILURE_COLUMNS`. Raises `JournalError` for a damaged one."""
    return _read(FailedSong, dict(zip(FAILURE_COLUMNS, row, strict=True)))


def _read(cls: type[T], values: dict[str, Any]) -> T:
    try:
        values["source"] = os.fsdecode(values["source"])
        for name in _JSON:
            if name in values:
                values[name] = json.loads(values[name])
        return _converter.structure(values, cls)
    except (ValueError, TypeError, AttributeError, LookupError) as error:
        raise JournalError(_DAMAGED) from error
