"""Cancel a job at any stage, and delete a finished one at the service."""

from __future__ import annotations

import logging
from functools import partial
from typing import Final

import anyio
from attrs import define

from mvsep_async.endpoints.separations import SeparationsAPI
from mvsep_async.errors import InvalidRequestError, JobNotFoundError, JournalError, MVSepError
from mvsep_async.http.call import Priority
from mvsep_async.jobs.coordinator import Coordinator
from mvsep_async.jobs.entry import JobEntry
from mvsep_async.jobs.lifecycle import AT_SERVICE, OVER, JobState
from mvsep_async.jobs.registry import JobRegistry
from mvsep_async.models.job_status import JobKind
from mvsep_async.polling.poller import Poller
from mvsep_async.scheduling.dispatcher import Dispatcher

__all__ = ["Canceller"]

logger = logging.getLogger("mvsep_async")

_GONE: Final = (JobKind.CANCELLED, JobKind.NOT_FOUND)

_REFUSAL_CHECK: Final = 1.0
"""Seconds between two queries whether another client refused to cancel a job."""


@define(eq=False)
class Canceller:
    """Cancels jobs where they are: in the local queue, during the create, at the service, or at another client."""

    registry: JobRegistry
    coordinator: Coordinator
    dispatcher: Dispatcher
    poller: Poller
    separations: SeparationsAPI

    async def cancel(self, job: JobEntry) -> bool:
        """Cancel a job at any stage; see `Job.cancel`."""
        was_over = job.state in OVER
        self.dispatcher.cancelling.add(job.id)
        try:
            while not self.registry.is_elsewhere(job):
                match job.state:
                    case JobState.QUEUED:
                        self.dispatcher.remove(job)
                        self.registry.cancel(job, "before it was sent")
                    case JobState.UPLOADING | JobState.CREATING | JobState.LOST:
                        self.dispatcher.launcher.cancel(job)
                        await _wait_for_change(job, job.state)
                    case state if state in AT_SERVICE:
                        try:
                            gone = await self._cancel_at_service(job)
                        except JournalError:
                            if self.registry.is_elsewhere(job):
                                continue
                            raise
                        if self.registry.is_elsewhere(job):
                            continue  # its new client reports whether it is cancelled
                        if gone and job.state in AT_SERVICE:
                            self.registry.cancel(job, "at the service")
                        if job.state is not JobState.CANCELLED:
                            return False
                    case JobState.CANCELLED:
                        # After a crash before this is on disk, the job would be resumed and paid for.
                        await self.registry.journal.flush()
                        return not was_over
                    case _:
                        return False
        finally:
            self.dispatcher.cancelling.discard(job.id)
        # It belongs to another client, which may have taken it over in the meantime.
        return await self._cancel_elsewhere(job)

    async def delete(self, job: JobEntry) -> bool:
        """Delete a finished job at the service; see `Job.delete`."""
        if job.facts.separation is None and job.state not in OVER:
            raise InvalidRequestError(
                f"job {job.id} is not over ({job.stage.value}): cancel it, or wait for it", job=job.id, hash=job.hash
            )
        if job.facts.hash is None:
            return False  # the service does not have it, or failed to fetch its URL
        try:
            await self.separations.delete(job.facts.hash, host=job.facts.host)
        except JobNotFoundError:
            return False
        return True

    async def cancel_for_other(self, job: JobEntry) -> None:
        """Cancel a job on the request of another client, and report a failure to it."""
        try:
            cancelled = await self.cancel(job)
        except MVSepError as error:
            logger.info("job %s could not be cancelled for another client: %s", job.id, error)
            cancelled = job.state is JobState.CANCELLED  # and not in the journal yet
        if not cancelled:
            try:
                await self.coordinator.cancel_refused(job.id)
            except JournalError as error:
                logger.info("the other client is not told yet that job %s could not be cancelled: %s", job.id, error)

    async def _cancel_elsewhere(self, job: JobEntry) -> bool:
        """Ask the client that has a job to cancel it, and wait until the result is known here too.

        If that client has ended, the one that takes the job over cancels it.
        """
        if job.done():
            return False
        await self.coordinator.request_cancel(job.id)
        subscription = job.subscribe()
        while not job.done():
            # A refusal changes no progress, so it is also looked for from time to time.
            with anyio.move_on_after(_REFUSAL_CHECK):
                if await subscription.receive() is None:
                    raise job.closed_error()
            view = await self.coordinator.find("id", job.id)
            if view is None:
                return False
            if not view.cancelling and view.record.state is not JobState.CANCELLED:
                return False
        return job.state is JobState.CANCELLED

    async def _cancel_at_service(self, job: JobEntry) -> bool:
        """Cancel a job at the service; return whether the service does not have it any longer.

        A refusal is ambiguous: the job may be over, in a stage that cannot be stopped, cancelled by an earlier call
        whose response was lost, or so young that the service does not find it yet. So the job's status is polled. While
        a young job is not found, the cancel is repeated, and once more when it is found.
        """
        poller, found_late = self.poller, False
        confirm = partial(self.coordinator.confirm, job.id) if self.coordinator.shared else None
        with poller.cancelling(job):
            while job.state in AT_SERVICE:
                young = poller.is_young(job)
                try:
                    await self.separations.cancel(job.hash or "", host=job.facts.host, before_last=confirm)
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


async def _wait_for_change(job: JobEntry, state: JobState) -> None:
    """Wait until a job leaves `state`. Raises `ClientClosedError` if the client is closed first."""
    subscription = job.subscribe()
    while job.state is state:
        if await subscription.receive() is None:
            raise job.closed_error()
