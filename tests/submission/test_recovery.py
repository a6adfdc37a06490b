"""The search for lost jobs in virtual time, with prepared lists."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio
import pytest
from attrs import define, field

from mvsep_async.endpoints.paging import Page
from mvsep_async.errors import MVSepError, ServiceUnavailableError, SubmissionUnknownError
from mvsep_async.jobs.entry import JobEntry
from mvsep_async.jobs.journal import Journal
from mvsep_async.jobs.lifecycle import JobEvent, JobState
from mvsep_async.jobs.outage import Outage
from mvsep_async.jobs.registry import JobRegistry
from mvsep_async.jobs.request import JobRequest, JobSettings
from mvsep_async.models.history import HistoryEntry
from mvsep_async.models.user import CurrentQueue, QueuedJob, User
from mvsep_async.submission.recovery import Recovery
from mvsep_async.submission.recovery_policy import Search
from tests.virtual import run_virtually

GRACE = 180.0


def hash_of(job: str) -> str:
    return f"20230327071601-0e3e5c6c85-{job}-song.wav"


@define
class Account:
    """The lists of the service. `page`: entries that it sends at one time; `fails`: of these requests, by number."""

    history: list[str] = field(factory=list)
    queue: list[str] = field(factory=list)
    page: int = 20
    fails: frozenset[int] = frozenset()
    grows: int = 0
    """Entries that other programs add to the history between two requests, in each search the first six times."""
    asked: list[int] = field(factory=list)

    async def user(self, **_: object) -> User:
        return User(current_queue=CurrentQueue(len(self.queue), tuple(QueuedJob(hash=one) for one in self.queue)))

    async def history_page(self, start: int, limit: int, **_: object) -> Page[HistoryEntry]:
        self.asked.append(start)
        if len(self.asked) in self.fails:
            raise ServiceUnavailableError("502", status=502)
        if 0 < start < 7:
            self.history[:0] = [
                f"20230327071601-0e3e5c6c85-added{len(self.history) + n}.wav" for n in range(self.grows)
            ]
        hashes = self.history[start : start + min(limit, self.page)]
        return Page(tuple(HistoryEntry(hash=one) for one in hashes), len(hashes))


def searched(
    account: Account, check: Callable[[JobRegistry, JobEntry], Awaitable[None]], *, source: str | None = "song.wav"
) -> None:
    """Lose one job, search for it in the lists of `account`, and await `check`."""

    async def run() -> None:
        registry = JobRegistry(Journal())
        recovery = Recovery(
            registry,
            account,  # type: ignore[arg-type]
            Search(GRACE),
            Outage(1800.0),
            anyio.current_time,
        )
        job = registry.add(JobRequest("mv1", source, JobSettings()))
        registry.apply(job, JobEvent.SLOT_TAKEN, intent_at=registry.stamp())
        registry.apply(job, JobEvent.OUTCOME_UNKNOWN)
        async with anyio.create_task_group() as tasks:
            recovery.begin(job)
            tasks.start_soon(recovery.run)
            await check(registry, job)
            tasks.cancel_scope.cancel()

    run_virtually(run)


async def found(registry: JobRegistry, job: JobEntry) -> None:
    await anyio.sleep(GRACE * 2)
    assert (job.state, job.hash) == (JobState.WAITING, hash_of("mv1"))


async def absent(registry: JobRegistry, job: JobEntry) -> None:
    await anyio.sleep(GRACE - 1)
    assert job.state is JobState.LOST
    await anyio.sleep(GRACE)
    assert job.state is JobState.QUEUED


OTHERS = [f"20230327071601-0e3e5c6c85-other{number}.wav" for number in range(100)]


def test_among_the_unfinished_jobs() -> None:
    searched(Account(queue=[hash_of("mv1")]), found)


@pytest.mark.parametrize("page", [1, 7, 10, 19, 20])
@pytest.mark.parametrize("place", [0, 15, 99])
def test_in_the_history_however_short_its_pages_are(page: int, place: int) -> None:
    account = Account(history=[*OTHERS[:place], hash_of("mv1"), *OTHERS[place:]], page=page)
    searched(account, found)


@pytest.mark.parametrize("page", [1, 2, 3, 20])
@pytest.mark.parametrize("grows", [1, 2, 5, 40])
def test_in_a_history_that_grows_while_it_is_read(page: int, grows: int) -> None:
    account = Account(history=[*OTHERS[:9], hash_of("mv1"), *OTHERS[9:]], page=page, grows=grows)
    searched(account, found)


def test_absence_is_believed_after_all_the_time_that_the_service_may_need() -> None:
    searched(Account(history=OTHERS), absent)


def test_a_page_that_fails_is_asked_for_again_and_the_search_continues() -> None:
    """With every second request failing, a search of many pages still comes to its end."""
    account = Account(history=[*OTHERS, hash_of("mv1")], page=5, fails=frozenset(range(1, 2000, 2)))
    searched(account, found)


def test_a_job_without_a_file_name_is_not_paid_again() -> None:
    async def given_up(registry: JobRegistry, job: JobEntry) -> None:
        await anyio.sleep(60)
        assert job.state is JobState.FAILED
        error: MVSepError | None = job.facts.error
        assert isinstance(error, SubmissionUnknownError)
        assert OTHERS[0] in str(error)

    searched(Account(history=OTHERS), given_up, source="https://example.com/song.wav")


def test_jobs_that_are_lost_in_an_outage_do_not_read_the_lists_one_after_the_other() -> None:
    async def run() -> None:
        registry, account = JobRegistry(Journal()), Account(fails=frozenset(range(1, 1000)))
        recovery = Recovery(
            registry,
            account,  # type: ignore[arg-type]
            Search(GRACE),
            Outage(20.0),
            anyio.current_time,
        )
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(recovery.run)
            for number in range(100):
                job = registry.add(JobRequest(f"mv{number}", "song.wav", JobSettings()))
                registry.apply(job, JobEvent.SLOT_TAKEN, intent_at=registry.stamp())
                registry.apply(job, JobEvent.OUTCOME_UNKNOWN)
                recovery.begin(job)
                await anyio.sleep(0.5)
            tasks.cancel_scope.cancel()
        assert len(account.asked) < 20

    run_virtually(run)
