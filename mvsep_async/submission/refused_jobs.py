"""Find refused jobs that the service has nevertheless, in the account's lists.

Such a refusal comes from a proxy, or from the service itself for a request that a proxy has sent twice.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from math import inf
from typing import Final, Protocol

import anyio
from attrs import define, field, frozen

from mvsep_async.errors import (
    AuthenticationError,
    DailyLimitError,
    InvalidRequestError,
    MVSepError,
    NoFreeSlotError,
    RateLimitedError,
)
from mvsep_async.http.refusals import classify_refusal_text
from mvsep_async.http.response import is_about_token
from mvsep_async.jobs.entry import JobEntry
from mvsep_async.jobs.registry import JobRegistry
from mvsep_async.jobs.request import ID_PATTERN
from mvsep_async.models.history import HistoryEntry
from mvsep_async.models.separation import is_job_hash
from mvsep_async.models.user import User
from mvsep_async.naming import tag_in
from mvsep_async.polling.address import is_of_url
from mvsep_async.polling.lookup import is_uploaded
from mvsep_async.sources import is_url

__all__ = ["AccountLists", "RefusedJobs", "may_be", "says_why"]

logger = logging.getLogger("mvsep_async")

_FRESH: Final = 60.0
"""Seconds for which one reading of the lists serves the creates of all jobs without an uploaded file, our choice: it
costs two requests. A job that another program creates meanwhile may be taken for one of ours, and is then not paid."""

_ABOUT_REQUEST: Final = re.compile(
    r"(?i)audio|\bfile|\burl\b|sep\w*[ _]type|algorithm|model|output|format|add[ _]opt|option|parameter|premium|credit"
)
"""Words for what a create sends. They are a guess: few of the service's texts are known."""

_TAG: Final = re.compile(rf"(?<![a-z0-9]){ID_PATTERN}(?![a-z0-9])")


class Account(Protocol):
    """Requests for the account and the newest page of its history."""

    async def request(self) -> User: ...

    async def recent_jobs(self) -> Sequence[HistoryEntry]: ...


@frozen
class AccountLists:
    """The account's unfinished and newest jobs. `error`: why they could not be read completely.

    `jobs`: the hash of each job → its `sep_type`, if it is known.
    """

    user: User | None
    jobs: Mapping[str, int | None]
    error: MVSepError | None = None


def says_why(error: MVSepError) -> bool:
    """Tell whether a refusal gives a reason in words that the service is known to use, or speaks of a parameter.

    A proxy does not know them, so the service has seen the request and has not accepted it.
    """
    match error:
        case NoFreeSlotError() | DailyLimitError() | RateLimitedError():
            return True
        case InvalidRequestError():
            known = classify_refusal_text(error.reason) is not None
            return known or bool(error.fields) or _ABOUT_REQUEST.search(error.reason) is not None
        case AuthenticationError():
            return bool(error.fields) or is_about_token(error.reason)
        case _:
            return False


def may_be(job: JobEntry, hash: str, sep_type: int | None) -> bool:
    """Tell whether a job without an uploaded file may be the one with this hash, by algorithm and file name."""
    if _TAG.search(hash) or (None not in (sep_type, wanted := job.request.settings.algorithm) and sep_type != wanted):
        return False
    url = job.request.source
    return not is_url(url) or not is_job_hash(hash) or is_of_url(hash, str(url))


@define(eq=False)
class RefusedJobs:
    """Finds jobs that the service has although it refused their creates."""

    account: Account
    registry: JobRegistry
    clock: Callable[[], float]
    _listed: frozenset[str] = frozenset()
    _listed_at: float = -inf
    _reading: anyio.Lock = field(factory=anyio.Lock)
    _before: dict[str, frozenset[str]] = field(factory=dict)
    """The jobs that the account had before the create of each job without an uploaded file."""

    async def create_begins(self, job: JobEntry) -> None:
        """Read which jobs the account has, if the service would return nothing by which this one is recognised."""
        if is_uploaded(job):
            return
        async with self._reading:  # creates that begin together are served by one reading
            if self.clock() - self._listed_at > _FRESH:
                began = self.clock()
                lists = await self.ask()
                if lists.error is None:
                    self._listed, self._listed_at = frozenset(lists.jobs), began
            self._before[job.id] = self._listed

    async def ask(self) -> AccountLists:
        """Request the account, and the hashes of its unfinished and newest jobs."""
        user, jobs = None, dict[str, int | None]()
        try:
            user = await self.account.request()
            jobs |= {entry.hash: None for entry in user.current_queue.jobs or ()}
            for entry in await self.account.recent_jobs():
                jobs[entry.hash] = None if entry.algorithm is None else entry.algorithm.sep_type
        except MVSepError as error:
            logger.info("the account could not be asked about a refused job: %s", error)
            return AccountLists(user, jobs, error)
        return AccountLists(user, jobs)

    def find(self, job: JobEntry, lists: AccountLists) -> str | None:
        """Return the hash of a refused job that the service has nevertheless, by the tag of its uploaded file."""
        return next((hash for hash in lists.jobs if tag_in(hash, job.id)), None)

    def is_possible(self, job: JobEntry, lists: AccountLists) -> bool:
        """Tell whether one of the account's jobs may be this one, for which no file was uploaded."""
        if is_uploaded(job):
            return False
        before = self._before.get(job.id, frozenset())
        new = (hash for hash in lists.jobs if hash not in before and self.registry.find("hash", hash) is None)
        return any(may_be(job, hash, lists.jobs[hash]) for hash in new)

    def forget(self, job: JobEntry) -> None:
        """Forget a job whose create has ended."""
        self._before.pop(job.id, None)
