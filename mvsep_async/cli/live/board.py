"""What the display shows at one moment, as values, and the estimates behind it. Pure: the time is an argument."""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping, Sequence
from typing import Final

from attrs import define, field, frozen

from mvsep_async.jobs.progress import Progress

__all__ = ["Board", "Flow", "Lane", "Speed", "TimeLeft", "makespan"]

_WINDOW: Final = 3.0
"""Seconds that a speed is averaged over."""

_SMOOTHING: Final = 8.0
"""Seconds in which the time left that is shown follows a new estimate, so that it counts down instead of jumping."""

_RECENT: Final = 60.0
"""Seconds within which the rate of a flow follows that of the line."""


@frozen(kw_only=True)
class Lane:
    """One running job.

    `folder` distinguishes songs of the same title. `speed`: bytes a second up or down, `None` while nothing moves.
    `elapsed`: seconds since the stage began.
    """

    name: str
    folder: str = ""
    progress: Progress
    speed: float | None = None
    elapsed: float = 0.0


@frozen(kw_only=True)
class Board:
    """Everything at one moment.

    `queued`: songs of which nothing was sent yet; `searching`: more may be found. `credits`: left on the account.
    `elapsed` and `left` are seconds; `left` is `None` while there is nothing to estimate it from. `notice`: why no song
    is sent, if so.
    """

    title: str = ""
    lanes: tuple[Lane, ...] = ()
    queued: int = 0
    searching: bool = False
    done: int = 0
    failed: int = 0
    credits: float | None = None
    elapsed: float = 0.0
    left: float | None = None
    notice: str | None = None


@define
class Speed:
    """Bytes a second over the last few seconds."""

    _seen: list[tuple[float, int]] = field(factory=list)

    def update(self, count: int | None, now: float) -> float | None:
        """Add a byte count and return the speed; `None` without a count, or when the count starts again."""
        if count is None or (self._seen and count < self._seen[-1][1]):
            self._seen.clear()
        if count is None:
            return None
        self._seen.append((now, count))
        while len(self._seen) > 2 and self._seen[1][0] <= now - _WINDOW:
            self._seen.pop(0)
        (start, before), (end, after) = self._seen[0], self._seen[-1]
        return (after - before) / (end - start) if end > start and after > before else None


@define
class Flow:
    """The uploads, or the downloads, of all jobs together: how fast they are and how much a job has."""

    _counts: dict[str, int] = field(factory=dict)
    _totals: dict[str, int] = field(factory=dict)
    _at: float = 0.0
    _bytes: float = 0.0
    _seconds: float = 0.0

    def update(self, moving: Mapping[str, tuple[int, int | None]], now: float) -> None:
        """Add the jobs whose bytes move now, each with its bytes so far and in all."""
        if self._counts.keys() & moving.keys():
            passed = now - self._at
            fading = math.exp(-passed / _RECENT)
            gained = sum(max(0, count - self._counts.get(id, 0)) for id, (count, _) in moving.items())
            self._bytes = self._bytes * fading + gained
            self._seconds = self._seconds * fading + passed
        self._counts = {id: count for id, (count, _) in moving.items()}
        self._totals |= {id: total for id, (_, total) in moving.items() if total}
        self._at = now

    def seconds(self, *, unfinished: Mapping[str, int], unknown: int) -> float:
        """Return how long the rest takes; 0 while nothing is known about the rate.

        `unfinished`: bytes so far of jobs whose size is known by now; `unknown`: how many more have an ordinary size.
        """
        if not self._bytes or not self._seconds or not self._totals:
            return 0.0
        mean = sum(self._totals.values()) / len(self._totals)
        rest = sum(max(0.0, self._totals.get(id, mean) - count) for id, count in unfinished.items())
        return (rest + unknown * mean) * self._seconds / self._bytes


def makespan(running: Sequence[float], queued: int, slots: int, typical: float) -> float:
    """Return the seconds until all jobs are over: those that run, and `queued` ones of `typical` seconds each.

    `running`: seconds left of each running job. A free slot always takes the next queued job.
    """
    ends = heapq.nlargest(slots, running)
    ends += [0.0] * (slots - len(ends))
    rounds, rest = divmod(queued, slots)
    ends = sorted(end + rounds * typical for end in ends)
    for index in range(rest):
        ends[index] += typical
    return max([*ends, *running])


@define
class TimeLeft:
    """The time left of a run, smoothed: it counts down, and follows a new estimate within seconds."""

    _shown: float | None = None
    _at: float = 0.0

    def update(self, estimate: float | None, now: float) -> float | None:
        """Return what to show for this estimate; `None` without one."""
        if estimate is None or self._shown is None:
            self._shown = estimate
        else:
            passed = now - self._at
            expected = max(0.0, self._shown - passed)
            self._shown = expected + (estimate - expected) * (1 - math.exp(-passed / _SMOOTHING))
        self._at = now
        return self._shown
