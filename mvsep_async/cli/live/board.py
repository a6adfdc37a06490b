"""What the display shows at one moment, as values; and the small sums behind it, with the time given: pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from attrs import define, field, frozen

from mvsep_async.jobs.progress import Progress

__all__ = ["Board", "Lane", "Pace", "Speed", "assign"]

_WINDOW: Final = 3.0
"""Seconds that a speed is averaged over: long enough to be read, short enough to be true."""

_SOON: Final = 2.0
"""Seconds before the time left is told: until then it would jump."""

_LITTLE: Final = 0.05
"""Songs' worth of progress before the time left is told."""


@frozen(kw_only=True)
class Lane:
    """One running job. `speed`: bytes a second up or down, `None` while nothing moves; `elapsed`: seconds it runs."""

    name: str
    progress: Progress
    speed: float | None = None
    elapsed: float = 0.0


@frozen(kw_only=True)
class Board:
    """Everything at one moment. `lanes` has a place for each slot, `None` for a free one; downloads come behind them.

    `queued`: songs that have no slot yet; `searching`: more may be found. `credits`: left on the account. Times are
    seconds, `left` is `None` while nobody can know it.
    """

    title: str = ""
    lanes: tuple[Lane | None, ...] = ()
    queued: int = 0
    searching: bool = False
    done: int = 0
    failed: int = 0
    credits: float | None = None
    elapsed: float = 0.0
    left: float | None = None

    @property
    def running(self) -> int:
        """How many jobs have a lane."""
        return sum(lane is not None for lane in self.lanes)


def assign(lanes: Sequence[str | None], active: Collection[str], slots: int) -> tuple[str | None, ...]:
    """Give every active job a lane: the one it has, else the first free one; there are at least `slots` of them."""
    kept = [job if job in active else None for job in lanes]
    kept += [None] * (slots - len(kept))
    have = {job for job in kept if job is not None}
    for job in active:
        if job not in have:
            if None in kept:
                kept[kept.index(None)] = job
            else:
                kept.append(job)
    while len(kept) > slots and kept[-1] is None:
        kept.pop()
    return tuple(kept)


@define
class Speed:
    """Bytes a second over the last moments."""

    _seen: list[tuple[float, int]] = field(factory=list)

    def update(self, count: int | None, now: float) -> float | None:
        """Take over a count of bytes and return the speed; `None` for no count, or one that begins anew."""
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
class Pace:
    """How long the rest will take, from how much of the whole was done since the start."""

    _given: float = 0.0
    """Songs' worth that was there before: resumed jobs are not our speed."""

    def give(self, songs: float) -> None:
        """Note progress that cost no time of ours."""
        self._given += songs

    def left(self, made: float, total: int, elapsed: float) -> float | None:
        """Return the seconds left when `made` of `total` songs' worth is done; `None` while nobody can know."""
        ours = made - self._given
        if elapsed < _SOON or ours < _LITTLE or total <= 0:
            return None
        return max(0.0, (total - made) * elapsed / ours)
