"""Take over the jobs of processes that have ended, and hand back those whose files are on another machine."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from attrs import define, field

from mvsep_async.concurrency import Yielder
from mvsep_async.errors import JournalError
from mvsep_async.jobs.coordinator import CoordinatedClient
from mvsep_async.jobs.entry import JobEntry
from mvsep_async.jobs.lifecycle import JobState
from mvsep_async.postgres.connection import Connection, Transactions
from mvsep_async.postgres.journal import PostgresJournal
from mvsep_async.postgres.rows import ViewReader
from mvsep_async.postgres.store import Store

__all__ = ["Takeover"]

logger = logging.getLogger("mvsep_async")


@define(eq=False)
class Takeover:
    """Moves jobs to this process and away from it."""

    _database: Transactions
    _store: Store
    _journal: PostgresJournal
    _reader: ViewReader
    _unsure: bool = False
    """Whether jobs may have been taken over by a transaction whose outcome is not known."""
    _unreadable: set[str] = field(factory=set)
    """Jobs taken over whose files are on another machine."""

    async def run(self, client: CoordinatedClient) -> None:
        """Take over all jobs that this process can continue, and hand back those that it cannot."""
        await self._take_over(client)
        await self._hand_back(client)

    def can_continue(self, job: JobEntry) -> bool:
        """Tell whether the files that the next step of a job needs may be on this machine."""
        return job.id not in self._unreadable or not _needs_its_machine(job)

    def give_up(self, jobs: Sequence[str], client: CoordinatedClient) -> None:
        """Stop working on jobs that belong to another process."""
        for job in jobs:
            self._journal.drop(job)
            self._unreadable.discard(job)
            client.give_up(job)

    async def _take_over(self, client: CoordinatedClient) -> None:
        yielder = Yielder()

        async def take(connection: Connection) -> list[tuple[Any, ...]]:
            unsure, self._unsure = self._unsure, True
            unknown = await self._store.processes.own(connection) if unsure else ()
            missing = [job for job in unknown if client.own_job(job) is None]
            return await self._store.processes.take_over(connection, also=missing)

        if self._unsure:
            await self._journal.flush()  # so that no job is there that was forgotten
        while rows := await self._database.run(take):
            self._unsure = False
            logger.info("taking over %d jobs of processes that have ended", len(rows))
            for row in rows:
                try:
                    view = self._reader.view(row)
                except JournalError as error:
                    logger.error("a job of the shared journal cannot be taken over: %s", error)
                    continue
                id = view.record.request.id
                if client.own_job(id) is not None:
                    self.give_up([id], client)  # to the process that has ended, while this one was suspended
                if view.machine not in (None, self._store.me.machine):
                    self._unreadable.add(id)
                client.take_over(view)
                await yielder.maybe_yield()
        self._unsure = False

    async def _hand_back(self, client: CoordinatedClient) -> None:
        """Release jobs that need files of another machine, for a process there."""
        jobs = [
            job for job in self._unreadable if (entry := client.own_job(job)) is not None and _needs_its_machine(entry)
        ]
        if jobs:
            await self._journal.flush()
            await self._database.run(lambda connection: self._store.processes.hand_back(connection, jobs))
            self.give_up(jobs, client)


def _needs_its_machine(job: JobEntry) -> bool:
    """Tell whether a job can continue only on the machine that has its song or its target."""
    if job.state is JobState.QUEUED:
        return job.request.uploads
    return job.state is JobState.DONE and job.request.target is not None
