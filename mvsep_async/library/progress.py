"""The progress of a library run: its numbers, failures and notices, reported as events."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from attrs import define, evolve, field

from mvsep_async.errors import JobFailedError, MVSepError
from mvsep_async.jobs.failures import FailureKind
from mvsep_async.library.decisions import Follow, Separate, UpToDate
from mvsep_async.library.outcome import EventKind, Failure, LibraryEvent, Notice, Tally
from mvsep_async.library.planner import PlannedSong
from mvsep_async.library.records import FailedSong
from mvsep_async.library.timeline import JobTimeline, Span

__all__ = ["RunProgress"]


@define(eq=False)
class RunProgress:
    """Counts the songs of a run and emits its events."""

    on_event: Callable[[LibraryEvent], None]
    tally: Tally = field(factory=Tally)
    failures: list[Failure] = field(factory=list)
    notices: list[Notice] = field(factory=list)
    unfinished: list[tuple[str, tuple[Span, ...]]] = field(factory=list)
    """Label and phases of the jobs of songs that failed."""
    _last: str | None = None

    def emit(self, kind: EventKind, item: PlannedSong | None = None, **fields: Any) -> None:
        """Emit an event."""
        if item is not None:
            fields |= {"path": item.path, "method": item.method.label}
        self.on_event(LibraryEvent(kind=kind, tally=self.tally, **fields))

    def notice(self, path: Path, reason: str, *, rejected: bool = False) -> None:
        """Add a notice about a file."""
        self.notices.append(Notice(path, reason, rejected))
        kind = EventKind.REJECTED if rejected else EventKind.NOTICE
        self.on_event(LibraryEvent(kind=kind, tally=self.tally, path=path, message=reason))

    def found(self, item: PlannedSong) -> None:
        """Count a song that was found; those of several methods follow one another."""
        self._count(found=1, songs=int(item.song.path != self._last))
        self._last = item.song.path

    def walked(self) -> None:
        """Report that all songs are found."""
        known = self.tally.up_to_date + self.tally.failed_before
        self.tally = evolve(self.tally, total=self.tally.found - known)
        self.emit(EventKind.WALKED)

    def counted(self, total: int) -> None:
        """Report the number of songs to separate, unless it is known."""
        if self.tally.total is None:
            self.tally = evolve(self.tally, total=total)
            self.emit(EventKind.COUNTED)

    def up_to_date(self, item: PlannedSong) -> None:
        """Report a song whose stems exist."""
        self._count(up_to_date=1)
        self.emit(EventKind.UP_TO_DATE, item)

    def followed(self, item: PlannedSong, paths: tuple[Path, ...] = ()) -> None:
        """Report a song whose stems were brought to its new place."""
        self._count(up_to_date=1, followed=1)
        if self.tally.total is not None:
            self._count(total=-1)
        self.emit(EventKind.FOLLOWED, item, paths=paths)

    def failed_before(self, item: PlannedSong, failed: FailedSong) -> None:
        """Report a song that failed in an earlier run and is not tried again."""
        self.failures.append(Failure(item.path, item.method.label, JobFailedError(failed.message), failed.kind))
        self._count(failed_before=1)
        again = "retry_failed retries it" if failed.kind is FailureKind.ON_REQUEST else "its audio is damaged"
        self.emit(EventKind.FAILED_BEFORE, item, message=f"{failed.message} (in an earlier run; {again})")

    def planned(self, item: PlannedSong) -> None:
        """Report what a run that is not a dry run would do about a song."""
        if isinstance(item.action, Follow):
            self.followed(item)
        elif not isinstance(item.action, UpToDate):
            self._count(planned=1)
            if isinstance(item.action, Separate):
                self.spend(item, item.credits)
            self.emit(EventKind.PLANNED, item)

    def spend(self, item: PlannedSong, credits: int | None, times: int = 1) -> None:
        """Add a song's length and credits to the numbers; `times=-1` takes them back."""
        seconds = item.seconds
        self._count(
            credits=times * (credits or 0),
            seconds=times * (seconds or 0.0),
            unknown_lengths=times * int(seconds is None),
        )

    def separated(self, item: PlannedSong, paths: tuple[Path, ...]) -> None:
        """Report a song that was separated."""
        self._count(separated=1)
        self.emit(EventKind.SEPARATED, item, paths=paths)

    def skipped(self, item: PlannedSong, reason: str | None) -> None:
        """Report a song that was not started."""
        self._count(skipped=1)
        self.emit(EventKind.SKIPPED, item, message=reason)

    def failed(self, item: PlannedSong, error: MVSepError, kind: FailureKind, timelines: Iterable[JobTimeline]) -> None:
        """Report a song that failed, and keep the phases of its jobs."""
        self.failures.append(Failure(item.path, item.method.label, error, kind))
        self.unfinished += [(f"{item.title}, {item.method.steps[one.step]} (failed)", one.spans) for one in timelines]
        self._count(failed=1)
        self.emit(EventKind.FAILED, item, message=str(error))

    def daily_limit(self, source: Path, done: int) -> None:
        """Report that the songs below `source` wait for the daily limit; `done`: songs that were separated today."""
        message = (
            f"the free separations of today are used up (songs done today: {done}): the run continues by itself when "
            "the service allows more"
        )
        self.notices.append(Notice(source, f"{time.strftime('%Y-%m-%d %H:%M')}: {message}"))
        self.emit(EventKind.WAITING, message=message)

    def retrying(self, items: list[PlannedSong]) -> None:
        """Report that failed songs are tried again, and take their failures back."""
        again = {(item.path, item.method.label) for item in items}
        self.failures = [one for one in self.failures if (one.path, one.method) not in again]
        self._count(failed=-len(items))
        self.emit(EventKind.RETRYING, message=f"retrying {len(items)} failed songs")

    def _count(self, **changes: float) -> None:
        self.tally = evolve(self.tally, **{name: getattr(self.tally, name) + more for name, more in changes.items()})
