"""What a manifest holds of songs and stems, as values and as rows of its tables. Pure."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any, Final

from attrs import asdict, frozen

from mvsep_async.errors import JournalError
from mvsep_async.jobs.failures import FailureKind
from mvsep_async.library.timeline import JobTimeline, Span
from mvsep_async.naming import caseless

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

SONG_COLUMNS: Final = (
    "source, method, method_name, title, size, mtime_ns, content, audio_length, seconds, credits, place, place_key, "
    "files, kept, tagged, timelines, run, finished"
)
FAILURE_COLUMNS: Final = "source, method, size, mtime_ns, content, audio_length, kind, message"
"""The columns of the two tables, in the order of their rows."""


def song_row(song: SeparatedSong, renames: Renames | None) -> tuple[object, ...]:
    """Return the row of a song: its columns, and the renames of files that are to follow."""
    timelines = [[one.step, [[span.phase, span.start, span.end] for span in one.spans]] for one in song.timelines]
    return (
        os.fsencode(song.source), song.method, song.method_name, song.title, song.size, song.mtime_ns,
        song.content, song.audio_length, song.seconds, song.credits, song.place, caseless(song.place),
        json.dumps([asdict(file) for file in song.files]), json.dumps(song.kept), song.tagged, json.dumps(timelines),
        song.run, song.finished, None if renames is None else json.dumps([list(pair) for pair in renames]),
    )  # fmt: skip


def failure_row(failed: FailedSong) -> tuple[object, ...]:
    """Return the row of a failed song."""
    return (
        os.fsencode(failed.source), failed.method, failed.size, failed.mtime_ns, failed.content,
        failed.audio_length, failed.kind.value, failed.message,
    )  # fmt: skip


def read_song(row: tuple[Any, ...]) -> SeparatedSong:
    """Return the song of a row with the columns `SONG_COLUMNS`. Raises `JournalError` for a damaged one."""
    try:
        return _song(row)
    except (ValueError, TypeError, AttributeError) as error:
        raise JournalError(_DAMAGED) from error


def _song(row: tuple[Any, ...]) -> SeparatedSong:
    source, method, name, title, size, mtime_ns, content, length, seconds, credits, place, _, *rest = row
    files, kept, tagged, timelines, run, finished = rest
    return SeparatedSong(
        source=os.fsdecode(source),
        method=method,
        method_name=name,
        title=title,
        size=size,
        mtime_ns=mtime_ns,
        content=content,
        audio_length=length,
        seconds=seconds,
        credits=credits,
        place=place,
        files=tuple(ManifestFile(**file) for file in json.loads(files)),
        kept=json.loads(kept),
        tagged=bool(tagged),
        timelines=tuple(
            JobTimeline(step, tuple(Span(*span) for span in spans)) for step, spans in json.loads(timelines)
        ),
        run=run,
        finished=finished,
    )


def read_failure(row: tuple[Any, ...]) -> FailedSong:
    """Return the failed song of a row with the columns `FAILURE_COLUMNS`. Raises `JournalError` for a damaged one."""
    try:
        return _failure(row)
    except (ValueError, TypeError) as error:
        raise JournalError(_DAMAGED) from error


def _failure(row: tuple[Any, ...]) -> FailedSong:
    source, method, size, mtime_ns, content, audio_length, kind, message = row
    return FailedSong(
        source=os.fsdecode(source),
        method=method,
        size=size,
        mtime_ns=mtime_ns,
        content=content,
        audio_length=audio_length,
        kind=FailureKind(kind),
        message=message,
    )
