"""Estimate how long jobs take at the service from finished jobs, by algorithm and size of the song."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from itertools import combinations
from math import exp, log
from statistics import fmean, median
from typing import Final

from attrs import define, field

from mvsep_async.jobs.journal import JobDuration

__all__ = ["Durations", "middle_mean"]

REMEMBERED: Final = 32
"""Jobs remembered for each algorithm: enough for a stable estimate, few enough to follow changes in speed."""

SIZES_ENOUGH: Final = 8
"""Jobs with a known size that are needed before the typical time is scaled by size."""

FARTHEST: Final = 2.0
"""Largest ratio of sizes, as a natural logarithm, by which the typical time is scaled."""

WAITS: Final = 16
"""Waits in the service's queue that are remembered, for all algorithms: older ones are of little use."""


@define
class _Algorithm:
    jobs: deque[tuple[float, int | None]] = field(factory=lambda: deque(maxlen=REMEMBERED))
    _fit: tuple[float, float, float] | None = None

    def learn(self, seconds: float, size: int | None) -> None:
        self.jobs.append((seconds, size))
        self._fit = None

    def typical(self, size: int | None) -> float:
        """Return the typical seconds, scaled to the size if enough jobs are known."""
        if self._fit is None:
            self._fit = self._fitted()
        level, slope, middle = self._fit
        if not size or not slope:
            return exp(level)
        return exp(level + slope * min(max(log(size) - middle, -FARTHEST), FARTHEST))

    def _fitted(self) -> tuple[float, float, float]:
        """Fit log(seconds) to log(size); return the level, the slope, and the median of log(size).

        The slope is the median slope of all pairs (the Theil–Sen estimator), which is robust against outliers. It is
        limited to between 0 (size does not matter) and 1 (twice the size takes twice the time).
        """
        level = middle_mean([log(seconds) for seconds, _ in self.jobs])
        sized = [(log(size), log(seconds)) for seconds, size in self.jobs if size]
        slopes = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in combinations(sized, 2) if abs(b[0] - a[0]) > 0.05]
        if len(sized) < SIZES_ENOUGH or not slopes:
            return level, 0.0, 0.0
        slope = min(max(median(slopes), 0.0), 1.0)
        middle = median(size for size, _ in sized)
        return middle_mean([seconds - slope * (size - middle) for size, seconds in sized]), slope, middle


def middle_mean(values: Iterable[float]) -> float:
    """Return the mean of the middle half of the values.

    It is as robust against outliers as a median. As a mean, it averages durations that are known only to within a
    polling round, where a median would be one of a few discrete values.
    """
    ordered = sorted(values)
    cut = len(ordered) // 4
    return fmean(ordered[cut : len(ordered) - cut])


@define
class Durations:
    """Estimates of how long jobs take, from the jobs that ended in this run and in earlier ones."""

    _algorithms: dict[int | None, _Algorithm] = field(factory=dict, init=False)
    _waits: deque[float] = field(factory=lambda: deque(maxlen=WAITS), init=False)

    def learn(self, ended: Iterable[JobDuration]) -> None:
        """Remember jobs that ended, the oldest first."""
        for job in ended:
            known = self._algorithms.setdefault(job.algorithm, _Algorithm())
            known.learn(max(job.processing, 1e-3), job.size)
            if job.waiting is not None:
                self._waits.append(job.waiting)

    def processing(self, algorithm: int | None, size: int | None = None) -> float | None:
        """Return the estimated processing seconds of such a job; `None` until one has ended."""
        known = self._algorithms.get(algorithm)
        return None if known is None else known.typical(size)

    def waiting(self) -> float | None:
        """Return the estimated seconds that jobs wait in the service's queue; `None` until a job has ended."""
        return middle_mean(self._waits) if self._waits else None
