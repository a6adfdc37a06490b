"""How far a job is: what its iterators yield, and the one number that sums it up."""

from __future__ import annotations

from typing import Final

from attrs import frozen

from mvsep_async.models.stage import Stage

__all__ = ["QUEUED", "Progress", "fraction"]


@frozen(kw_only=True)
class Progress:
    """One moment of a job. Whatever does not apply, or is not known, is `None`.

    `fraction` (0 to 1) covers all that this job has to do, its download too where one is asked for, and never goes
    down. Bytes count the song on its way up and the stems on their way down. Queue places and chunks are the
    service's; `message` is the service's word or ours about what is waited for.
    """

    stage: Stage
    fraction: float | None = None
    bytes_sent: int | None = None
    bytes_total: int | None = None
    bytes_received: int | None = None
    queue_position: int | None = None
    queue_length: int | None = None
    chunks_done: int | None = None
    chunks_total: int | None = None
    message: str | None = None
    place: int | None = None
    """Jobs before this one in the local queue, for a job that waits for a slot here."""
    starts_in: float | None = None
    """Seconds until a slot is likely to be free for it, estimated from how long jobs have taken."""
    seconds_left: float | None = None
    """Seconds until the job is over, estimated from how long such jobs took; `None` until some have ended."""


QUEUED: Final = Progress(stage=Stage.QUEUED, fraction=0.0)
"""The progress of every job that waits here: one object for all of them."""

# Where each part of a job's life begins on the way from 0 to 1, chosen so that a song of a few minutes on an idle
# service moves evenly.
_UPLOADED: Final = 0.20
_PROCESSING: Final = 0.30
_MERGING: Final = 0.85
_DONE: Final = 0.90


def fraction(
    now: Progress, before: float | None, *, first_place: int | None, share_of_time: float | None, downloads: bool
) -> float | None:
    """Return how far a job is that was at `before`: never less.

    `first_place` is its first known place in the service's queue, `share_of_time` how much of the time that jobs like
    it take has passed (above 1 when it is late), `downloads` whether its stems are to be fetched too.
    """
    reached = _reached(now, first_place, share_of_time, downloads)
    if reached is None or before is None:
        return before if reached is None else reached
    return max(reached, before)


def _reached(now: Progress, first_place: int | None, share_of_time: float | None, downloads: bool) -> float | None:
    match now.stage:
        case Stage.QUEUED:
            return 0.0
        case Stage.UPLOADING:
            return _UPLOADED * _share(now.bytes_sent, now.bytes_total)
        case Stage.FETCHING:
            return None
        case Stage.WAITING:
            passed = 0.0
            if first_place and now.queue_position is not None:
                passed = 1 - min(now.queue_position / (first_place + 1), 1.0)
            return _UPLOADED + (_PROCESSING - _UPLOADED) * passed
        case Stage.DISTRIBUTING | Stage.PROCESSING:
            # A late job creeps towards the end without reaching it.
            by_time = 0.0 if share_of_time is None else 1 - 0.5 ** (2 * max(share_of_time, 0.0))
            return _PROCESSING + (_MERGING - _PROCESSING) * max(by_time, _share(now.chunks_done, now.chunks_total))
        case Stage.MERGING:
            return _MERGING
        case Stage.DONE:
            return _DONE if downloads else 1.0
        case Stage.DOWNLOADING:
            return _DONE + (1 - _DONE) * _share(now.bytes_received, now.bytes_total)
        case Stage.FINISHED:
            return 1.0
        case Stage.FAILED | Stage.CANCELLED:
            return None


def _share(part: int | None, whole: int | None) -> float:
    return min(part / whole, 1.0) if part and whole else 0.0
