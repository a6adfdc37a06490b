"""What one look at a job means for it: the service's status in, the event that it stands for out."""

from __future__ import annotations

from typing import Final

from attrs import frozen

from mvsep_async.errors import JobCancelledError, JobFailedError, JobNotFoundError, MVSepError
from mvsep_async.http.redaction import hide
from mvsep_async.jobs.lifecycle import JobEvent, JobState
from mvsep_async.jobs.progress import Progress
from mvsep_async.models.job_status import JobKind, JobStatus
from mvsep_async.models.stage import Stage

__all__ = ["StatusUpdate", "classify_status"]

_SAID: Final = {
    JobKind.WAITING: JobEvent.SAID_WAITING,
    JobKind.DISTRIBUTING: JobEvent.SAID_DISTRIBUTING,
    JobKind.PROCESSING: JobEvent.SAID_PROCESSING,
    JobKind.MERGING: JobEvent.SAID_MERGING,
    JobKind.DONE: JobEvent.SAID_DONE,
}


@frozen
class StatusUpdate:
    """What a look brought: an event, or none while nothing is decided, and the numbers to show."""

    event: JobEvent | None
    progress: Progress
    error: MVSepError | None = None


def classify_status(job: str, status: JobStatus, state: JobState, *, young: bool) -> StatusUpdate:
    """Say what `status` means for a job in `state`.

    `young`: it was accepted so recently that "not found" may mean "not yet".
    """
    message = None if status.message is None else hide(status.message)
    progress = Progress(
        stage=Stage.WAITING,  # the registry puts the stage that belongs to the state
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
        case JobKind.NOT_FOUND if young:
            return StatusUpdate(None, progress)
        case JobKind.NOT_FOUND:
            return StatusUpdate(
                JobEvent.FAILED,
                progress,
                JobNotFoundError(
                    f"the service has no job {status.hash}: it was deleted, has expired, or never existed",
                    job=job,
                    hash=status.hash,
                ),
            )
        case JobKind.DONE if state is JobState.FETCHING:
            return StatusUpdate(JobEvent.FETCHED, progress)
        case kind if state is not JobState.FETCHING and kind in _SAID:
            return StatusUpdate(_SAID[kind], progress)
        case _:
            return StatusUpdate(None, progress)
