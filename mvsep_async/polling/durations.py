"""How long jobs take, learned from those that ended."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterable
from math import exp, log
from statistics import median
from typing import Final

from attrs import define, field, frozen

__all__ = ["Durations", "Expectation"]

_MEMORY: Final = 64
"""Jobs remembered for each kind: enough for stable quartiles, few enough to follow a change of the service's speed."""
_MOST_KINDS: Final = 256
_ENOUGH: Final = 3
"""Jobs of a kind that say more than what is known of all kinds together."""
_SIZES_ENOUGH: Final = 8

_FOR_EVER: Final = 1e6
"""Times the median beyond which nothing more is calculated."""


@frozen
class Expectation:
    """How long a job is likely to take, in seconds: a log-logistic distribution.

    It is what remains when a median and a spread are all that is believed: its tail is heavy, so a job that is late
    grows ever less likely to end in the next second, and everything asked of it is a closed formula.
    """

    median: float
    shape: float
    """How narrow: 1 says nearly nothing, 8 that four of five jobs end within a quarter of the median."""
    known: bool = False

    @property
    def low(self) -> float:
        """One job of ten is shorter."""
        return self.quantile(0.1)

    @property
    def high(self) -> float:
        """One job of ten is longer."""
        return self.quantile(0.9)

    def quantile(self, share: float) -> float:
        """Return the seconds within which this share of jobs (0 to 1, both excluded) ends."""
        return self.median * float((share / (1 - share)) ** (1 / self.shape))

    def unfinished(self, elapsed: float) -> float:
        """Return the share of jobs that take longer than `elapsed`."""
        return 1 / (1 + self._odds(elapsed))

    def ended(self, since: float, until: float) -> float:
        """Return how likely it is that a job has ended by `until` that had not at `since`."""
        before, after = self._odds(since), self._odds(until)
        return (after - before) / (1 + after)

    def remaining(self, elapsed: float) -> float:
        """Return the seconds that a job unfinished after `elapsed` has still to go, as likely more as less."""
        return self.median * float((1 + 2 * self._odds(elapsed)) ** (1 / self.shape)) - elapsed

    def _odds(self, elapsed: float) -> float:
        """Return how many jobs end within `elapsed` for each that does not."""
        return float(min(max(elapsed, 0.0) / self.median, _FOR_EVER) ** self.shape)


UNKNOWN: Final = Expectation(90.0, 1.0)
"""Before anything is learned: a minute or two (songs of usual length, live reports), or something else altogether."""


@define
class _Kind:
    """The jobs of one kind, as logarithms of their seconds and of their songs' sizes."""

    jobs: deque[tuple[float, float | None]] = field(factory=lambda: deque(maxlen=_MEMORY))
    _fit: _Fit | None = None

    def learn(self, seconds: float, size: int | None) -> None:
        self.jobs.append((log(max(seconds, 1e-3)), log(size) if size else None))
        self._fit = None

    def expect(self, size: int | None) -> Expectation:
        if self._fit is None:
            self._fit = _fit(self.jobs)
        return self._fit.expect(log(size) if size else None)


@frozen
class _Fit:
    centre: float
    shape: float
    slope: float = 0.0
    middle_size: float = 0.0
    shape_by_size: float = 0.0

    def expect(self, size: float | None) -> Expectation:
        if size is None or not self.slope:
            return Expectation(exp(self.centre), self.shape, known=True)
        # A song far from any that was seen is not believed to scale for ever.
        distance = min(max(size - self.middle_size, -2.0), 2.0)
        return Expectation(exp(self.centre + self.slope * distance), self.shape_by_size, known=True)


def _fit(jobs: Iterable[tuple[float, float | None]]) -> _Fit:
    jobs = list(jobs)
    seconds = [taken for taken, _ in jobs]
    centre, shape = median(seconds), _shape(seconds)
    sized = [(taken, size) for taken, size in jobs if size is not None]
    if len(sized) < _SIZES_ENOUGH:
        return _Fit(centre, shape)
    middle = median(size for _, size in sized)
    slope = min(max(_slope(sized), 0.0), 1.0)
    level = [taken - slope * (size - middle) for taken, size in sized]
    shape_by_size = _shape(level)
    if shape_by_size <= shape * 1.05:
        return _Fit(centre, shape)
    return _Fit(median(level), shape, slope, middle, shape_by_size)


def _slope(sized: list[tuple[float, float]]) -> float:
    """Fit a line, after jobs that took oddly long or short are pulled in."""
    low, high = _quantile([taken for taken, _ in sized], 0.05), _quantile([taken for taken, _ in sized], 0.95)
    mean_size = sum(size for _, size in sized) / len(sized)
    spread = sum((size - mean_size) ** 2 for _, size in sized)
    if spread < 1e-9:
        return 0.0
    return sum(min(max(taken, low), high) * (size - mean_size) for taken, size in sized) / spread


def _shape(logs: list[float]) -> float:
    """Return the shape whose middle half is as wide as that of `logs`, doubtful while these are few."""
    half = (_quantile(logs, 0.75) - _quantile(logs, 0.25)) / (2 * log(3))
    doubt = 1 / (1 + len(logs))
    return 1 / max(half + doubt, 0.08)


def _quantile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


@define
class Durations:
    """What is known of the seconds that jobs of each kind take.

    A key is a kind; where it is a tuple, its first part is the wider kind (the algorithm of an algorithm with options)
    that stands in while the kind itself is little known, and after that all jobs together do.
    """

    _kinds: dict[Hashable, _Kind] = field(factory=dict, init=False)

    def learn(self, key: Hashable, seconds: float, *, size: int | None = None) -> None:
        """Remember that a job of this kind, with a song of `size` bytes, took so long."""
        for name in _widening(key):
            kind = self._kinds.pop(name, None) or _Kind()
            kind.learn(seconds, size)
            self._kinds[name] = kind  # at the end: the first is what was longest not heard of
        while len(self._kinds) > _MOST_KINDS:
            del self._kinds[next(iter(self._kinds))]

    def expect(self, key: Hashable, *, size: int | None = None) -> Expectation:
        """Return what a job of this kind is likely to take, `known` only if jobs have ended."""
        for name in _widening(key):
            kind = self._kinds.get(name)
            if kind is not None and len(kind.jobs) >= _ENOUGH:
                return kind.expect(size)
        return UNKNOWN


_ALL: Final = object()


def _widening(key: Hashable) -> tuple[Hashable, ...]:
    return (("kind", key), ("wide", key[0]), _ALL) if isinstance(key, tuple) and key else (("kind", key), _ALL)
