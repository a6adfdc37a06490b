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
from mvsep_async.jobs.facts import Facts
from mvsep_async.jobs.journal import Journal
from mvsep_async.jobs.lifecycle import JobEvent, JobState
from mvsep_async.jobs.registry import JobRegistry
from mvsep_async.jobs.request import JobRequest, JobSettings
from mvsep_async.models.history import AlgorithmRef, HistoryEntry
from mvsep_async.models.user import User
from mvsep_async.submission.refused_jobs import RefusedJobs, may_be, says_why
from tests.virtual import run_virtually

URL = "https://music.test/My%20Song.wav"
DRIVE = "https://drive.google.com/file/d/1A2b3C4d5E6f/view"
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


@pytest.mark.parametrize("url", [DRIVE, "https://mega.nz/file/AbCdEfGh#key", "https://x.test/get.php?name=my-song.wav"])
def test_the_job_of_a_link_without_a_file_name_has_its_algorithm(url: str) -> None:
    assert may_be(entry(url), "20230327071601-0e3e5c6c85-another.wav", 40)
    assert not may_be(entry(url), "20230327071601-0e3e5c6c85-another.wav", 41)
    assert not may_be(entry(url), "20230327071601-0e3e5c6c85-mv0123456789abcdef-another.wav", 40)


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
    refused = RefusedJobs(account, JobRegistry(Journal()), lambda: now)
    first, second = entry(URL, "mv1"), entry(URL, "mv2")
    await refused.create_begins(first)
    assert not await refused.is_possible(first, await refused.ask())
    account.hashes.append(OF_URL.replace("0e3e", "1111"))
    requests = account.requests
    await refused.create_begins(second)  # soon after the first one: the lists are not read again
    assert account.requests == requests
    assert await refused.is_possible(first, await refused.ask())
    assert await refused.is_possible(second, await refused.ask())
    now = 61.0
    await refused.create_begins(third := entry(URL, "mv3"))
    assert not await refused.is_possible(third, await refused.ask())
    assert await refused.is_possible(first, await refused.ask())  # as it was when its own create began


async def test_the_lists_are_read_once_for_creates_that_begin_together() -> None:
    account = Account([OF_URL])
    refused = RefusedJobs(account, JobRegistry(Journal()), lambda: 0.0)
    async with anyio.create_task_group() as group:
        for number in range(10):
            group.start_soon(refused.create_begins, entry(URL, f"mv{number}"))
    assert account.requests == 1


def test_while_the_lists_cannot_be_read_any_job_of_the_url_may_be_it() -> None:
    async def run() -> None:
        account = Account([OF_URL], error=ServiceUnavailableError("502"))
        refused = RefusedJobs(account, JobRegistry(Journal()), anyio.current_time)
        job = entry(URL)
        await refused.create_begins(job)
        assert (await refused.ask()).error is account.error
        account.error = None
        assert await refused.is_possible(job, await refused.ask())

    run_virtually(run)


def test_lists_that_cannot_be_read_are_tried_again_once_for_all_refused_jobs() -> None:
    async def run() -> None:
        account = Account([OF_URL], error=ServiceUnavailableError("502"))
        refused = RefusedJobs(account, JobRegistry(Journal()), anyio.current_time)
        hashes: list[list[str]] = []

        async def ask() -> None:
            hashes.append(list((await refused.ask()).jobs))

        async with anyio.create_task_group() as group:
            for number in range(20):
                group.start_soon(ask)
                group.start_soon(refused.create_begins, entry(URL, f"mv{number}"))
            await anyio.sleep(10)
            assert account.requests < 7
            account.error = None
        assert anyio.current_time() < 20
        assert hashes == [[OF_URL]] * 20
        account.error = ServiceUnavailableError("502")
        assert (await refused.ask()).error is account.error
        assert anyio.current_time() < 70

    run_virtually(run)


def test_a_refused_job_is_not_looked_for_in_lists_that_were_requested_before() -> None:
    async def run() -> None:
        account = Account()
        refused = RefusedJobs(account, JobRegistry(Journal()), anyio.current_time)
        found: list[list[str]] = []

        async def ask() -> None:
            found.append(list((await refused.ask()).jobs))

        async with anyio.create_task_group() as group:
            group.start_soon(ask)
            while not account.requests:
                await anyio.lowlevel.checkpoint()
            for _ in range(3):
                group.start_soon(ask)
        assert account.requests == 2
        assert len(found) == 4

    run_virtually(run)


@pytest.mark.parametrize(("fetched", "possible"), [(True, False), (False, True)])
def test_a_listed_job_may_be_another_one_whose_song_was_just_fetched(fetched: bool, possible: bool) -> None:
    """A link without a file name tells nothing, so the hashes of this client's own jobs are waited for."""

    async def run() -> None:
        account, registry = Account(), JobRegistry(Journal())
        other = registry.add(JobRequest("mv1", DRIVE, JobSettings(algorithm=40)))
        registry.apply(other, JobEvent.SLOT_TAKEN)
        registry.apply(other, JobEvent.URL_ACCEPTED, remote="n2AwBjy4KsFZfqqR")
        refused = RefusedJobs(account, registry, anyio.current_time, lambda: [other])
        job = entry(DRIVE)
        await refused.create_begins(job)
        account.hashes.append(OF_URL)
        async with anyio.create_task_group() as group:

            async def poll() -> None:
                await anyio.sleep(10)
                if fetched:
                    registry.refine(other, hash=OF_URL)

            group.start_soon(poll)
            assert await refused.is_possible(job, await refused.ask()) is possible
        assert 9 < anyio.current_time() < 40

    run_virtually(run)


async def test_an_uploaded_job_is_known_by_its_tag_and_needs_no_reading_before() -> None:
    account = Account(["20230327071601-0e3e5c6c85-mv1-song.wav"])
    refused = RefusedJobs(account, JobRegistry(Journal()), lambda: 0.0)
    job = entry("song.wav", "mv1")
    await refused.create_begins(job)
    assert account.requests == 0
    lists = await refused.ask()
    assert refused.find(job, lists) == account.hashes[0]
    assert not await refused.is_possible(job, lists)


async def test_a_job_that_the_user_attached_to_may_be_a_refused_one() -> None:
    account, registry = Account(), JobRegistry(Journal())
    refused = RefusedJobs(account, registry, lambda: 0.0)
    await refused.create_begins(job := entry(URL))
    account.hashes.append(OF_URL)
    registry.add_unrecorded(JobRequest("mv2", None, JobSettings()), JobState.WAITING, Facts(hash=OF_URL))
    assert await refused.is_possible(job, await refused.ask())
