"""Taking back a job, wherever it is."""

from __future__ import annotations

import anyio

from mvsep_async.endpoints.separations import SeparationsAPI
from mvsep_async.errors import InvalidRequestError, JobCancelledError, JobNotFoundError
from mvsep_async.http.call import Priority
from mvsep_async.jobs.job import Job
from mvsep_async.jobs.lifecycle import AT_SERVICE, Event, State
from mvsep_async.jobs.registry import Ledger
from mvsep_async.models.job_status import JobKind
from mvsep_async.polling.poller import Watcher

__all__ = ["cancelled", "left", "withdraw"]

_GONE = (JobKind.CANCELLED, JobKind.NOT_FOUND)


def cancelled(job: Job, ledger: Ledger, where: str) -> None:
    """Note that a job is cancelled."""
    error = JobCancelledError(f"job {job.id} was cancelled {where}", job=job.id, hash=job.hash)
    ledger.apply(job, Event.CANCELLED, error=error)


async def withdraw(job: Job, separations: SeparationsAPI, watcher: Watcher) -> bool:
    """Cancel `job` at the service; return whether it has none of it any more.

    A refusal says little: the job may be over, or too far to be stopped, or cancelled by an earlier call whose answer
    was lost, or so young that the service does not find it yet. So the job itself is looked at then, and as long as a
    young one is not found, it is tried again, and once more when it is found at last. What `separations` raises
    otherwise passes.
    """
    found_late = False
    while job.state in AT_SERVICE:
        facts = job.facts
        try:
            await separations.cancel(facts.hash or facts.remote or "", host=facts.host)
        except (InvalidRequestError, JobNotFoundError):
            kind = (await watcher.ask(job, Priority.CANCEL)).kind
            if kind is JobKind.NOT_FOUND and watcher.is_young(job):
                await anyio.sleep(watcher.lookout.poll_interval)
                continue
            if kind not in _GONE and watcher.is_young(job) and not found_late:
                found_late = True
                continue
            if kind not in _GONE:
                watcher.hasten(job)
                return False
        return True
    return False


async def left(job: Job, state: State) -> None:
    """Wait until `job` is no longer in `state`."""
    box = job.look_on()
    while job.state is state:
        if await box.take() is None:
            raise job.closed_error()
