"""Mirror the jobs of other processes, and report the progress of jobs that other processes mirror."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Final
from weakref import WeakValueDictionary

import anyio
from attrs import define, field

from mvsep_async.concurrency import Wakeup
from mvsep_async.errors import JournalError
from mvsep_async.jobs.coordinator import CoordinatedClient
from mvsep_async.jobs.entry import JobEntry
from mvsep_async.jobs.subscription import Subscription
from mvsep_async.postgres.backend import POLL, RETRY, Availability
from mvsep_async.postgres.connection import Transactions
from mvsep_async.postgres.jobs import JobTable
from mvsep_async.postgres.rows import ViewReader, progress_text

__all__ = ["Mirrors", "ReportedJobs"]

_REPORTED_FOR: Final = 180.0
"""Seconds for which the process of a job is asked to report its progress; it is asked again after half of them, which
writes a row for each job."""

_REREAD: Final = 30.0
"""Seconds without a notice after which all mirrored jobs are read again, in case one was lost."""

_GATHER: Final = 0.05
"""Seconds in which notices are gathered, since several jobs often change together: one transaction reads them."""

_REPORT: Final = 1.0
"""Seconds between two reports of a job's progress."""


@define(eq=False)
class Mirrors:
    """The jobs of other processes that have handles here, each for as long as it is referenced."""

    database: Transactions
    jobs: JobTable
    availability: Availability
    reader: ViewReader
    _entries: WeakValueDictionary[str, JobEntry] = field(factory=WeakValueDictionary)
    _changed: set[str] = field(factory=set)
    _asked_at: dict[str, float] = field(factory=dict)
    """When the process of each job was last asked to report its progress."""
    _listening: bool = False
    _wake: Wakeup = field(factory=Wakeup)

    def add(self, job: JobEntry) -> None:
        """Publish the changes of a job until it is over."""
        if not job.done():
            self._entries[job.id] = job
            self.changed(job.id)

    def changed(self, job: str) -> None:
        """Read a job again, if it is mirrored."""
        if job in self._entries:
            self._changed.add(job)
            self._wake.set()

    def listening(self, listening: bool) -> None:
        """Set whether notices arrive. Some may have been missed before, so all jobs are read again."""
        self._listening = listening
        self._changed.update(self._entries)
        self._wake.set()

    async def run(self, client: CoordinatedClient) -> None:
        """Read mirrored jobs whenever they change, until cancelled."""
        while True:
            with anyio.move_on_after(_REREAD if self._listening else POLL) as scope:
                await self._wake.wait()
                await anyio.sleep(_GATHER)
            if scope.cancelled_caught:
                self._changed.update(self._entries)
            changed, self._changed = [job for job in self._changed if job in self._entries], set()
            try:
                await self._ask()
                await self._read(changed, client)
            except JournalError as error:
                self.availability.unreachable(error)
                await anyio.sleep(RETRY)
                self._changed.update(changed)
                self._wake.set()

    async def _ask(self) -> None:
        now = anyio.current_time()
        self._asked_at = {job: at for job, at in self._asked_at.items() if job in self._entries}
        ask = [job for job in list(self._entries) if self._asked_at.get(job, -inf) < now - _REPORTED_FOR / 2]
        if ask:
            await self.database.run(lambda connection: self.jobs.request_reports(connection, ask, _REPORTED_FOR))
            self._asked_at |= dict.fromkeys(ask, now)

    async def _read(self, changed: Sequence[str], client: CoordinatedClient) -> None:
        if not changed:
            return
        rows = await self.database.run(lambda connection: self.jobs.views(connection, changed))
        missing = set(changed)
        for read in map(self.reader.view, rows):
            id = read.record.request.id
            missing.discard(id)
            if client.own_job(id) is None:
                client.show(read)
            entry = self._entries.get(id)
            if entry is None or entry.done() or client.own_job(id) is not None:
                self._entries.pop(id, None)
        for id in missing:
            self._entries.pop(id, None)
            if client.own_job(id) is None:
                client.job_pruned(id)


@define(eq=False)
class ReportedJobs:
    """This process's jobs that other processes mirror. A subscription makes the poller poll them more often."""

    database: Transactions
    jobs: JobTable
    availability: Availability
    _reported: dict[str, tuple[Subscription, str]] = field(factory=dict)
    """The subscription to each job, and the progress that was written last."""

    def set(self, jobs: Sequence[str], client: CoordinatedClient) -> None:
        """Report the progress of these jobs from now on, and of no others."""
        entries = {job: client.own_job(job) for job in jobs}
        self._reported = {
            job: self._reported.get(job) or (entry.subscribe(), "")
            for job, entry in entries.items()
            if entry is not None
        }

    async def run(self, client: CoordinatedClient) -> None:
        """Write changed progress every second, until cancelled."""
        while True:
            await anyio.sleep(_REPORT)
            changed: dict[str, str] = {}
            for job, (subscription, before) in list(self._reported.items()):
                entry = client.own_job(job)
                text = before if entry is None else progress_text(entry.progress)
                if text != before:
                    changed[job] = text
                    self._reported[job] = subscription, text
            if changed:
                try:
                    await self.database.run(lambda connection: self.jobs.report(connection, changed))  # noqa: B023
                except JournalError as error:
                    self.availability.unreachable(error)
