"""Find out where a job is known: at which host, by which endpoint, and under which hash."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from attrs import define

from mvsep_async.endpoints.account import AccountAPI
from mvsep_async.endpoints.separations import SeparationsAPI
from mvsep_async.errors import MVSepError
from mvsep_async.http.call import Priority
from mvsep_async.http.hosts import Host
from mvsep_async.jobs.entry import JobEntry
from mvsep_async.jobs.lifecycle import JobState
from mvsep_async.jobs.registry import JobRegistry
from mvsep_async.models.job_status import JobKind, JobStatus
from mvsep_async.naming import tag_in
from mvsep_async.polling.address import Address, Endpoint, addresses, hash_in_history

__all__ = ["JobLookup", "Location", "host_unknown"]

logger = logging.getLogger("mvsep_async")

NOT_FOUND_TWICE: Final = 2
"""Consecutive polls that do not find a job, the last one at every host, before the job fails as not found."""

HISTORY: Final = 20
"""Entries of the history that a search reads: one page."""


@define(eq=False)
class Location:
    """Where one job is polled, and whether it has been found there."""

    grace_until: float
    """Until then, "not found" means "not yet"."""
    found: bool = False
    """Whether a poll has found it under its current hash."""
    not_found: int = 0
    """Consecutive polls that did not find it."""
    turn: int = 0
    """Index of the address at which it is polled."""
    cancels: int = 0
    """Number of cancels in progress, during which it does not count as missing."""

    def may_be_late(self, now: float) -> bool:
        """Tell whether no poll has found the job yet and the service may need more time to show it."""
        return not self.found and now < self.grace_until

    @property
    def missing(self) -> bool:
        """Whether the job counts as not found."""
        return self.not_found >= NOT_FOUND_TWICE and not self.cancels


@define(eq=False)
class JobLookup:
    """Requests the status of jobs from the addresses where they may be, and searches the account's history for them."""

    registry: JobRegistry
    separations: SeparationsAPI
    account: AccountAPI | None
    base: Host
    clock: Callable[[], float]

    def addresses(self, job: JobEntry) -> tuple[Address, ...]:
        """Return the addresses at which a job may be found, the most likely first."""
        fetching = job.state is JobState.FETCHING
        return addresses(job.facts, fetching=fetching, uploaded=job.request.uploads, base=self.base)

    async def ask(self, address: Address, priority: Priority) -> JobStatus:
        """Request the status of a job from one address."""
        ask = self.separations.get if address.endpoint is Endpoint.GET else self.separations.get_remote
        return await ask(address.hash, host=address.host, priority=priority)

    async def find(self, job: JobEntry, location: Location, priority: Priority) -> tuple[Address, JobStatus]:
        """Request a job's status where it was last found, and at all other addresses before it counts as not found."""
        known = self.addresses(job)
        address = known[location.turn % len(known)]
        status = await self.ask(address, priority)
        if status.kind is not JobKind.NOT_FOUND or location.may_be_late(self.clock()):
            return address, status
        location.not_found += 1
        if not location.missing:
            return address, status
        unanswered: MVSepError | None = None
        for other in known:
            if other == address:
                continue
            try:
                elsewhere = await self.ask(other, priority)
            except MVSepError as error:
                logger.info("%s could not be asked for a job: %s", other.host, error)
                unanswered = error
            else:
                if elsewhere.kind is not JobKind.NOT_FOUND:
                    return other, elsewhere
        if unanswered is not None and host_unknown(job):
            raise unanswered  # that host may be the one that has it
        return address, status

    async def find_in_history(self, job: JobEntry) -> str | None:
        """Return the hash under which the newest page of the history has a job; `None` if it does not name one.

        An uploaded job is identified by the tag of its file, a URL job by the file name in its URL.
        """
        if self.account is None:
            return None
        try:
            history = await self.account.history(limit=HISTORY, priority=Priority.POLL)
        except MVSepError as error:
            logger.info("the history could not be searched for job %s: %s", job.id, error)
            return None
        entries = [entry for entry in history if self.registry.find("hash", entry.hash) is None]
        if job.request.uploads:
            return next((entry.hash for entry in entries if tag_in(entry.hash, job.id)), None)
        return hash_in_history(entries, str(job.request.source), algorithm=job.request.settings.algorithm)


def host_unknown(job: JobEntry) -> bool:
    """Tell whether the host that has the job is unknown, since the answer to its create was lost."""
    return job.facts.host is None and job.facts.accepted_at is None and job.request.source is not None
