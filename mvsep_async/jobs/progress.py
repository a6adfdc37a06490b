"""How far a job is: what its iterators yield, and the one number that sums it up."""

from __future__ import annotations

from typing import Final

from attrs import frozen

from mvsep_async.models.stage import Stage

__all__ = ["QUEUED", "Progress", "fraction", "fraction_range"]


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
    """Seconds until the service is done, estimated from how long such jobs took; `None` until some have ended."""


QUEUED: Final = Progress(stage=Stage.QUEUED, fraction=0.0)
"""The progress of every job that waits here: one object for all of them."""

# Where each part of a job's life begins on the way from 0 to 1, chosen so that a song of a few minutes on an idle
# service moves evenly.
_UPLOADED: Final = 0.20
_PROCESSING: Final = 0.30
_MERGING: Final = 0.85
_DONE: Final = 0.90


def fraction(now: Progress, before: float | None, *, downloads: bool) -> float | None:
    """Return how far a job is, never less than `before`.

    `now.fraction` counts if it is given, else what is certain. `downloads`: its stems are to be fetched too.
    """
    reached = fraction_range(now, downloads=downloads)[0] if now.fraction is None else now.fraction
    if reached is None or before is None:
        return before if reached is None else reached
    return max(reached, before)


def fraction_range(now: Progress, *, downloads: bool) -> tuple[float | None, float]:
    """Return the least and the largest fraction that agree with the numbers of a job.

    The least is `None` where nothing is known.
    """
    match now.stage:
        case Stage.QUEUED:
            return 0.0, 0.0
        case Stage.UPLOADING:
            sent = _UPLOADED * _share(now.bytes_sent, now.bytes_total)
            return sent, sent
        case Stage.FETCHING:
            return None, _UPLOADED
        case Stage.WAITING:
            return _UPLOADED, _PROCESSING
        case Stage.DISTRIBUTING | Stage.PROCESSING:
            done, total = now.chunks_done or 0, now.chunks_total or 0
            if total < 1:
                return _PROCESSING, _MERGING
            width = _MERGING - _PROCESSING
            return _PROCESSING + width * min(done / total, 1.0), _PROCESSING + width * min((done + 1) / total, 1.0)
        case Stage.MERGING:
            return _MERGING, _DONE
        case Stage.DONE:
            return (_DONE, _DONE) if downloads else (1.0, 1.0)
        case Stage.DOWNLOADING:
            received = _DONE + (1 - _DONE) * _share(now.bytes_received, now.bytes_total)
            return received, received
        case Stage.FINISHED:
            return 1.0, 1.0
        case Stage.FAILED | Stage.CANCELLED:
            return None, 1.0


def _share(part: int | None, whole: int | None) -> float:
    return min(part / whole, 1.0) if part and whole else 0.0
