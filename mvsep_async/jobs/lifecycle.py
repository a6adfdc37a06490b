"""A job's life as a table: state × event → state. The handle, the journal's replay and the drawing come from it."""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType
from typing import Final

from mvsep_async.models.stage import Stage

__all__ = ["AT_SERVICE", "HOLDS_SLOT", "LIFE", "OVER", "Event", "ImpossibleEventError", "State", "after", "stage_of"]


class State(StrEnum):
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


class Event(StrEnum):
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


class ImpossibleEventError(RuntimeError):
    """A job was told something that cannot happen in its state: a fault of this package, never of the service."""

    def __init__(self, job: str, state: State, event: Event) -> None:
        super().__init__(f"job {job} is {state.value}: it cannot be that {event.value}")


_WORKING: Final = (State.WAITING, State.DISTRIBUTING, State.PROCESSING, State.MERGING)
_SAID: Final = {
    Event.SAID_WAITING: State.WAITING,
    Event.SAID_DISTRIBUTING: State.DISTRIBUTING,
    Event.SAID_PROCESSING: State.PROCESSING,
    Event.SAID_MERGING: State.MERGING,
    Event.SAID_DONE: State.DONE,
}

OVER: Final = frozenset({State.FINISHED, State.FAILED, State.CANCELLED})
"""Nothing more happens by itself. `DONE` is not among them: a download may follow."""

AT_SERVICE: Final = frozenset({State.FETCHING, *_WORKING})
"""The service has the job, and it is not over there."""

HOLDS_SLOT: Final = frozenset({State.CREATING, State.LOST, *AT_SERVICE})
"""The account may have one unfinished job more because of it."""

LIFE: Final = MappingProxyType(
    {
        (State.QUEUED, Event.SLOT_TAKEN): State.CREATING,
        (State.CREATING, Event.NOT_ACCEPTED): State.QUEUED,
        (State.CREATING, Event.ACCEPTED): State.WAITING,
        (State.CREATING, Event.URL_ACCEPTED): State.FETCHING,
        (State.CREATING, Event.ANSWER_LOST): State.LOST,
        (State.LOST, Event.FOUND): State.WAITING,
        (State.LOST, Event.NOT_ACCEPTED): State.QUEUED,
        (State.FETCHING, Event.FETCHED): State.WAITING,
        # A job may be put back by the service (a GPU was lost), so any working status follows any other.
        **{(state, event): state_after for state in _WORKING for event, state_after in _SAID.items()},
        (State.DONE, Event.DOWNLOAD_BEGAN): State.DOWNLOADING,
        (State.FINISHED, Event.DOWNLOAD_BEGAN): State.DOWNLOADING,
        # Of a job that failed at its download alone: the stems are still there, and paid.
        (State.FAILED, Event.DOWNLOAD_BEGAN): State.DOWNLOADING,
        (State.DOWNLOADING, Event.DOWNLOADED): State.FINISHED,
        (State.DOWNLOADING, Event.DOWNLOAD_STOPPED): State.DONE,
        **{(state, Event.FAILED): State.FAILED for state in State if state not in OVER},
        **{(state, Event.CANCELLED): State.CANCELLED for state in (State.QUEUED, *HOLDS_SLOT)},
    }
)


def after(job: str, state: State, event: Event) -> State:
    """Return the state after `event`; raises `ImpossibleEventError` naming job, state and event."""
    try:
        return LIFE[state, event]
    except KeyError:
        raise ImpossibleEventError(job, state, event) from None


def stage_of(state: State, *, creating: Stage) -> Stage:
    """Return what the owner of a job is shown; `creating` is what its create looks like from outside."""
    if state in (State.CREATING, State.LOST):
        return creating
    return Stage(state.value)
