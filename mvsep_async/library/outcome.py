"""What a library run reports: events while it lasts, and a result at its end."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

from attrs import frozen

from mvsep_async.errors import MVSepError
from mvsep_async.jobs.failures import FailureKind
from mvsep_async.jobs.job import Job
from mvsep_async.jobs.progress import Progress

__all__ = ["EventKind", "Failure", "LibraryEvent", "LibraryResult", "Notice", "Tally"]


class EventKind(StrEnum):
    """The kind of an event."""

    NOTICE = "notice"
    """Something about a song is worth knowing."""
    REJECTED = "rejected"
    """A file that looks like a song but is not one, or a file or folder that cannot be read."""
    UP_TO_DATE = "up to date"
    """All stems of a song exist already."""
    PLANNED = "planned"
    """A song that would be separated, in a dry run."""
    STARTED = "started"
    PROGRESS = "progress"
    SEPARATED = "separated"
    FAILED = "failed"
    SKIPPED = "skipped"
    """A song that was not started: the limit on credits, a full disk, or it is still being written."""
    COUNTED = "counted"
    """The number of songs to separate is known, though not all of them are found yet."""
    WALKED = "walked"
    """All songs of the source folder are found."""
    FOLLOWED = "followed"
    """A song that was renamed, moved, copied or retagged: its stems were brought along, nothing was paid."""
    REMOVED = "removed"
    """A separated song whose file was removed while its folder is watched; its stems stay."""
    FAILED_BEFORE = "failed before"
    """A song that failed in an earlier run, and is not retried automatically."""
    WAITING = "waiting"
    """The free separations of today are used up: the run continues by itself when the service allows more."""
    RETRYING = "retrying"
    """The failed songs are tried again."""


@frozen
class Notice:
    """Something about a file, by name. `rejected`: it looks like a song but is not one, or it cannot be read."""

    path: Path
    reason: str
    rejected: bool = False


@frozen
class Failure:
    """A song that could not be separated by one of the methods. `kind`: when it is tried again."""

    path: Path
    method: str
    error: MVSepError
    kind: FailureKind = FailureKind.TEMPORARY


@frozen(kw_only=True)
class Tally:
    """Numbers of a run. A song counts once for each method by which it is separated.

    `found`: all so far; `up_to_date`: separated before, `followed` of them were renamed, moved, copied or retagged;
    `separated`, `failed`, `skipped`: in this run; `failed_before`: in earlier runs, and not tried again; `planned`: in
    a dry run. `total`: how many this run separates in all, the finished ones included; `None` until they are counted.
    `seconds`: the length of the songs separated or, in a dry run, to separate, unknown lengths excluded; `credits`:
    what they cost as premium jobs.
    """

    songs: int = 0
    found: int = 0
    up_to_date: int = 0
    followed: int = 0
    planned: int = 0
    separated: int = 0
    failed: int = 0
    failed_before: int = 0
    skipped: int = 0
    total: int | None = None
    seconds: float = 0.0
    credits: int = 0
    unknown_lengths: int = 0


@frozen(kw_only=True)
class LibraryEvent:
    """Something that happened in a run. Fields that do not apply are `None`."""

    kind: EventKind
    tally: Tally
    path: Path | None = None
    name: str | None = None
    """The name of a song that is not a file."""
    method: str | None = None
    step: str | None = None
    job: Job | None = None
    progress: Progress | None = None
    paths: tuple[Path, ...] = ()
    message: str | None = None


@frozen(kw_only=True)
class LibraryResult:
    """The result of a run.

    `failures`: songs that failed, those of earlier runs included that are not tried again by themselves. `notices`:
    rejected files, songs that share a target, tags that could not be written. `credits_left`: of the account, at the
    end; `None` where it is not known. `stopped`: why songs were skipped, `None` if none were. `report`: its path.
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
        """Whether every song that was found is separated, and no file rejected that looks like one."""
        rejected = any(notice.rejected for notice in self.notices)
        return not (self.failures or rejected or self.tally.skipped or self.dry_run)
