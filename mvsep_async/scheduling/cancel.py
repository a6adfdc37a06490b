"""Taking back a job, wherever it is."""

from __future__ import annotations

import anyio

from mvsep_async.endpoints.separations import SeparationsAPI
from mvsep_async.errors import InvalidRequestError, JobCancelledError, JobNotFoundError
from mvsep_async.http.call import Priority
from mvsep_async.jobs.job import Job
from mvsep_async.jobs.lifecycle import AT_SERVICE, JobEvent, JobState
from mvsep_async.jobs.registry import JobRegistry
from mvsep_async.models.job_status import JobKind
from mvsep_async.polling.poller import Poller

__all__ = ["cancel_at_service", "cancelled", "left"]

_GONE = (JobKind.CANCELLED, JobKind.NOT_FOUND)


def cancelled(job: Job, registry: JobRegistry, where: str) -> None:
    """Note that a job is cancelled."""
    error = JobCancelledError(f"job {job.id} was cancelled {where}", job=job.id, hash=job.hash)
    registry.apply(job, JobEvent.CANCELLED, error=error)


async def cancel_at_service(job: Job, separations: SeparationsAPI, poller: Poller) -> bool:
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
            kind = (await poller.ask(job, Priority.CANCEL)).kind
            if kind is JobKind.NOT_FOUND and poller.is_young(job):
                await anyio.sleep(poller.policy.poll_interval)
                continue
            if kind not in _GONE and poller.is_young(job) and not found_late:
                found_late = True
                continue
            if kind not in _GONE:
                poller.poll_soon(job)
                return False
        return True
    return False


async def left(job: Job, state: JobState) -> None:
    """Wait until `job` is no longer in `state`."""
    subscription = job.subscribe()
    while job.state is state:
        if await subscription.receive() is None:
            raise job.closed_error()
