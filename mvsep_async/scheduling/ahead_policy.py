"""Decide when to upload the next song ahead of its slot, so that it is complete when the slot comes free."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf
from pathlib import Path
from typing import Final

from attrs import define, field

from mvsep_async.jobs.request import JobRequest
from mvsep_async.sources import Data, uploaded_files
from mvsep_async.submission.attempt import HOLD_LIMIT
from mvsep_async.submission.upload_queue import SMALL

__all__ = ["RECHECK", "AheadPolicy", "upload_size"]

MOST: Final = 2
"""Most songs sent ahead at one time: one that waits for its slot, and one that is uploading for the next slot. More
would only keep connections open, since slots do not come free faster than songs are uploaded."""

LEAD: Final = HOLD_LIMIT / 4
"""Seconds by which a song should be complete before its slot is expected: estimates are off by about a quarter, and a
slot that comes free earlier would stay empty."""

SLOW: Final = 1.25
"""Factor for the expected time of an upload, in case it is slower than measured."""

RECHECK: Final = 5.0
"""Seconds after which an estimate may have changed."""

FIRST_REST: Final = 30.0
LONGEST_REST: Final = 600.0
"""Seconds without sending ahead after a song was sent in vain, since each attempt costs the user's bandwidth."""


@define
class AheadPolicy:
    """Decides when to begin sending a song ahead. `time_scale`: factor for the rests after a failure."""

    time_scale: float = 1.0
    _rest: float = field(default=0.0, init=False)
    _resting_until: float = field(default=-inf, init=False)
    _blind: bool = field(default=True, init=False)
    """Whether to send ahead without an estimate."""

    def delay(
        self, now: float, *, size: int, rate: float | None, seconds_left: Iterable[float | None], ahead: int
    ) -> float:
        """Return the seconds until sending `size` bytes ahead should begin: 0 for now, `inf` if that is not known yet.

        `rate`: bytes per second of uploads, `None` if unknown. `seconds_left`: of each job that has a slot, `None` if
        unknown. `ahead`: number of songs already sent ahead, which get the first slots.
        """
        expected = sorted(-inf if left is None else left for left in seconds_left)
        if size <= SMALL or ahead >= min(MOST, len(expected)):
            return inf
        until_free = expected[ahead]
        rested = max(0.0, self._resting_until - now)
        if until_free == -inf:
            return rested if self._blind else inf
        upload = inf if rate is None else SLOW * size / rate
        return max(rested, until_free - upload - LEAD, 0.0)

    def used(self) -> None:
        """Record that a song sent ahead has got its slot."""
        self._rest, self._resting_until, self._blind = 0.0, -inf, True

    def failed(self, now: float) -> None:
        """Record that a song was sent in vain: its slot came too late, or the connection broke."""
        self._blind = False
        self._rest = min(max(FIRST_REST * self.time_scale, 2 * self._rest), LONGEST_REST * self.time_scale)
        self._resting_until = now + self._rest

    def slot_freed(self) -> None:
        """Record that a slot came free: without estimates, the next one may follow soon."""
        self._blind = True


def upload_size(request: JobRequest) -> int:
    """Return how many bytes of songs a request uploads, 0 if there are none or the size is unknown."""
    if isinstance(request.source, Data):
        return request.source.size
    try:
        return sum(Path(path).stat().st_size for path in uploaded_files(request.source))
    except OSError:
        return 0  # the create reports what is wrong with the file
