"""Find refused jobs that the service has nevertheless, in the account's lists.

Such a refusal comes from a proxy, or from the service itself for a request that a proxy has sent twice.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from math import inf
from pathlib import PurePosixPath
from typing import Final, Protocol
from urllib.parse import urlsplit

import anyio
from attrs import define, field, frozen

from mvsep_async.audio.formats import AUDIO_SUFFIXES
from mvsep_async.errors import (
    AuthenticationError,
    ConfigurationError,
    DailyLimitError,
    InvalidRequestError,
    MVSepError,
    NoFreeSlotError,
    RateLimitedError,
)
from mvsep_async.http.refusals import classify_refusal_text
from mvsep_async.http.response import is_about_token
from mvsep_async.jobs.entry import JobEntry
from mvsep_async.jobs.lifecycle import JobState
from mvsep_async.jobs.outage import Outage
from mvsep_async.jobs.registry import JobRegistry
from mvsep_async.jobs.request import ID_PATTERN
from mvsep_async.models.history import HistoryEntry
from mvsep_async.models.separation import is_job_hash
from mvsep_async.models.user import User
from mvsep_async.naming import tag_in
from mvsep_async.polling.address import is_of_url
from mvsep_async.sources import is_url

__all__ = ["AccountLists", "RefusedJobs", "may_be", "says_why"]

logger = logging.getLogger("mvsep_async")

_FRESH: Final = 60.0
"""Seconds for which one reading of the lists serves the creates of all jobs without an uploaded file: it
costs two requests. A job that another program creates meanwhile may be taken for one of ours, and is then not paid."""

_TRIES: Final = 30.0
"""Seconds for which lists that cannot be read are tried again before a refused job is sent, or fails, without them."""

_AFTER_FAILURE: Final = 5.0
"""Seconds for which lists that could not be read are not read again before the creates of other jobs."""

_HASHES_DUE: Final = 30.0
"""Seconds in which the hash of each job that this client has created becomes known, if the service has fetched its
song: two rounds of polls."""

_RECHECK: Final = 1.0

_NOT_TRIED_AGAIN: Final = (AuthenticationError, ConfigurationError)

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
    return not is_url(url) or not is_job_hash(hash) or not _names_song(str(url)) or is_of_url(hash, str(url))


def _names_song(url: str) -> bool:
    """Tell whether a URL ends with the file name of a song. The links of cloud storage do not."""
    return PurePosixPath(urlsplit(url).path).suffix.lower() in AUDIO_SUFFIXES


@define(eq=False)
class RefusedJobs:
    """Finds jobs that the service has although it refused their creates.

    `holders` returns the jobs that hold a slot. `time_scale`: factor for all pauses.
    """

    account: Account
    registry: JobRegistry
    clock: Callable[[], float]
    holders: Callable[[], Sequence[JobEntry]] = tuple
    time_scale: float = 1.0
    _lists: AccountLists = AccountLists(None, {})
    """The result of the latest reading after a refusal."""
    _number: int = 0
    """The number of that reading."""
    _begun: int = 0
    """How many of these readings were begun."""
    _listed: frozenset[str] = frozenset()
    _listed_at: float = -inf
    _failed_at: float = -inf
    _reading: anyio.Lock = field(factory=anyio.Lock)
    _before: dict[str, frozenset[str]] = field(factory=dict)
    """The jobs that the account had before the create of each job without an uploaded file."""

    async def create_begins(self, job: JobEntry) -> None:
        """Read which jobs the account has, if the service would return nothing by which this one is recognised."""
        if job.request.uploads:
            return
        async with self._reading:  # creates that begin together are served by one reading
            now = self.clock()
            if now - self._listed_at > _FRESH and now - self._failed_at > _AFTER_FAILURE * self.time_scale:
                lists = await self._read()
                if lists.error is None:
                    self._listed, self._listed_at = frozenset(lists.jobs), now
            self._before[job.id] = self._listed

    async def ask(self) -> AccountLists:
        """Return the account's lists as they are after this call, without those that cannot be read for a while.

        Calls that wait at the same time share a reading.
        """
        begun = self._begun
        async with self._reading:
            if self._number <= begun:
                await self._read_patiently()
            return self._lists

    def find(self, job: JobEntry, lists: AccountLists) -> str | None:
        """Return the hash of a refused job that the service has nevertheless, by the tag of its uploaded file."""
        return next((hash for hash in lists.jobs if tag_in(hash, job.id)), None)

    async def is_possible(self, job: JobEntry, lists: AccountLists) -> bool:
        """Tell whether one of the account's jobs may be this one, for which no file was uploaded.

        While it may also be another job of this client whose hash is not known yet, that hash is waited for.
        """
        if job.request.uploads:
            return False
        until = self.clock() + _HASHES_DUE * self.time_scale
        while self._may_be_listed(job, lists):
            if self.clock() >= until or not any(other is not job and _has_no_hash(other) for other in self.holders()):
                return True
            await anyio.sleep(_RECHECK * self.time_scale)
        return False

    def forget(self, job: JobEntry) -> None:
        """Forget a job whose create has ended."""
        self._before.pop(job.id, None)

    def _may_be_listed(self, job: JobEntry, lists: AccountLists) -> bool:
        before = self._before.get(job.id, frozenset())
        unknown = (hash for hash in lists.jobs if hash not in before and not self._is_own(hash))
        return any(may_be(job, hash, lists.jobs[hash]) for hash in unknown)

    def _is_own(self, hash: str) -> bool:
        """Tell whether this client has created the job, rather than attached to it."""
        known = self.registry.find("hash", hash)
        return known is not None and self.registry.is_recorded(known)

    async def _read_patiently(self) -> None:
        outage = Outage(_TRIES * self.time_scale, self.time_scale)
        while True:
            self._begun += 1
            self._lists = await self._read()
            self._number = self._begun
            error = self._lists.error
            if error is None or isinstance(error, _NOT_TRIED_AGAIN) or outage.failed(self.clock()):
                return
            await anyio.sleep(outage.rest)

    async def _read(self) -> AccountLists:
        """Request the account, and the hashes of its unfinished and newest jobs."""
        user, jobs = None, dict[str, int | None]()
        try:
            user = await self.account.request()
            jobs |= {entry.hash: None for entry in user.current_queue.jobs or ()}
            for entry in await self.account.recent_jobs():
                jobs[entry.hash] = None if entry.algorithm is None else entry.algorithm.sep_type
        except MVSepError as error:
            logger.info("the account could not be asked which jobs it has: %s", error)
            self._failed_at = self.clock()
            return AccountLists(user, jobs, error)
        return AccountLists(user, jobs)


def _has_no_hash(job: JobEntry) -> bool:
    """Tell whether the service may list a job without an uploaded file under a hash that is not known yet."""
    return not job.request.uploads and job.state in (JobState.CREATING, JobState.FETCHING)
