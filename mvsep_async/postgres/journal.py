"""The journal of one process in a shared PostgreSQL database."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import anyio
from attrs import define, field

from mvsep_async.errors import MVSepError
from mvsep_async.jobs.facts import Facts
from mvsep_async.jobs.lifecycle import HOLDS_SLOT, JobState
from mvsep_async.jobs.request import JobRequest
from mvsep_async.journal.buffer import BufferedJournal
from mvsep_async.journal.changes import PendingChanges, Value
from mvsep_async.postgres.connection import Transactions
from mvsep_async.postgres.rows import error_text, machine_of, turn_group
from mvsep_async.postgres.store import Store

__all__ = ["PostgresJournal"]

_MOST: Final = 1000
"""Changes in one transaction, which take about 0.2 s: other transactions are waiting, and have a time limit."""


@define(eq=False)
class PostgresJournal(BufferedJournal):
    """Records the jobs of this process; the other processes' jobs stay in the database.

    A change that frees a slot is written at once. `on_elsewhere(jobs)` is called with jobs that turn out to belong to
    another process.
    """

    database: Transactions
    store: Store
    shared_files: bool
    on_elsewhere: Callable[[Sequence[str]], None]
    conflicts: dict[str, str] = field(factory=dict)
    """New jobs that were not added → the jobs that have their key or song already."""
    _machines: dict[str, tuple[str, str | None]] = field(factory=dict)
    """The turn group and the machine of each job that is not added yet."""
    _released: dict[str, Value] = field(factory=dict)
    """Jobs to release → their temporary errors."""
    _holding: set[str] = field(factory=set)
    _recorded: int = 0
    """How many changes were recorded."""
    _written: int = 0
    """How many of them are in the database."""
    _writing: anyio.Lock = field(factory=anyio.Lock)

    def add(self, request: JobRequest) -> None:
        """Add a queued job. Raises `JournalError` for a request that cannot be stored."""
        super().add(request)
        machine = machine_of(request, self.store.me.machine, shared_files=self.shared_files)
        self._machines[request.id] = turn_group(request.group), machine

    def update(self, job: str, state: JobState, facts: Facts) -> None:
        """Change the state and facts of a job."""
        super().update(job, state, facts)
        if state in HOLDS_SLOT:
            self._holding.add(job)
        elif job in self._holding:
            self._holding.discard(job)
            self._urgent.set()

    def restore(self, job: str, state: JobState, facts: Facts) -> None:
        """Write the state of a job again, since the database has a later one: it was granted a slot in vain."""
        self.update(job, state, facts)
        self._urgent.set()

    def forget(self, requests: Sequence[JobRequest]) -> None:
        """Remove the jobs of these requests."""
        super().forget(requests)
        for request in requests:
            self._released.pop(request.id, None)

    def release(self, job: str, error: MVSepError) -> None:
        """Release a job after a temporary error."""
        self._released[job] = error_text(error)
        self._holding.discard(job)
        self._record()
        self._urgent.set()

    def is_new(self, job: str) -> bool:
        """Tell whether a job is not added yet."""
        return job in self._machines

    def drop(self, job: str) -> None:
        """Discard unwritten changes of a job that belongs to another process."""
        self._pending.amended.pop(job, None)
        self._pending.changed.pop(job, None)
        self._released.pop(job, None)
        self._holding.discard(job)

    async def flush(self, *, synced: bool = False) -> None:
        """Wait until all changes so far are committed. Raises `JournalError` if the database cannot be reached."""
        wanted = self._recorded
        async with self._writing:
            if self._written >= wanted:
                return  # by the task that had the lock before; later changes are not waited for
            changes, self._pending, recorded = self._pending, PendingChanges(), self._recorded
            elsewhere: list[str] = []
            try:
                while changes:
                    elsewhere += await self._write(changes)
                if self._released:
                    await self._write_released()
                self._written = recorded
            finally:
                if elsewhere:  # also if a later part could not be written: these jobs are not written again
                    self.on_elsewhere(elsewhere)

    async def _write(self, changes: PendingChanges) -> list[str]:
        """Write a part of the changes, and return the jobs that belong to another process."""
        part = changes.take(_MOST)
        machines = {job: self._machines[job] for job in part.added}
        try:
            written = await self.database.run(lambda connection: self.store.jobs.write(connection, part, machines))
        except BaseException:
            part.merge(changes)
            part.merge(self._pending)
            self._pending = part
            raise
        for job in part.added:
            self._machines.pop(job, None)
        self.conflicts |= written.conflicts
        return written.elsewhere

    async def _write_released(self) -> None:
        released, self._released = self._released, {}
        try:
            await self.database.run(lambda connection: self.store.jobs.release(connection, released))
        except BaseException:
            self._released = released | self._released
            raise

    def _record(self) -> None:
        super()._record()
        self._recorded += 1
