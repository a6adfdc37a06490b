"""Convert the service's status of a job into an event of its lifecycle, its progress and its error. Pure."""

from __future__ import annotations

from typing import Final

from attrs import frozen

from mvsep_async.errors import JobCancelledError, JobFailedError, JobNotFoundError, MVSepError
from mvsep_async.http.redaction import hide
from mvsep_async.jobs.lifecycle import JobEvent
from mvsep_async.jobs.progress import Progress
from mvsep_async.models.job_status import JobKind, JobStatus
from mvsep_async.models.stage import Stage

__all__ = ["StatusUpdate", "classify_status"]

_EVENT_OF_STATUS: Final = {
    JobKind.WAITING: JobEvent.STATUS_WAITING,
    JobKind.DISTRIBUTING: JobEvent.STATUS_DISTRIBUTING,
    JobKind.PROCESSING: JobEvent.STATUS_PROCESSING,
    JobKind.MERGING: JobEvent.STATUS_MERGING,
    JobKind.DONE: JobEvent.STATUS_DONE,
}


@frozen
class StatusUpdate:
    """The result of a poll: an event, if the state may change, and the progress to show."""

    event: JobEvent | None
    progress: Progress
    error: MVSepError | None = None


def classify_status(job: str, status: JobStatus, *, fetching: bool) -> StatusUpdate:
    """Return the event, progress and error that a job's `status` means.

    `fetching`: it is the status of `get-remote`, while the service fetches the song.
    """
    message = None if status.message is None else hide(status.message)
    progress = Progress(
        stage=Stage.WAITING,  # the registry puts in the stage that belongs to the state
        queue_position=status.queue_position,
        queue_length=status.queue_length,
        chunks_done=status.chunks_done,
        chunks_total=status.chunks_total,
        message=message,
    )
    match status.kind:
        case JobKind.FAILED:
            said = message or "the service gives no reason"
            return StatusUpdate(
                JobEvent.FAILED, progress, JobFailedError(f"the separation failed: {said}", job=job, hash=status.hash)
            )
        case JobKind.CANCELLED:
            error = JobCancelledError("the job was cancelled at the service", job=job, hash=status.hash)
            return StatusUpdate(JobEvent.CANCELLED, progress, error)
        case JobKind.NOT_FOUND:
            return StatusUpdate(
                JobEvent.FAILED,
                progress,
                JobNotFoundError(
                    f"the service has no job {status.hash}: it was cancelled or deleted elsewhere, or has expired",
                    job=job,
                    hash=status.hash,
                ),
            )
        case JobKind.DONE if fetching:
            return StatusUpdate(JobEvent.FETCHED, progress)
        case kind if not fetching and kind in _EVENT_OF_STATUS:
            return StatusUpdate(_EVENT_OF_STATUS[kind], progress)
        case _:
            return StatusUpdate(None, progress)
