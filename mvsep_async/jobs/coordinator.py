"""The coordinator of a client: how clients divide an account. The base class is for a single client.

A single client uses all slots and requests of its account. Clients with a shared journal divide them: each asks its
coordinator before it acquires a slot, sends a request or finishes a create.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import ClassVar, Protocol, TypeAlias

from attrs import define, frozen

from mvsep_async.http.gate import Allowance
from mvsep_async.jobs.entry import JobEntry, LookupKey
from mvsep_async.jobs.journal import Journal, Record
from mvsep_async.jobs.progress import Progress

__all__ = ["CoordinatedClient", "Coordinator", "JobView", "OpenedJournal"]


@frozen
class JobView:
    """A job of another client, as the shared journal records it. `progress`: the latest, `None` if unknown."""

    record: Record
    progress: Progress | None = None
    cancelling: bool = False
    """Whether its cancellation was requested and has not succeeded or failed yet."""
    machine: str | None = None
    """The machine on which the paths of the job are valid; `None` for all machines."""


class CoordinatedClient(Protocol):
    """The callbacks of a client for its coordinator."""

    def slots_changed(self) -> None:
        """React to a slot that may have come free."""
        ...

    def take_over(self, view: JobView) -> None:
        """Continue the job of a client that has ended, in the state that the journal records."""
        ...

    def give_up(self, job: str) -> None:
        """Stop working on a job that another client has taken over."""
        ...

    def cancel_requested(self, job: str) -> None:
        """Cancel a job of this client on the request of another client."""
        ...

    def found(self, job: str, *, hash: str | None, remote: str | None, host: str | None) -> None:
        """Record the answer to a lost create, which the job's former client received after the job was taken over."""
        ...

    def show(self, view: JobView) -> None:
        """Publish the progress that another client has written for its job."""
        ...

    def job_pruned(self, job: str) -> None:
        """Fail the handles of a job that another client has pruned."""
        ...

    def own_job(self, job: str) -> JobEntry | None:
        """Return a job of this client."""
        ...

    def is_elsewhere(self, job: str) -> bool:
        """Tell whether a job that has a handle here is another client's."""
        ...

    def own_jobs(self) -> Sequence[JobEntry]:
        """Return the unfinished jobs of this client."""
        ...


@define(eq=False)
class Coordinator:
    """Divides the slots, the requests and the jobs of one account among its clients.

    This base class is for a single client, which uses all of them: every claim is granted.
    """

    journal: Journal
    """The journal of the client's jobs."""
    shared: ClassVar[bool] = False
    """Whether other clients may use the same journal."""

    @property
    def allowance(self) -> Allowance | None:
        """The requests that this client may send; `None` if it does not share them."""
        return None

    @property
    def slots_elsewhere(self) -> Mapping[str, str | None]:
        """The jobs of other clients that hold a slot: id → hash."""
        return {}

    @property
    def problem(self) -> str | None:
        """Why no slot can be acquired at the moment; `None` if nothing is wrong."""
        return None

    def connect(self, client: CoordinatedClient) -> None:
        """Set the client whose jobs are coordinated. Call it before `run`."""

    async def run(self) -> None:
        """Do the background work of the coordinator until cancelled."""
        await self.journal.run()

    def closing(self) -> None:
        """Limit the time that further calls may take, since the client closes."""

    def wall(self) -> float:
        """Return the Unix time by the clock that all clients of the account share."""
        return time.time()

    async def claim(self, candidate: JobEntry, *, limit: int, group_cap: int | None) -> str | None:
        """Acquire a slot for the next job of this client and return the job's id, usually that of `candidate`.

        Returns `None` if no slot is free or it is the turn of another client; `slots_changed` of the client is called
        when that may have changed. `limit`: most jobs of all clients together that may hold a slot.
        """
        return candidate.id

    def unclaim(self, job: str) -> None:
        """Release a slot that was acquired for a job whose create does not begin after all."""

    async def admit(self, job: JobEntry) -> JobView | None:
        """Write a new job to the journal, or return the existing job that has its key or its song."""
        await self.journal.flush()
        return None

    async def find(self, by: LookupKey, value: str, *, patient: bool = False) -> JobView | None:
        """Return the job of another client with this name.

        Raises `JournalError` while the shared journal is out of reach. `patient`: for a submit, which waits for the
        journal, and resumes a job that was released.
        """
        return None

    async def confirm(self, job: str, *, patient: bool = False) -> None:
        """Check that a job still belongs to this client, before it is paid for or cancelled or its files are replaced.

        Raises `JournalError` if another client has the job, or if the shared journal cannot be reached; with `patient`,
        wait for the journal instead.
        """

    async def acquire(self, job: str) -> bool:
        """Move a finished job of another client to this client, to download it; return whether that was possible."""
        return False

    def release(self, job: JobEntry) -> bool:
        """Leave a job that failed temporarily to the other clients, and to later submits; `False` if there are none."""
        return False

    def can_continue(self, job: JobEntry) -> bool:
        """Tell whether this client can do the next step of a job; if its files are elsewhere, it is left to others."""
        return True

    async def request_cancel(self, job: str) -> None:
        """Ask the client that has the job to cancel it."""

    async def cancel_refused(self, job: str) -> None:
        """Report that a job could not be cancelled."""

    def keep_updated(self, job: JobEntry) -> None:
        """Publish the changes of another client's job for as long as its entry is referenced."""


OpenedJournal: TypeAlias = AbstractAsyncContextManager[tuple[Coordinator, Sequence[Record]]]
"""A journal while it is open: the coordinator of its client, and the jobs to resume."""
