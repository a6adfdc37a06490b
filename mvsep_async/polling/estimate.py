"""Estimate the fraction and the time left of a job between its polls."""

from __future__ import annotations

from math import exp
from typing import Final

from attrs import define, evolve, field

from mvsep_async.jobs.progress import Progress, fraction_range
from mvsep_async.models.stage import Stage

__all__ = ["Estimate", "advance", "left_share", "steady"]

PRIOR: Final = 90.0
"""Seconds after which an unknown algorithm's job is shown as half done: in live use, a song of usual length takes one
or two minutes."""

MERGING_SHARE: Final = 0.15
"""Part of the processing time that merging the chunks takes (a guess: the service does not document it)."""

ON_TIME: Final = 0.8
"""Part of the typical time after which the time left decreases more slowly, since many jobs take longer."""

LATE: Final = 1.5
"""Multiple of the typical time after which the time left is unknown."""

CATCH_UP: Final = 3.0
"""Seconds in which two thirds of the difference to a shorter estimate are made up."""

RISE: Final = 0.03
"""Largest relative increase of the time left in a second, if it turns out to be far too short."""

FAR_TOO_SHORT: Final = 1.25

UNSURE: Final = 30.0
"""Largest uncertainty of a job's duration, in seconds, with which it is still learned from: two polling rounds."""

_BEGUN: Final = frozenset({Stage.DISTRIBUTING, Stage.PROCESSING, Stage.MERGING})


def left_share(passed: float) -> float:
    """Return the part of the typical time that is left after `passed` of it; it decreases, but does not reach 0.

    It decreases linearly until `ON_TIME`, and more and more slowly after it, since a late job may take any time.
    """
    if passed <= ON_TIME:
        return 1 - max(passed, 0.0)
    late = 1 - ON_TIME
    return late * late / (passed - ON_TIME + late)


def advance(before: float | None, target: float, ceiling: float, *, seconds: float, typical: float) -> float:
    """Return the fraction to show `seconds` after `before`: larger, but below `ceiling` if possible.

    It is `target` if that is larger than `before`. Otherwise it moves a part of the way to the ceiling, which is
    smaller the longer jobs typically take.
    """
    if before is None or target > before:
        return target
    return before + max(ceiling - before, 0.0) * (1 - exp(-max(seconds, 0.0) / (4 * typical)))


def steady(before: float | None, estimate: float | None, *, seconds: float, scale: float = 1.0) -> float | None:
    """Return the time left to show, given the time `before` that was shown `seconds` ago and the current `estimate`.

    It decreases as time passes, and approaches a shorter estimate within seconds. With a longer estimate it stays, or
    rises slowly if it is far too short. It never decreases by more than half at once.
    """
    if before is None or estimate is None:
        return estimate
    fallen = max(before - seconds, 0.0)
    if estimate <= fallen:
        shown = estimate + (fallen - estimate) * exp(-seconds / (CATCH_UP * scale))
    elif estimate <= before * FAR_TOO_SHORT:
        shown = min(estimate, before)
    else:
        shown = min(estimate, before * (1 + min(RISE * seconds / scale, 0.5)))
    return max(shown, before / 2)


@define
class Estimate:
    """Estimates the progress of one job from its polls. Times are those of the caller's clock.

    `scale`: factor for all built-in times.
    """

    accepted_at: float
    scale: float = 1.0
    began: float | None = None
    """Estimated time at which its processing began."""
    _begun_between: tuple[float, float] | None = field(default=None, init=False)
    """Times of the last poll before its processing began and of the first one after."""
    _not_begun_at: float = field(init=False)
    """Time of the last poll that showed it as not yet processed."""
    _polled_at: float = field(init=False)
    _first_place: tuple[float, int] | None = field(default=None, init=False)
    _place: tuple[float, int] | None = field(default=None, init=False)
    _chunks: tuple[float, int] | None = field(default=None, init=False)
    """Estimated time of the last change of its finished chunks, and their number."""
    _merging_at: float | None = field(default=None, init=False)
    _shown_at: float = field(init=False)
    _seconds_left: float | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self._not_begun_at = self._polled_at = self._shown_at = self.accepted_at

    def polled(self, progress: Progress, now: float, *, waiting: float | None = None) -> None:
        """Record the result of a poll. `waiting`: seconds that jobs typically wait, if known."""
        between = (self._polled_at + now) / 2
        if progress.stage in _BEGUN:
            if self._begun_between is None:
                self._begun_between = self._not_begun_at, now
            self._estimate_beginning(waiting)
        else:
            self._not_begun_at, self.began, self._begun_between = now, None, None
        if progress.stage is Stage.WAITING and progress.queue_position is not None:
            self._place = now, progress.queue_position
            if self._first_place is None or self._first_place[1] < progress.queue_position:
                self._first_place = self._place
        if progress.chunks_done is not None and (self._chunks is None or self._chunks[1] != progress.chunks_done):
            began = now if self.began is None else self.began
            self._chunks = (between if progress.chunks_done else began), progress.chunks_done
        if progress.stage is Stage.MERGING and self._merging_at is None:
            self._merging_at = between
        self._polled_at = now

    def durations(self, now: float) -> tuple[float, float] | None:
        """Return the waiting and the processing seconds of a job that a poll at `now` shows as done.

        `None` if they are not known exactly enough to learn from.
        """
        if self._begun_between is None:
            unsure = now - self._not_begun_at
            began, ended = self._not_begun_at + unsure / 3, now - unsure / 3
        else:
            earliest, latest = self._begun_between
            began, ended = (earliest + latest) / 2, (self._polled_at + now) / 2
            unsure = latest - earliest + now - self._polled_at
        processing = ended - began
        if unsure > max(UNSURE * self.scale, processing / 2):
            return None
        return max(began - self.accepted_at, 0.0), processing

    def at(
        self,
        progress: Progress,
        now: float,
        *,
        before: float | None,
        processing: float | None,
        waiting: float | None,
        downloads: bool,
    ) -> Progress:
        """Return `progress` with the estimated fraction and seconds left at `now`.

        `before`: the fraction shown last. `processing`, `waiting`: the seconds that such jobs typically take, `None` if
        unknown. `downloads`: whether the job includes the download of its stems.
        """
        seconds, self._shown_at = max(now - self._shown_at, 0.0), now
        self._estimate_beginning(waiting)
        self._seconds_left = steady(
            self._seconds_left,
            self._left(progress, now, processing, waiting),
            seconds=seconds,
            scale=self.scale,
        )
        return evolve(
            progress,
            fraction=self._fraction(progress, now, before, processing, seconds, downloads=downloads),
            seconds_left=self._seconds_left,
        )

    def _estimate_beginning(self, waiting: float | None) -> None:
        """Estimate when processing began: half-way between two polls, or after the typical wait once that is known."""
        if self._begun_between is not None:
            earliest, latest = self._begun_between
            expected = (earliest + latest) / 2 if waiting is None else self.accepted_at + waiting
            self.began = min(max(expected, earliest), latest)

    def _fraction(
        self,
        progress: Progress,
        now: float,
        before: float | None,
        processing: float | None,
        seconds: float,
        *,
        downloads: bool,
    ) -> float | None:
        least, ceiling = fraction_range(progress, downloads=downloads)
        if least is None:
            return before
        if progress.stage is Stage.WAITING:
            target = least + (ceiling - least) * self._moved_up()
            return target if before is None else max(target, before)
        if progress.stage not in _BEGUN or self.began is None:
            return least if before is None else max(least, before)
        since, typical = self.began, processing
        if progress.stage is Stage.MERGING and self._merging_at is not None:
            since, typical = self._merging_at, None if processing is None else processing * MERGING_SHARE
        elif progress.chunks_total and self._chunks is not None:
            since, typical = self._chunks[0], None if processing is None else processing / progress.chunks_total
        passed = (now - since) / (typical or PRIOR * self.scale)
        share = passed / (1 + passed) if typical is None else 1 - left_share(passed)
        if before is not None and before >= ceiling:
            # The estimate was ahead of what the service reports: advance slowly towards the beginning of merging.
            ceiling = fraction_range(Progress(stage=Stage.MERGING), downloads=downloads)[1]
        target = least + (ceiling - least) * max(share, 0.0)
        return advance(before, target, ceiling, seconds=seconds, typical=processing or PRIOR * self.scale)

    def _moved_up(self) -> float:
        """Return how far the job has moved up in the service's queue, from 0 to 1."""
        if self._place is None or self._first_place is None:
            return 0.0
        return 1 - min(self._place[1] / (self._first_place[1] + 1), 1.0)

    def _left(self, progress: Progress, now: float, processing: float | None, waiting: float | None) -> float | None:
        if progress.stage is Stage.WAITING:
            wait = self._wait_left(now, waiting)
            return None if wait is None or processing is None else max(wait + processing, 0.0)
        if progress.stage not in _BEGUN or self.began is None:
            return None
        passed = 0.0 if not processing else (now - self.began) / processing
        by_time = None if not processing or passed > LATE else processing * left_share(passed)
        if progress.stage is Stage.MERGING and self._merging_at is not None and processing:
            merging = processing * MERGING_SHARE
            return min(by_time or merging, merging * left_share((now - self._merging_at) / merging))
        by_chunks = self._left_by_chunks(progress, now)
        if by_time is None or by_chunks is None:
            return by_chunks if by_time is None else by_time
        weight = min((progress.chunks_done or 0) / (progress.chunks_total or 1), 1.0)
        return by_time + weight * (by_chunks - by_time)

    def _left_by_chunks(self, progress: Progress, now: float) -> float | None:
        """Return the time left, estimated from the time of the finished chunks, including merging."""
        if self._chunks is None or self.began is None or not progress.chunks_total:
            return None
        at, done = self._chunks
        if done < 1 or at <= self.began:
            return None
        each = (at - self.began) / done
        merging = each * progress.chunks_total * MERGING_SHARE
        if done >= progress.chunks_total:
            return merging
        return each * (progress.chunks_total - done - 1 + left_share((now - at) / each)) + merging

    def _wait_left(self, now: float, waiting: float | None) -> float | None:
        """Return the seconds until processing begins, from the job's moves in the queue or from typical waits.

        A negative value means that it has probably begun since the last poll.
        """
        if self._place is not None and self._first_place is not None and self._place[1] < self._first_place[1]:
            each = (self._place[0] - self._first_place[0]) / (self._first_place[1] - self._place[1])
            begins = self._place[0] + each * self._place[1]
        elif waiting is not None:
            begins = self.accepted_at + waiting
        else:
            return None
        return max(begins, self._polled_at) - now
