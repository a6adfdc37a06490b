"""Whether a job whose answer was lost is at the service: when its lists are read, and what they prove."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Final

from attrs import define, field, frozen

from mvsep_async.naming import tag_in

__all__ = ["LOOKS", "Absent", "Found", "Search", "horizon", "is_before"]

LOOKS: Final = (0.01, 0.03, 0.08, 0.17, 0.33, 0.6, 1.0)
"""When the lists are read, as parts of the time that the service may need to show a job: soon at first, since mostly
it has it, and once more at the very end, since only that look proves that it has not."""

_TIME_ZONES: Final = timedelta(hours=26)
"""The service's dates name no time zone: two clocks that are both right may differ by as much."""

_CLOCK_SET: Final = 300.0
"""Seconds by which this machine's clock may have been set between two jobs of ours."""


@frozen
class Found:
    """The service has the job, under this hash."""

    job: str
    hash: str


@frozen
class Absent:
    """The service had all the time it may need and does not show the job: it has not got it."""

    job: str


@define
class _Lost:
    since: float
    looks: int = 0


@define
class Search:
    """The jobs that are searched for. One reading of the lists serves them all.

    `patience`: seconds that the service may need until an accepted job is in its lists.
    """

    patience: float
    _lost: dict[str, _Lost] = field(factory=dict)

    def begin(self, job: str, now: float) -> None:
        """Search for this job from now on."""
        self._lost.setdefault(job, _Lost(now))

    def end(self, job: str) -> None:
        """Search for it no longer."""
        self._lost.pop(job, None)

    @property
    def jobs(self) -> tuple[str, ...]:
        """The jobs searched for."""
        return tuple(self._lost)

    def wait(self, now: float) -> float:
        """Return the seconds until the lists are to be read again; `inf` when nothing is searched for."""
        dues = (lost.since + LOOKS[lost.looks] * self.patience for lost in self._lost.values())
        return max(0.0, min(dues, default=float("inf")) - now)

    def looked(self, began: float, hashes: Iterable[str]) -> list[Found | Absent]:
        """Take in what the lists showed that were read from `began` on, and return what is settled by it."""
        listed = list(hashes)
        settled: list[Found | Absent] = []
        for job, lost in list(self._lost.items()):
            found = next((hash for hash in listed if tag_in(hash, job)), None)
            if found is not None:
                settled.append(Found(job, found))
            elif began >= lost.since + self.patience:
                settled.append(Absent(job))
            else:
                while lost.looks < len(LOOKS) - 1 and lost.since + LOOKS[lost.looks] * self.patience <= began:
                    lost.looks += 1
                continue
            self.end(job)
        return settled


def horizon(intents: Iterable[float | None], now: float) -> float:
    """Return the Unix time before which none of these creates was begun: 0 where that is not known.

    One that lies in the future was noted by a clock that was wrong, so it says nothing.
    """
    return min((0.0 if at is None or at > now else at for at in intents), default=0.0)


def is_before(hash: str, moment: float, *, accepted_at: float | None) -> bool:
    """Tell whether the job `hash` was certainly accepted before `moment` (a Unix time).

    `accepted_at`: when its answer came to us; of a job that is not ours (`None`) only the date at the front of its hash
    is known.
    """
    if accepted_at is not None:
        return accepted_at < moment - _CLOCK_SET
    try:
        dated = datetime.strptime(hash[:14], "%Y%m%d%H%M%S").replace(tzinfo=UTC)
        return dated < datetime.fromtimestamp(moment, UTC) - _TIME_ZONES
    except (ValueError, OverflowError, OSError):
        return False
