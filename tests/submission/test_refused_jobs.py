"""Which refusals prove that the service does not have a job, and which jobs of the account may be it."""

from __future__ import annotations

from collections.abc import Sequence

import anyio
import anyio.lowlevel
import pytest
from attrs import define, field

from mvsep_async.errors import (
    AuthenticationError,
    DailyLimitError,
    InvalidRequestError,
    MVSepError,
    NoFreeSlotError,
    ServiceUnavailableError,
)
from mvsep_async.jobs.entry import JobEntry
from mvsep_async.jobs.journal import NoJournal
from mvsep_async.jobs.registry import JobRegistry
from mvsep_async.jobs.request import JobRequest, JobSettings
from mvsep_async.models.history import AlgorithmRef, HistoryEntry
from mvsep_async.models.user import User
from mvsep_async.submission.refused_jobs import RefusedJobs, may_be, says_why

URL = "https://music.test/My%20Song.wav"
OF_URL = "20230327071601-0e3e5c6c85-my-song.wav"


@pytest.mark.parametrize(
    ("error", "proves"),
    [
        (NoFreeSlotError("?"), True),
        (DailyLimitError("?"), True),
        (InvalidRequestError("?", fields={"sep_type": ("?",)}), True),
        (InvalidRequestError("?", reason="Seperation type is not set"), True),
        (InvalidRequestError("?", reason="The selected sep type is invalid."), True),
        (InvalidRequestError("?", reason="Forbidden"), False),
        (InvalidRequestError("?"), False),
        (AuthenticationError("?", reason="Unauthenticated."), True),
        (AuthenticationError("?", fields={"api_token": ("?",)}), True),
        (AuthenticationError("?"), False),
        (ServiceUnavailableError("?"), False),
    ],
    ids=repr,
)
def test_a_refusal_in_words_of_the_service_proves_that_it_has_not_the_job(error: MVSepError, proves: bool) -> None:
    assert says_why(error) is proves


@pytest.mark.parametrize(
    ("hash", "sep_type", "possible"),
    [
        (OF_URL, 40, True),
        (OF_URL, None, True),
        (OF_URL, 41, False),
        ("20230327071601-0e3e5c6c85-another.wav", 40, False),
        ("n2AwBjy4KsFZfqqR", 40, True),  # a URL that the service still fetches
        ("20230327071601-0e3e5c6c85-mv0123456789abcdef-my-song.wav", 40, False),  # an uploaded file
    ],
)
def test_the_job_of_a_url_has_its_file_name_and_algorithm(hash: str, sep_type: int | None, possible: bool) -> None:
    assert may_be(entry(URL), hash, sep_type) is possible


def test_the_job_of_a_generator_has_its_algorithm() -> None:
    assert may_be(entry(None), OF_URL, 40)
    assert not may_be(entry(None), OF_URL, 41)


def entry(source: str | None, id: str = "mv0") -> JobEntry:
    return JobEntry(JobRequest(id, source, JobSettings(algorithm=40)))


@define
class Account:
    hashes: list[str] = field(factory=list)
    requests: int = 0
    error: MVSepError | None = None

    async def request(self) -> User:
        self.requests += 1
        await anyio.lowlevel.checkpoint()
        if self.error is not None:
            raise self.error
        return User()

    async def recent_jobs(self) -> Sequence[HistoryEntry]:
        return [HistoryEntry(hash=hash, algorithm=AlgorithmRef(name="A", sep_type=40)) for hash in self.hashes]


async def test_only_a_job_that_is_listed_since_the_create_began_may_be_it() -> None:
    now = 0.0
    account = Account([OF_URL])
    refused = RefusedJobs(account, JobRegistry(NoJournal()), lambda: now)
    first, second = entry(URL, "mv1"), entry(URL, "mv2")
    await refused.create_begins(first)
    assert not refused.is_possible(first, await refused.ask())
    account.hashes.append(OF_URL.replace("0e3e", "1111"))
    requests = account.requests
    await refused.create_begins(second)  # soon after the first one: the lists are not read again
    assert account.requests == requests
    assert refused.is_possible(first, await refused.ask())
    assert refused.is_possible(second, await refused.ask())
    now = 61.0
    await refused.create_begins(third := entry(URL, "mv3"))
    assert not refused.is_possible(third, await refused.ask())
    assert refused.is_possible(first, await refused.ask())  # as it was when its own create began


async def test_the_lists_are_read_once_for_creates_that_begin_together() -> None:
    account = Account([OF_URL])
    refused = RefusedJobs(account, JobRegistry(NoJournal()), lambda: 0.0)
    async with anyio.create_task_group() as group:
        for number in range(10):
            group.start_soon(refused.create_begins, entry(URL, f"mv{number}"))
    assert account.requests == 1


async def test_while_the_lists_cannot_be_read_any_job_of_the_url_may_be_it() -> None:
    account = Account([OF_URL], error=ServiceUnavailableError("502"))
    refused = RefusedJobs(account, JobRegistry(NoJournal()), lambda: 0.0)
    job = entry(URL)
    await refused.create_begins(job)
    assert (await refused.ask()).error is account.error
    account.error = None
    assert refused.is_possible(job, await refused.ask())


async def test_an_uploaded_job_is_known_by_its_tag_and_needs_no_reading_before() -> None:
    account = Account(["20230327071601-0e3e5c6c85-mv1-song.wav"])
    refused = RefusedJobs(account, JobRegistry(NoJournal()), lambda: 0.0)
    job = entry("song.wav", "mv1")
    await refused.create_begins(job)
    assert account.requests == 0
    lists = await refused.ask()
    assert refused.find(job, lists) == account.hashes[0]
    assert not refused.is_possible(job, lists)
