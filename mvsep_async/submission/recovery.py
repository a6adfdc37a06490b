"""Recover jobs whose create got no response, by searching the service's lists of the account's jobs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Final

import anyio
from attrs import define, field

from mvsep_async.concurrency import Wakeup
from mvsep_async.endpoints.account import AccountAPI
from mvsep_async.endpoints.paging import MAX_PAGE, Page
from mvsep_async.errors import ConfigurationError, MVSepError, ServiceUnavailableError, SubmissionUnknownError
from mvsep_async.http.call import Priority
from mvsep_async.jobs.entry import JobEntry
from mvsep_async.jobs.lifecycle import JobEvent, JobState
from mvsep_async.jobs.outage import Outage
from mvsep_async.jobs.registry import JobRegistry
from mvsep_async.models.history import HistoryEntry
from mvsep_async.naming import tag_in
from mvsep_async.submission.recovery_policy import HistoryEnd, Search
from mvsep_async.submission.refused_jobs import may_be

__all__ = ["Recovery"]

logger = logging.getLogger("mvsep_async")

_MOST_NAMED: Final = 20
"""Most possible jobs that an error lists."""

_OVERLAP: Final = 2
"""Entries of each page that the next one repeats, so that an entry deleted during the reading does not hide another."""


@define(eq=False)
class Recovery:
    """Finds jobs whose create got no response in the service's lists, so that none is created and paid twice."""

    registry: JobRegistry
    account: AccountAPI
    search: Search
    outage: Outage
    clock: Callable[[], float]
    doubt: float = 0.0
    """Seconds by which stamps may be wrong, since several machines make them."""
    _wake: Wakeup = field(factory=Wakeup)

    def begin(self, job: JobEntry) -> None:
        """Start searching for a lost job."""
        self.search.begin(job.id, self.clock())
        self._wake.set()

    def end(self, job: JobEntry) -> None:
        """Stop searching for a job."""
        self.search.end(job.id)

    async def run(self) -> None:
        """Read the lists whenever a search is due, until cancelled."""
        rested_at = 0.0
        while True:
            now = self.clock()
            wait = max(self.search.wait(now), rested_at - now)
            if wait > 0:
                with anyio.move_on_after(wait):
                    await self._wake.wait()
            else:
                rest = await self._search()
                rested_at = self.clock() + rest

    async def _search(self) -> float:
        """Read the lists once and apply the results; return how many seconds to pause after a failure."""
        began = self.clock()
        lost = [self.registry.jobs[job] for job in self.search.jobs]
        try:
            hashes = await self._listed(lost, thorough=self.search.can_prove_absence(began))
        except MVSepError as error:
            logger.info("the search for %d lost jobs cannot read the service's lists: %s", len(lost), error)
            if self.outage.failed(self.clock()) or isinstance(error, ConfigurationError):
                for job in lost:
                    if job.state is JobState.LOST:
                        self.registry.apply(job, JobEvent.FAILED, error=error.of(job.id, job.hash))
            return self.outage.rest
        self.outage.ended()
        for job in lost:
            if not job.request.uploads and job.state is JobState.LOST:
                self.search.end(job.id)
                self._give_up(job, hashes)
        for id, hash in self.search.searched(began, hashes).items():
            if (found := self.registry.jobs.get(id)) is not None and found.state is JobState.LOST:
                if hash is None:
                    self.registry.apply(found, JobEvent.NOT_ACCEPTED)
                else:
                    self.registry.apply(found, JobEvent.FOUND, hash=hash)
        return 0.0

    async def _listed(self, lost: list[JobEntry], *, thorough: bool) -> list[str]:
        """Return the hashes of the account's unfinished jobs and of its history, as far back as lost jobs may be."""
        hashes = await self._unfinished()
        missing = _missing(lost, hashes)
        intents = [job.facts.intent_at for job in missing]
        known_intents = [at - self.doubt for at in intents if at is not None]
        since = None if None in intents else min(known_intents, default=None)
        end, start, read = HistoryEnd(since, thorough), 0, dict[str, int]()
        while missing:
            page = await self._page(start)
            new = [entry.hash for entry in page.entries if entry.hash not in read]
            start += _step(page, read, new)
            read |= {hash: len(read) + place for place, hash in enumerate(new)}
            hashes += new
            missing = _missing(missing, new)
            ours = (self.registry.find("hash", hash) for hash in new)
            stamps = [job.facts.accepted_at for job in ours if job is not None]
            known = [stamp for stamp in stamps if stamp is not None]
            if end.read(page.length, len(new), known, unreadable=page.length - len(page.entries)):
                break
        return hashes

    async def _unfinished(self) -> list[str]:
        """Return the hashes of the account's unfinished jobs. The history has them too, so a failure is ignored."""
        try:
            queue = (await self.account.user(priority=Priority.LIKELY)).current_queue
        except ServiceUnavailableError as error:
            logger.info("the account's unfinished jobs could not be read: %s", error)
            return []
        return [entry.hash for entry in queue.jobs or ()]

    async def _page(self, start: int) -> Page[HistoryEntry]:
        """Return a page of the history. A page that fails is asked for again, so the pages before it are not lost."""
        while True:
            try:
                page = await self.account.history_page(start, MAX_PAGE, priority=Priority.LIKELY)
            except MVSepError as error:
                if self.outage.failed(self.clock()) or isinstance(error, ConfigurationError):
                    raise
                await anyio.sleep(self.outage.rest)
            else:
                self.outage.ended()
                return page

    def _give_up(self, job: JobEntry, hashes: list[str]) -> None:
        """Requeue or fail a lost job without an uploaded file, which the service's lists cannot identify."""
        if job.request.settings.on_unknown == "resubmit":
            self.registry.apply(job, JobEvent.NOT_ACCEPTED)
            return
        others = [hash for hash in dict.fromkeys(hashes) if self.registry.find("hash", hash) is None]
        others.sort(key=lambda hash: not may_be(job, hash, None))
        found = tuple(others[:_MOST_NAMED])
        seen = f"it may be one of {', '.join(found)}" if found else "no other job is in its lists"
        self.registry.apply(
            job,
            JobEvent.FAILED,
            error=SubmissionUnknownError(
                f"the answer to the create of job {job.id} was lost or is not the service's, and a job without an "
                f"uploaded file cannot be told from others at the service: {seen}. Look there, then attach to it, or "
                "submit it again with on_unknown='resubmit' (which may pay twice)",
                found=found,
                job=job.id,
            ),
        )


def _step(page: Page[HistoryEntry], read: Mapping[str, int], new: list[str]) -> int:
    """Return how many entries to advance after a page. `read`: the place of each hash among those read before.

    A page without a new entry shows how far new jobs have moved the others down, and so where the unread ones begin.
    """
    if not page.length:
        return MAX_PAGE
    if new or not page.entries:
        return max(page.length - _OVERLAP, 1)
    return len(page.entries) + len(read) - 1 - read[page.entries[-1].hash]


def _missing(lost: list[JobEntry], hashes: list[str]) -> list[JobEntry]:
    return [job for job in lost if not any(tag_in(hash, job.id) for hash in hashes)]
