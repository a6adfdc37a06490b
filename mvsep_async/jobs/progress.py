"""The progress of a job: the values that its iterators yield, and the fraction that is done."""

from __future__ import annotations

from typing import Final

from attrs import frozen

from mvsep_async.models.stage import Stage

__all__ = ["QUEUED", "Progress", "fraction", "fraction_range"]


@frozen(kw_only=True)
class Progress:
    """The progress of a job at one moment. Values that do not apply or are unknown are `None`.

    `fraction` (0 to 1) covers the whole job, including its download if it has a target, and never decreases. Bytes
    count the upload of the song and the download of the stems. `queue_position`, `queue_length` and chunks are as the
    service reports them. `message` is the service's message, or says what this client waits for.
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
    """Number of jobs before this one in the local queue, while it waits for a slot."""
    starts_in: float | None = None
    """Estimated seconds until the job gets a slot, from how long jobs have taken."""
    seconds_left: float | None = None
    """Estimated seconds until the service is done, from how long such jobs took or from the finished chunks."""


QUEUED: Final = Progress(stage=Stage.QUEUED, fraction=0.0)
"""The progress of every queued job: one shared object."""

# The fraction at which each stage begins, chosen so that a song of a few minutes advances evenly on an idle service.
_UPLOADED: Final = 0.20
_PROCESSING: Final = 0.30
_MERGING: Final = 0.85
_DONE: Final = 0.90


def fraction(now: Progress, before: float | None, *, downloads: bool) -> float | None:
    """Return the fraction of a job that is done, never less than `before`.

    It is `now.fraction` if that is given, else the least that the numbers prove. `downloads`: whether the job includes
    the download of its stems.
    """
    reached = fraction_range(now, downloads=downloads)[0] if now.fraction is None else now.fraction
    if reached is None or before is None:
        return before if reached is None else reached
    return max(reached, before)


def fraction_range(now: Progress, *, downloads: bool) -> tuple[float | None, float]:
    """Return the lowest and highest fraction consistent with the numbers of a job; the lowest is `None` if unknown."""
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
