"""What a library run tells: events while it lasts, and a result at its end."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

from attrs import frozen

from mvsep_async.errors import MVSepError
from mvsep_async.jobs.job import Job
from mvsep_async.jobs.progress import Progress

__all__ = ["Failure", "LibraryEvent", "LibraryResult", "Notice", "Tally", "What"]


class What(StrEnum):
    """What happened."""

    NOTICE = "notice"
    """A file could not be taken, or something about a song is worth knowing."""
    KEPT = "kept"
    """A song whose stems are all there already."""
    PLANNED = "planned"
    """A song that would be separated, in a dry run."""
    BEGAN = "began"
    PROGRESS = "progress"
    MADE = "made"
    FAILED = "failed"
    LEFT_OUT = "left out"
    """A song that was not begun because of the limit on credits, or a full disk."""
    COUNTED = "counted"
    """How many are to be made in all is known, though not all of them are found yet."""
    WALKED = "walked"
    """The source folder holds no more songs than those found so far."""
    REPEATING = "repeating"
    """The failed songs are tried once more."""


@frozen
class Notice:
    """Something about a file, by name."""

    path: Path
    why: str


@frozen
class Failure:
    """A song that was not separated, in one of the ways asked for."""

    path: Path
    work: str
    error: MVSepError


@frozen(kw_only=True)
class Tally:
    """How far a run is. A song counts once for each way in which it is to be separated.

    `found`: all so far; `kept`: done before; `made`, `failed`, `left_out`: in this run; `planned`: in a dry run.
    `ahead`: how many this run is to make in all, the ones that are over too; `None` until they are counted.
    `seconds`: how long the songs to separate are, those of unknown length left out; `credits`: what they cost, or
    would, as premium jobs.
    """

    songs: int = 0
    found: int = 0
    kept: int = 0
    planned: int = 0
    made: int = 0
    failed: int = 0
    left_out: int = 0
    ahead: int | None = None
    seconds: float = 0.0
    credits: int = 0
    unknown_lengths: int = 0


@frozen(kw_only=True)
class LibraryEvent:
    """One thing that happened. What does not apply is `None`."""

    what: What
    tally: Tally
    path: Path | None = None
    name: str | None = None
    """What the song goes by where it is no file."""
    work: str | None = None
    step: str | None = None
    job: Job | None = None
    progress: Progress | None = None
    paths: tuple[Path, ...] = ()
    message: str | None = None


@frozen(kw_only=True)
class LibraryResult:
    """What a run came to.

    `failures`: songs that failed twice, or for good. `notices`: the files that could not be taken, songs that share a
    target, tags that could not be written. `credits_left`: the account's, at the end; `None` where it does not say.
    `stopped`: why songs were left out, `None` if none were. `report`: where the report is.
    """

    tally: Tally
    dry_run: bool
    failures: tuple[Failure, ...] = ()
    notices: tuple[Notice, ...] = ()
    credits_left: float | None = None
    stopped: str | None = None
    report: Path | None = None

    @property
    def complete(self) -> bool:
        """Whether every song that was found is separated."""
        return not self.failures and not self.tally.left_out and not self.dry_run
