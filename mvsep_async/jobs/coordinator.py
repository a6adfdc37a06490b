"""The protocol of a coordinator: what the clients of one account share, and the implementation for a single client.

A client of its own has all slots and requests of its account. Clients with a shared journal divide them: each asks the
coordinator before it takes a slot, sends a request or finishes a create.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Protocol

from attrs import define, frozen

from mvsep_async.http.gate import Allowance
from mvsep_async.jobs.entry import JobEntry
from mvsep_async.jobs.journal import Journal, Record
from mvsep_async.jobs.progress import Progress

__all__ = ["NOT_SHARED", "Coordinator", "Engine", "JobView", "LocalCoordinator"]

NOT_SHARED: Mapping[str, str | None] = {}
"""The slots of other clients where there are none."""


@frozen
class JobView:
    """A job of another client, as the shared journal holds it. `progress`: its last one, `None` if it is not known."""

    record: Record
    progress: Progress | None = None
    cancelling: bool = False
    """Whether its cancellation was requested and is not decided yet."""
    machine: str | None = None
    """Where the paths of the job are valid; `None` for everywhere."""


class Engine(Protocol):
    """What a coordinator calls in its client."""

    def slots_changed(self) -> None:
        """React to a slot that may have come free."""
        ...

    def take_over(self, view: JobView) -> None:
        """Continue a job whose client has ended, in the state that the journal holds."""
        ...

    def give_up(self, job: str) -> None:
        """Stop working on a job, which another client has taken over."""
        ...

    def cancel_requested(self, job: str) -> None:
        """Cancel a job of this client for another one."""
        ...

    def found(self, job: str, *, hash: str | None, remote: str | None, host: str | None) -> None:
        """Record the answer to a job's create, which its former client has received after the job was taken over."""
        ...

    def show(self, view: JobView) -> None:
        """Publish what another client has written of a followed job."""
        ...

    def vanished(self, job: str) -> None:
        """Fail a followed job that another client has pruned."""
        ...

    def own_job(self, job: str) -> JobEntry | None:
        """Return a job of this client."""
        ...

    def own_jobs(self) -> Sequence[JobEntry]:
        """Return the unfinished jobs of this client."""
        ...


class Coordinator(Protocol):
    """Divides the slots, the requests and the jobs of one account among its clients."""

    @property
    def journal(self) -> Journal:
        """The journal of the client's jobs."""
        ...

    @property
    def shared(self) -> bool:
        """Whether other clients may use the same journal."""
        ...

    @property
    def allowance(self) -> Allowance | None:
        """The requests that this client may send; `None` if it need not share them."""
        ...

    @property
    def slots_elsewhere(self) -> Mapping[str, str | None]:
        """The jobs of other clients that hold a slot: id → hash."""
        ...

    @property
    def problem(self) -> str | None:
        """Why no slot can be granted at the moment; `None` if nothing is wrong."""
        ...

    def connect(self, engine: Engine) -> None:
        """Set the client's engine; it is called before `run`."""
        ...

    async def run(self) -> None:
        """Do what the coordinator does by itself, until cancelled."""
        ...

    def wall(self) -> float:
        """Return the Unix time of the clock that all clients of the account share."""
        ...

    async def claim(self, candidate: JobEntry, *, limit: int, group_cap: int | None) -> str | None:
        """Take a slot for the next job of this client, and return its id: usually that of `candidate`, its first one.

        `limit`: most jobs of all clients that may hold a slot. `None` if no slot is free or it is the turn of another
        client; `Engine.slots_changed` is called when that may have changed.
        """
        ...

    async def unclaim(self, job: str) -> None:
        """Return a slot that was taken for a job whose create is not begun after all."""
        ...

    async def admit(self, job: JobEntry) -> JobView | None:
        """Write a new job to the journal. Returns the job that has its key or its song already, if there is one."""
        ...

    async def find(
        self,
        *,
        id: str | None = None,
        hash: str | None = None,
        key: str | None = None,
        fingerprint: str | None = None,
        content: str | None = None,
    ) -> JobView | None:
        """Return the job of another client with this id, hash, key or fingerprint."""
        ...

    async def confirm(self, job: str, *, patient: bool = False) -> None:
        """Return if the job is certainly this client's, so that it may be paid, cancelled, or its files be replaced.

        Raises `JournalError` if it is another client's, and while the shared journal is out of reach; with `patient`,
        it waits for the journal instead.
        """
        ...

    async def acquire(self, job: str) -> bool:
        """Make a finished job of another client this client's, to download it; return whether that was possible."""
        ...

    async def request_cancel(self, job: str) -> None:
        """Ask the client that has the job to cancel it."""
        ...

    async def cancel_refused(self, job: str) -> None:
        """Report that a job could not be cancelled."""
        ...

    def keep_updated(self, job: JobEntry) -> None:
        """Keep a job of another client up to date for as long as it is referenced."""
        ...


@define(eq=False)
class LocalCoordinator:
    """The coordinator of a client that shares nothing: every claim is granted."""

    journal: Journal
    durable: bool
    """Whether the journal is on disk, so that a submit waits for it."""
    shared: bool = False
    allowance: Allowance | None = None
    slots_elsewhere: Mapping[str, str | None] = NOT_SHARED
    problem: str | None = None

    def connect(self, engine: Engine) -> None:
        return

    async def run(self) -> None:
        await self.journal.run()

    def wall(self) -> float:
        return time.time()

    async def claim(self, candidate: JobEntry, *, limit: int, group_cap: int | None) -> str | None:
        return candidate.id

    async def unclaim(self, job: str) -> None:
        return

    async def admit(self, job: JobEntry) -> JobView | None:
        if self.durable:
            await self.journal.flush()
        return None

    async def find(
        self,
        *,
        id: str | None = None,
        hash: str | None = None,
        key: str | None = None,
        fingerprint: str | None = None,
        content: str | None = None,
    ) -> JobView | None:
        return None

    async def confirm(self, job: str, *, patient: bool = False) -> None:
        return

    async def acquire(self, job: str) -> bool:
        return False

    async def request_cancel(self, job: str) -> None:
        return

    async def cancel_refused(self, job: str) -> None:
        return

    def keep_updated(self, job: JobEntry) -> None:
        return
