"""Decide when to search for jobs whose responses were lost, how far back, and what a search proves. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf
from typing import Final

from attrs import define, field

from mvsep_async.naming import tag_in

__all__ = ["SEARCHES", "HistoryEnd", "Search"]

SEARCHES: Final = (0.01, 0.03, 0.08, 0.17, 0.33, 0.6, 1.0)
"""When the lists are read, as parts of the time that the service may need to list a job: early, since it usually has
the job, and last at the very end, since only that search can prove that it does not."""

_EMPTY_PAGES: Final = 2
"""Consecutive empty pages that prove the end of a list: one may have had only entries that could not be decoded."""

_REPEATED_PAGES: Final = 10
"""Consecutive pages without a new entry that end the reading, in case the service ignores `start`. One proves nothing:
jobs that were accepted during the reading move the others to later pages."""

_INCOMPLETE_PAGES: Final = 100
"""Consecutive pages with unreadable entries and nothing new that end the reading, so that it always ends."""

_PAGES_AFTER: Final = 1
"""Pages that are read after one with an older job of this client, in case the list is not strictly ordered."""

_QUICK_PAGES: Final = 5
"""Most pages that an early search reads: a lost job is among the newest."""


@define
class HistoryEnd:
    """Decides when enough pages of the history, newest first, have been read.

    A short page proves nothing, since the service may send fewer entries than requested, and some may be unreadable. A
    date proves nothing, since clocks can be set and the service names no time zone. The end is reached with empty
    pages, with pages that only repeat entries, or with a job of this client that was accepted before the create of any
    missing job began (by the stamps of the journal, which always increase).

    `since`: stamp of the earliest missing create, `None` if unknown. `thorough`: read as far as a proof requires.
    """

    since: float | None
    thorough: bool
    pages: int = 0
    _empty: int = 0
    _repeated: int = 0
    _incomplete: int = 0
    _left: float = inf

    def read(self, entries: int, new: int, accepted_at: Iterable[float], *, unreadable: int = 0) -> bool:
        """Count a page of `entries` entries, `new` of them not read before; return whether to stop.

        `accepted_at`: the stamps of the entries that are jobs of this client. `unreadable`: entries such as `null`; a
        page that has some does not count as a repetition, since they may be new.
        """
        self.pages += 1
        self._left -= 1
        self._empty = 0 if entries else self._empty + 1
        if new:
            self._repeated = self._incomplete = 0
        else:
            self._repeated += bool(entries) and not unreadable
            self._incomplete += bool(unreadable)
        if self.since is not None and any(stamp < self.since for stamp in accepted_at):
            self._left = min(self._left, _PAGES_AFTER)
        quick = not self.thorough and self.pages >= _QUICK_PAGES
        over = self._empty >= _EMPTY_PAGES or self._repeated >= _REPEATED_PAGES or self._incomplete >= _INCOMPLETE_PAGES
        return quick or self._left <= 0 or over


@define
class _Lost:
    since: float
    searches: int = 0


@define
class Search:
    """The search for all lost jobs; one reading of the lists serves all of them.

    `grace`: most seconds that the service needs until an accepted job is in its lists.
    """

    grace: float
    _lost: dict[str, _Lost] = field(factory=dict)

    def begin(self, job: str, now: float) -> None:
        """Start searching for this job."""
        self._lost.setdefault(job, _Lost(now))

    def end(self, job: str) -> None:
        """Stop searching for this job."""
        self._lost.pop(job, None)

    @property
    def jobs(self) -> tuple[str, ...]:
        """The lost jobs."""
        return tuple(self._lost)

    def wait(self, now: float) -> float:
        """Return the seconds until the lists are to be read again; `inf` if no job is lost."""
        dues = (lost.since + SEARCHES[lost.searches] * self.grace for lost in self._lost.values())
        return max(0.0, min(dues, default=inf) - now)

    def can_prove_absence(self, began: float) -> bool:
        """Tell whether lists read after `began` can prove for any lost job that the service does not have it."""
        return any(began >= lost.since + self.grace for lost in self._lost.values())

    def searched(self, began: float, hashes: Iterable[str]) -> dict[str, str | None]:
        """Process the `hashes` of lists read after `began`; return the jobs whose search is over, with their hashes.

        The hash is `None` if the service does not have the job: it had enough time to list it, and its complete lists
        do not show it.
        """
        listed = list(hashes)
        results: dict[str, str | None] = {}
        for job, lost in list(self._lost.items()):
            found = next((hash for hash in listed if tag_in(hash, job)), None)
            if found is not None or began >= lost.since + self.grace:
                results[job] = found
                self.end(job)
                continue
            while lost.searches < len(SEARCHES) - 1 and lost.since + SEARCHES[lost.searches] * self.grace <= began:
                lost.searches += 1
        return results
