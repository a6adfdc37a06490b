"""The states of a job, and its lifecycle as a table: state × event → state."""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType
from typing import Final

from mvsep_async.models.stage import Stage

__all__ = [
    "AT_SERVICE",
    "BEFORE_SERVICE",
    "HOLDS_SLOT",
    "OVER",
    "TRANSITIONS",
    "IllegalEventError",
    "JobEvent",
    "JobState",
    "next_state",
    "stage_of",
]


class JobState(StrEnum):
    """The state of a job in the engine and the journal: finer than `Stage` around the create."""

    QUEUED = "queued"
    UPLOADING = "uploading"
    """The song is sent ahead, without a slot and without its last bytes: the service does not have the job."""
    CREATING = "creating"
    """The job has a slot and its intent is recorded; a create is, or may be, in flight."""
    LOST = "lost"
    """A create may have been accepted but its response was lost; the service's lists are searched for the job."""
    FETCHING = "fetching"
    WAITING = "waiting"
    DISTRIBUTING = "distributing"
    PROCESSING = "processing"
    MERGING = "merging"
    DONE = "done"
    DOWNLOADING = "downloading"
    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"


class JobEvent(StrEnum):
    """An event in the life of a job."""

    UPLOAD_BEGAN = "upload started ahead"
    """The body is sent except for its last bytes, which follow when the job has a slot."""
    SLOT_TAKEN = "slot acquired"
    NOT_ACCEPTED = "not accepted by the service"
    """Refused for lack of a slot, not sent completely, or not in the service's lists: the job is queued again."""
    ACCEPTED = "accepted by the service"
    URL_ACCEPTED = "URL accepted by the service"
    OUTCOME_UNKNOWN = "outcome of the create unknown"
    FOUND = "found in the service's lists"
    FETCHED = "URL fetched by the service"
    STATUS_WAITING = "status waiting"
    STATUS_DISTRIBUTING = "status distributing"
    STATUS_PROCESSING = "status processing"
    STATUS_MERGING = "status merging"
    STATUS_DONE = "status done"
    DOWNLOAD_BEGAN = "download started"
    DOWNLOAD_STOPPED = "download stopped early"
    DOWNLOADED = "stems on disk"
    FAILED = "failed"
    CANCELLED = "cancelled"


class IllegalEventError(RuntimeError):
    """An event that is not allowed in the job's state: a bug of this package."""

    def __init__(self, job: str, state: JobState, event: JobEvent) -> None:
        super().__init__(f"job {job}: event {event.name} is not allowed in state {state.name}")


_WORKING: Final = (JobState.WAITING, JobState.DISTRIBUTING, JobState.PROCESSING, JobState.MERGING)
_STATE_OF_STATUS: Final = {
    JobEvent.STATUS_WAITING: JobState.WAITING,
    JobEvent.STATUS_DISTRIBUTING: JobState.DISTRIBUTING,
    JobEvent.STATUS_PROCESSING: JobState.PROCESSING,
    JobEvent.STATUS_MERGING: JobState.MERGING,
    JobEvent.STATUS_DONE: JobState.DONE,
}

OVER: Final = frozenset({JobState.FINISHED, JobState.FAILED, JobState.CANCELLED})
"""Final states. `DONE` is not among them, since a download may follow."""

BEFORE_SERVICE: Final = frozenset({JobState.QUEUED, JobState.UPLOADING, JobState.CREATING, JobState.LOST})
"""States in which the song may have to be sent, for the first time or again."""

AT_SERVICE: Final = frozenset({JobState.FETCHING, *_WORKING})
"""States in which the service has the job and it is unfinished."""

HOLDS_SLOT: Final = frozenset({JobState.CREATING, JobState.LOST, *AT_SERVICE})
"""States in which a job uses one of the account's slots, or may use one."""

TRANSITIONS: Final = MappingProxyType(
    {
        (JobState.QUEUED, JobEvent.SLOT_TAKEN): JobState.CREATING,
        (JobState.QUEUED, JobEvent.UPLOAD_BEGAN): JobState.UPLOADING,
        (JobState.UPLOADING, JobEvent.SLOT_TAKEN): JobState.CREATING,
        (JobState.UPLOADING, JobEvent.NOT_ACCEPTED): JobState.QUEUED,
        (JobState.CREATING, JobEvent.NOT_ACCEPTED): JobState.QUEUED,
        (JobState.CREATING, JobEvent.ACCEPTED): JobState.WAITING,
        (JobState.CREATING, JobEvent.URL_ACCEPTED): JobState.FETCHING,
        (JobState.CREATING, JobEvent.OUTCOME_UNKNOWN): JobState.LOST,
        (JobState.LOST, JobEvent.FOUND): JobState.WAITING,
        (JobState.LOST, JobEvent.NOT_ACCEPTED): JobState.QUEUED,
        (JobState.FETCHING, JobEvent.FETCHED): JobState.WAITING,
        # The service may return a job to an earlier stage, for example when it loses a GPU.
        **{(state, event): new_state for state in _WORKING for event, new_state in _STATE_OF_STATUS.items()},
        (JobState.DONE, JobEvent.DOWNLOAD_BEGAN): JobState.DOWNLOADING,
        (JobState.FINISHED, JobEvent.DOWNLOAD_BEGAN): JobState.DOWNLOADING,
        # After a failed download: the stems are still at the service, and paid for.
        (JobState.FAILED, JobEvent.DOWNLOAD_BEGAN): JobState.DOWNLOADING,
        (JobState.DOWNLOADING, JobEvent.DOWNLOADED): JobState.FINISHED,
        (JobState.DOWNLOADING, JobEvent.DOWNLOAD_STOPPED): JobState.DONE,
        **{(state, JobEvent.FAILED): JobState.FAILED for state in JobState if state not in OVER},
        **{
            (state, JobEvent.CANCELLED): JobState.CANCELLED
            for state in (JobState.QUEUED, JobState.UPLOADING, *HOLDS_SLOT)
        },
    }
)


def next_state(job: str, state: JobState, event: JobEvent) -> JobState:
    """Return the state after `event`; raises `IllegalEventError` naming job, state and event."""
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise IllegalEventError(job, state, event) from None


def stage_of(state: JobState, *, creating: Stage) -> Stage:
    """Return the public stage of a state; `creating` is the stage to show during the create."""
    if state in (JobState.CREATING, JobState.LOST):
        return creating
    return Stage(state.value)
