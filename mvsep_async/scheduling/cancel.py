"""Cancelling a job at any stage."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio

from mvsep_async.endpoints.separations import SeparationsAPI
from mvsep_async.errors import InvalidRequestError, JobCancelledError, JobNotFoundError
from mvsep_async.http.call import Priority
from mvsep_async.jobs.entry import JobEntry
from mvsep_async.jobs.lifecycle import AT_SERVICE, JobEvent, JobState
from mvsep_async.jobs.registry import JobRegistry
from mvsep_async.models.job_status import JobKind
from mvsep_async.polling.poller import Poller

__all__ = ["cancel_at_service", "mark_cancelled", "wait_for_change"]

_GONE = (JobKind.CANCELLED, JobKind.NOT_FOUND)


def mark_cancelled(job: JobEntry, registry: JobRegistry, where: str) -> None:
    """Apply `CANCELLED` to a job, with an error that says where it was cancelled."""
    error = JobCancelledError(f"job {job.id} was cancelled {where}", job=job.id, hash=job.hash)
    registry.apply(job, JobEvent.CANCELLED, error=error)


async def cancel_at_service(
    job: JobEntry,
    separations: SeparationsAPI,
    poller: Poller,
    confirm: Callable[[], Awaitable[None]] | None = None,
) -> bool:
    """Cancel a job at the service; return whether the service does not have it any longer.

    A refusal is ambiguous: the job may be over, in a stage that cannot be stopped, cancelled by an earlier call whose
    response was lost, or so young that the service does not find it yet. So the job's status is polled. While a young
    job is not found, the cancel is repeated, and once more when it is found. `confirm()` is awaited just before each
    cancel is sent, and may raise to prevent it. Raises what `separations` and `confirm` raise.
    """
    found_late = False
    with poller.cancelling(job):
        while job.state in AT_SERVICE:
            facts, young = job.facts, poller.is_young(job)
            try:
                await separations.cancel(facts.hash or facts.remote or "", host=facts.host, before_last=confirm)
            except (InvalidRequestError, JobNotFoundError):
                kind = (await poller.ask(job, Priority.CANCEL)).kind
                if kind is JobKind.NOT_FOUND and poller.is_young(job):
                    await anyio.sleep(poller.policy.poll_interval)
                    continue
                if kind not in _GONE and young and not found_late:
                    found_late = True
                    continue
                if kind not in _GONE:
                    poller.poll_soon(job)
                    return False
            return True
    return False


async def wait_for_change(job: JobEntry, state: JobState) -> None:
    """Wait until a job leaves `state`. Raises `ClientClosedError` if the client is closed first."""
    subscription = job.subscribe()
    while job.state is state:
        if await subscription.receive() is None:
            raise job.closed_error()
