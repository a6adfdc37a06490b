"""What one look at a job means for it: the service's status in, the event that it stands for out."""

from __future__ import annotations

from typing import Final

from attrs import frozen

from mvsep_async.errors import JobCancelledError, JobFailedError, JobNotFoundError, MVSepError
from mvsep_async.http.redaction import hide
from mvsep_async.jobs.lifecycle import Event, State
from mvsep_async.jobs.progress import Progress
from mvsep_async.models.job_status import JobKind, JobStatus
from mvsep_async.models.stage import Stage

__all__ = ["Reading", "read"]

_SAID: Final = {
    JobKind.WAITING: Event.SAID_WAITING,
    JobKind.DISTRIBUTING: Event.SAID_DISTRIBUTING,
    JobKind.PROCESSING: Event.SAID_PROCESSING,
    JobKind.MERGING: Event.SAID_MERGING,
    JobKind.DONE: Event.SAID_DONE,
}


@frozen
class Reading:
    """What a look brought: an event, or none while nothing is decided, and the numbers to show."""

    event: Event | None
    progress: Progress
    error: MVSepError | None = None


def read(job: str, status: JobStatus, state: State, *, young: bool) -> Reading:
    """Say what `status` means for a job in `state`.

    `young`: it was accepted so recently that "not found" may mean "not yet".
    """
    message = None if status.message is None else hide(status.message)
    progress = Progress(
        stage=Stage.WAITING,  # the ledger puts the stage that belongs to the state
        queue_position=status.queue_position,
        queue_length=status.queue_length,
        chunks_done=status.chunks_done,
        chunks_total=status.chunks_total,
        message=message,
    )
    match status.kind:
        case JobKind.FAILED:
            said = message or "the service gives no reason"
            return Reading(
                Event.FAILED, progress, JobFailedError(f"the separation failed: {said}", job=job, hash=status.hash)
            )
        case JobKind.CANCELLED:
            error = JobCancelledError("the job was cancelled at the service", job=job, hash=status.hash)
            return Reading(Event.CANCELLED, progress, error)
        case JobKind.NOT_FOUND if young:
            return Reading(None, progress)
        case JobKind.NOT_FOUND:
            return Reading(
                Event.FAILED,
                progress,
                JobNotFoundError(
                    f"the service has no job {status.hash}: it was deleted, has expired, or never existed",
                    job=job,
                    hash=status.hash,
                ),
            )
        case JobKind.DONE if state is State.FETCHING:
            return Reading(Event.FETCHED, progress)
        case kind if state is not State.FETCHING and kind in _SAID:
            return Reading(_SAID[kind], progress)
        case _:
            return Reading(None, progress)
