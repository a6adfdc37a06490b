"""When to search for jobs whose answers were lost, how far, and what a search proves. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf
from typing import Final

from attrs import define, field, frozen

from mvsep_async.naming import tag_in

__all__ = ["SEARCHES", "Absent", "Found", "HistoryEnd", "Search"]

SEARCHES: Final = (0.01, 0.03, 0.08, 0.17, 0.33, 0.6, 1.0)
"""When the lists are read, as parts of the time that the service may need to list a job: early, since it mostly has the
job, and once more at the very end, since only that search can prove that it does not."""

_EMPTY_PAGES: Final = 2
"""Empty pages in a row that prove the end of a list: one may consist of entries that could not be read."""

_HOLED_PAGES: Final = 100
"""Pages in a row with unreadable entries and nothing new that end the reading, our choice: some end there must be."""

_PAGES_AFTER: Final = 1
"""Pages that are read beyond one with an older job of ours, in case the order of the list is not strict."""

_QUICK_PAGES: Final = 5
"""Pages that an early search reads at the most: a lost job is among the newest."""


@frozen
class Found:
    """The service has the job, under this hash."""

    job: str
    hash: str


@frozen
class Absent:
    """The service had all the time it may need, and its complete lists do not show the job."""

    job: str


@define
class HistoryEnd:
    """Decides when enough pages of the history, newest first, have been read.

    A short page proves nothing: a service may send fewer entries than asked for, and some may be unreadable. Nor does a
    date: clocks are set, and the service names no time zone. What counts is an empty page, a page that repeats what was
    read, or a job of ours that was accepted before the create of any missing job began (by the stamps of the journal,
    which no clock can turn back).

    `since`: stamp of the earliest missing create, `None` if it is not known. `thorough`: read as far as a proof needs.
    """

    since: float | None
    thorough: bool
    pages: int = 0
    _empty: int = 0
    _repeated: int = 0
    _holed: int = 0
    _left: float = inf

    def read(self, entries: int, new: int, accepted_at: Iterable[float], *, unreadable: int = 0) -> bool:
        """Count a page with so many entries, `new` of them not read before; return whether to stop.

        `accepted_at`: the stamps of those entries that are jobs of ours. `unreadable`: entries such as `null`; a page
        that has some is not a repetition, since they may be new ones.
        """
        self.pages += 1
        self._left -= 1
        self._empty = 0 if entries else self._empty + 1
        if new:
            self._repeated = self._holed = 0
        else:
            self._repeated += bool(entries) and not unreadable
            self._holed += bool(unreadable)
        if self.since is not None and any(stamp < self.since for stamp in accepted_at):
            self._left = min(self._left, _PAGES_AFTER)
        quick = not self.thorough and self.pages >= _QUICK_PAGES
        over = self._empty >= _EMPTY_PAGES or self._repeated >= _EMPTY_PAGES or self._holed >= _HOLED_PAGES
        return quick or self._left <= 0 or over


@define
class _Lost:
    since: float
    searches: int = 0


@define
class Search:
    """The lost jobs. One reading of the lists serves them all.

    `grace`: seconds that the service may need until an accepted job is in its lists.
    """

    grace: float
    _lost: dict[str, _Lost] = field(factory=dict)

    def begin(self, job: str, now: float) -> None:
        """Search for this job from now on."""
        self._lost.setdefault(job, _Lost(now))

    def end(self, job: str) -> None:
        """Stop searching for this job."""
        self._lost.pop(job, None)

    @property
    def jobs(self) -> tuple[str, ...]:
        """The lost jobs."""
        return tuple(self._lost)

    def wait(self, now: float) -> float:
        """Return the seconds until the lists are to be read again; `inf` when nothing is lost."""
        dues = (lost.since + SEARCHES[lost.searches] * self.grace for lost in self._lost.values())
        return max(0.0, min(dues, default=inf) - now)

    def can_prove_absence(self, began: float) -> bool:
        """Tell whether lists that are read from `began` on can prove of any lost job that the service lacks it."""
        return any(began >= lost.since + self.grace for lost in self._lost.values())

    def searched(self, began: float, hashes: Iterable[str]) -> list[Found | Absent]:
        """Take in what the lists show that were read from `began` on, and return what they decide."""
        listed = list(hashes)
        results: list[Found | Absent] = []
        for job, lost in list(self._lost.items()):
            found = next((hash for hash in listed if tag_in(hash, job)), None)
            if found is not None:
                results.append(Found(job, found))
            elif began >= lost.since + self.grace:
                results.append(Absent(job))
            else:
                while lost.searches < len(SEARCHES) - 1 and lost.since + SEARCHES[lost.searches] * self.grace <= began:
                    lost.searches += 1
                continue
            self.end(job)
        return results
