"""Looking for jobs whose answers were lost, in the service's own lists, before anything is paid a second time."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import aclosing
from itertools import islice
from typing import Final

import anyio
from attrs import define, field

from mvsep_async.endpoints.account import AccountAPI
from mvsep_async.errors import MVSepError, SubmissionUnknownError
from mvsep_async.http.call import Priority
from mvsep_async.jobs.entry import JobEntry
from mvsep_async.jobs.lifecycle import JobEvent, JobState
from mvsep_async.jobs.outage import Outage
from mvsep_async.jobs.registry import JobRegistry
from mvsep_async.naming import tag_in
from mvsep_async.sources import is_url
from mvsep_async.submission.recovery_policy import Absent, Found, Search, horizon, is_before

__all__ = ["Recovery"]

logger = logging.getLogger("mvsep_async")

_MOST_NAMED: Final = 20
"""Jobs of others that an error names at the most."""

_UNDATED: Final = 100
"""Entries read whatever their dates are: only our own clock could say how old that is, and it may be wrong."""


@define(eq=False)
class Recovery:
    """Searches for the jobs that the registry holds as `LOST`."""

    registry: JobRegistry
    account: AccountAPI
    search: Search
    outage: Outage
    clock: Callable[[], float] = anyio.current_time
    _wake: anyio.Event = field(factory=anyio.Event)

    def begin(self, job: JobEntry) -> None:
        """Search for `job` from now on."""
        self.search.begin(job.id, self.clock())
        self._wake.set()

    def end(self, job: JobEntry) -> None:
        """Search for it no longer."""
        self.search.end(job.id)

    async def run(self) -> None:
        """Read the lists whenever a search is due."""
        rest = 0.0
        while True:
            self._wake = anyio.Event()
            with anyio.move_on_after(max(self.search.wait(self.clock()), rest)):
                await self._wake.wait()
            if self.search.wait(self.clock()) > 0:
                continue
            rest = await self._look()

    async def _look(self) -> float:
        """Read the lists once and settle what they show; return how long to rest after a failure."""
        began = self.clock()
        lost = [self.registry.jobs[job] for job in self.search.jobs]
        try:
            hashes = await self._listed(lost)
        except MVSepError as error:
            logger.info("the search for %d lost jobs cannot read the service's lists: %s", len(lost), error)
            if self.outage.failed(self.clock()):
                for job in lost:
                    if job.state is JobState.LOST:
                        self.registry.apply(job, JobEvent.FAILED, error=error.of(job.id, job.hash))
            return self.outage.rest
        self.outage.ended()
        for job in lost:
            if not _tagged(job) and job.state is JobState.LOST:
                self.search.end(job.id)
                self._unknowable(job, hashes)
        for result in self.search.looked(began, hashes):
            self._resolve(result)
        return 0.0

    async def _listed(self, lost: list[JobEntry]) -> list[str]:
        """Return the account's hashes: of its unfinished jobs, and of its history as far back as lost ones may be."""
        since = horizon((job.facts.intent_at for job in lost), time.time())
        queue = (await self.account.user(priority=Priority.LIKELY)).current_queue
        hashes = [entry.hash for entry in queue.jobs or ()]
        missing = _missing(lost, hashes)
        if not missing:
            return hashes
        async with aclosing(self.account.history_all(priority=Priority.LIKELY)) as history:
            async for entry in history:
                hashes.append(entry.hash)
                missing = _missing(missing, [entry.hash])
                known = self.registry.find(hash=entry.hash)
                accepted_at = None if known is None else known.facts.accepted_at
                dated = accepted_at is not None or len(hashes) > _UNDATED
                if not missing or (dated and is_before(entry.hash, since, accepted_at=accepted_at)):
                    break
        return hashes

    def _resolve(self, result: Found | Absent) -> None:
        job = self.registry.jobs.get(result.job)
        if job is None or job.state is not JobState.LOST:
            return
        if isinstance(result, Found):
            self.registry.apply(job, JobEvent.FOUND, hash=result.hash)
        else:
            self.registry.apply(job, JobEvent.NOT_ACCEPTED)

    def _unknowable(self, job: JobEntry, hashes: list[str]) -> None:
        """Decide about a job that has no file name, so that nothing at the service can be told to be it."""
        if job.request.settings.on_unknown == "resubmit":
            self.registry.apply(job, JobEvent.NOT_ACCEPTED)
            return
        others = (hash for hash in dict.fromkeys(hashes) if self.registry.find(hash=hash) is None)
        found = tuple(islice(others, _MOST_NAMED))
        seen = f"it may be one of {', '.join(found)}" if found else "no other job is in its lists"
        self.registry.apply(
            job,
            JobEvent.FAILED,
            error=SubmissionUnknownError(
                f"the answer to the create of job {job.id} was lost, and a job without an uploaded file cannot be told "
                f"from others at the service: {seen}. Look there, then attach to it, or submit it again with "
                "on_unknown='resubmit' (which may pay twice)",
                found=found,
                job=job.id,
            ),
        )


def _missing(lost: list[JobEntry], hashes: list[str]) -> list[JobEntry]:
    return [job for job in lost if not any(tag_in(hash, job.id) for hash in hashes)]


def _tagged(job: JobEntry) -> bool:
    return job.request.source is not None and not is_url(job.request.source)
