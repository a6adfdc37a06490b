"""A job's life as a table: state × event → state. The handle, the journal's replay and the drawing come from it."""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType
from typing import Final

from mvsep_async.models.stage import Stage

__all__ = ["AT_SERVICE", "HOLDS_SLOT", "LIFE", "OVER", "IllegalEventError", "JobEvent", "JobState", "after", "stage_of"]


class JobState(StrEnum):
    """Where a job stands, as the scheduler and the journal know it: finer than `Stage` around the create."""

    QUEUED = "queued"
    CREATING = "creating"
    """The intent is recorded; a create is, or may be, on its way."""
    LOST = "lost"
    """A create may have been accepted, its answer did not arrive; the service's lists are searched for it."""
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
    """What can happen to a job."""

    SLOT_TAKEN = "a slot was taken for it"
    NOT_ACCEPTED = "the service certainly has not got it"
    """Refused for want of a slot, never sent whole, or searched for in vain: it waits for a slot again."""
    ACCEPTED = "the service accepted it"
    URL_ACCEPTED = "the service accepted its URL"
    ANSWER_LOST = "the answer to its create was lost"
    FOUND = "it was found in the service's lists"
    FETCHED = "the service has fetched its URL"
    SAID_WAITING = "the service says it waits"
    SAID_DISTRIBUTING = "the service says it is being split"
    SAID_PROCESSING = "the service says it is being processed"
    SAID_MERGING = "the service says it is being merged"
    SAID_DONE = "the service says it is done"
    DOWNLOAD_BEGAN = "its stems are being fetched"
    DOWNLOAD_STOPPED = "fetching its stems stopped early"
    DOWNLOADED = "its stems are on disk"
    FAILED = "it failed"
    CANCELLED = "it was cancelled"


class IllegalEventError(RuntimeError):
    """A job was told something that cannot happen in its state: a fault of this package, never of the service."""

    def __init__(self, job: str, state: JobState, event: JobEvent) -> None:
        super().__init__(f"job {job} is {state.value}: it cannot be that {event.value}")


_WORKING: Final = (JobState.WAITING, JobState.DISTRIBUTING, JobState.PROCESSING, JobState.MERGING)
_SAID: Final = {
    JobEvent.SAID_WAITING: JobState.WAITING,
    JobEvent.SAID_DISTRIBUTING: JobState.DISTRIBUTING,
    JobEvent.SAID_PROCESSING: JobState.PROCESSING,
    JobEvent.SAID_MERGING: JobState.MERGING,
    JobEvent.SAID_DONE: JobState.DONE,
}

OVER: Final = frozenset({JobState.FINISHED, JobState.FAILED, JobState.CANCELLED})
"""Nothing more happens by itself. `DONE` is not among them: a download may follow."""

AT_SERVICE: Final = frozenset({JobState.FETCHING, *_WORKING})
"""The service has the job, and it is not over there."""

HOLDS_SLOT: Final = frozenset({JobState.CREATING, JobState.LOST, *AT_SERVICE})
"""The account may have one unfinished job more because of it."""

LIFE: Final = MappingProxyType(
    {
        (JobState.QUEUED, JobEvent.SLOT_TAKEN): JobState.CREATING,
        (JobState.CREATING, JobEvent.NOT_ACCEPTED): JobState.QUEUED,
        (JobState.CREATING, JobEvent.ACCEPTED): JobState.WAITING,
        (JobState.CREATING, JobEvent.URL_ACCEPTED): JobState.FETCHING,
        (JobState.CREATING, JobEvent.ANSWER_LOST): JobState.LOST,
        (JobState.LOST, JobEvent.FOUND): JobState.WAITING,
        (JobState.LOST, JobEvent.NOT_ACCEPTED): JobState.QUEUED,
        (JobState.FETCHING, JobEvent.FETCHED): JobState.WAITING,
        # A job may be put back by the service (a GPU was lost), so any working status follows any other.
        **{(state, event): state_after for state in _WORKING for event, state_after in _SAID.items()},
        (JobState.DONE, JobEvent.DOWNLOAD_BEGAN): JobState.DOWNLOADING,
        (JobState.FINISHED, JobEvent.DOWNLOAD_BEGAN): JobState.DOWNLOADING,
        # Of a job that failed at its download alone: the stems are still there, and paid.
        (JobState.FAILED, JobEvent.DOWNLOAD_BEGAN): JobState.DOWNLOADING,
        (JobState.DOWNLOADING, JobEvent.DOWNLOADED): JobState.FINISHED,
        (JobState.DOWNLOADING, JobEvent.DOWNLOAD_STOPPED): JobState.DONE,
        **{(state, JobEvent.FAILED): JobState.FAILED for state in JobState if state not in OVER},
        **{(state, JobEvent.CANCELLED): JobState.CANCELLED for state in (JobState.QUEUED, *HOLDS_SLOT)},
    }
)


def after(job: str, state: JobState, event: JobEvent) -> JobState:
    """Return the state after `event`; raises `IllegalEventError` naming job, state and event."""
    try:
        return LIFE[state, event]
    except KeyError:
        raise IllegalEventError(job, state, event) from None


def stage_of(state: JobState, *, creating: Stage) -> Stage:
    """Return what the owner of a job is shown; `creating` is what its create looks like from outside."""
    if state in (JobState.CREATING, JobState.LOST):
        return creating
    return Stage(state.value)
