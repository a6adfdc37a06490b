"""A journal whose changes are recorded in memory at once and written a little later, many together."""

from __future__ import annotations

import logging
from abc import ABC
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import anyio
from attrs import astuple, define, field

from mvsep_async.backoff import Backoff
from mvsep_async.concurrency import Wakeup
from mvsep_async.errors import JournalError
from mvsep_async.jobs.facts import Facts
from mvsep_async.jobs.journal import JobDuration, Journal
from mvsep_async.jobs.lifecycle import JobState
from mvsep_async.jobs.request import JobRequest
from mvsep_async.journal.changes import PendingChanges
from mvsep_async.journal.rows import facts_row, request_row

__all__ = ["BufferedJournal"]

logger = logging.getLogger("mvsep_async")

_LINGER: Final = 0.05
"""Seconds that a change may stay unwritten if no `flush` waits for it, so that many are written together."""

_PAUSES: Final = Backoff(first=0.5, longest=5.0)
"""Seconds between two attempts to write to a full disk, or to a database that cannot be reached."""


@define(eq=False)
class BufferedJournal(Journal, ABC):
    """What the journals in SQLite and in PostgreSQL have in common: `flush`, which they implement, does the writing.

    While changes cannot be written, `flush` raises `JournalError`; they are kept in memory and written later, by the
    next `flush` or by `run`, which logs a warning and continues, since jobs at the service still have to be polled.
    """

    spool: Path
    durations: Sequence[JobDuration]
    _pending: PendingChanges = field(factory=PendingChanges, init=False)
    _changed: Wakeup = field(factory=Wakeup, init=False)
    _urgent: Wakeup = field(factory=Wakeup, init=False)
    """Set for a change that should be written at once."""

    async def run(self) -> None:
        """Write changes within about 50 ms until cancelled. Failures are logged once and retried."""
        failures = 0
        while True:
            await self._changed.wait()
            with anyio.move_on_after(_LINGER):
                await self._urgent.wait()
            await anyio.sleep(_PAUSES.pause(failures))
            try:
                await self.flush()
            except JournalError as error:
                if not failures:
                    logger.warning("%s; trying again", error)
                failures += 1
                self._changed.set()
            else:
                failures = 0

    def add(self, request: JobRequest) -> None:
        """Add a queued job. Raises `JournalError` for a request that cannot be stored."""
        self._pending.added[request.id] = request_row(request, spool=self.spool)
        self._record()

    def amend(self, request: JobRequest) -> None:
        """Replace the request of a job; its key and group stay the same."""
        where = self._pending.added if request.id in self._pending.added else self._pending.amended
        where[request.id] = request_row(request, spool=self.spool)
        self._record()

    def update(self, job: str, state: JobState, facts: Facts) -> None:
        """Change the state and facts of a job."""
        self._pending.changed[job] = facts_row(state, facts)
        self._record()

    def forget(self, requests: Sequence[JobRequest]) -> None:
        """Remove the jobs of these requests."""
        self._pending.forget([request.id for request in requests])
        self._record()

    def learn(self, duration: JobDuration) -> None:
        """Record how long a job took. Only the latest durations of each algorithm are kept."""
        self._pending.durations.append(astuple(duration))
        self._record()

    def _record(self) -> None:
        self._changed.set()
