"""The dispatcher in virtual time, with a launcher that answers as told."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from threading import Event, Thread, current_thread, main_thread
from typing import Any

import anyio
import pytest
from attrs import define, field
from hypothesis import given, settings
from hypothesis import strategies as st

from mvsep_async.endpoints.paging import Page
from mvsep_async.errors import (
    AuthenticationError,
    DailyLimitError,
    InvalidRequestError,
    JobFailedError,
    JournalError,
    MVSepError,
    NoFreeSlotError,
    RateLimitedError,
    ServiceUnavailableError,
    SubmissionUnknownError,
    TransportError,
)
from mvsep_async.jobs.coordinator import Coordinator
from mvsep_async.jobs.entry import JobEntry
from mvsep_async.jobs.journal import Journal
from mvsep_async.jobs.lifecycle import JobEvent, JobState
from mvsep_async.jobs.registry import JobRegistry
from mvsep_async.jobs.request import JobRequest, JobSettings
from mvsep_async.models.history import AlgorithmRef, HistoryEntry
from mvsep_async.models.site import FreeSeparations, Queue
from mvsep_async.models.user import CurrentQueue, User
from mvsep_async.scheduling import ahead as ahead_module
from mvsep_async.scheduling.account import AccountWatch
from mvsep_async.scheduling.dispatcher import Dispatcher
from mvsep_async.scheduling.pauses import WaitReason
from mvsep_async.submission.create import CreateResult, Fate, fate_of, was_answered
from mvsep_async.submission.refused_jobs import says_why
from mvsep_async.submission.upload_queue import UploadQueue
from tests.virtual import run_virtually

DOWN = ServiceUnavailableError("502", status=502)
NO_SLOT = NoFreeSlotError("full", status=400, stated=True)
JOB_SECONDS = 60.0

Answer = MVSepError | None


@define
class Service:
    """Launcher, account and site in one. `answers`: the errors of the next creates; `None`, or none left, accepts."""

    registry: JobRegistry
    answers: deque[Answer] = field(factory=deque)
    account_answers: deque[User | MVSepError] = field(factory=deque)
    limit: int = 10
    free_left: int | None = None
    creates: list[tuple[float, str]] = field(factory=list)
    others: int | None = None
    """Unfinished jobs of other programs; `None`: the account does not list its jobs."""
    history_answer: list[str] | MVSepError = field(factory=list)
    sep_type: int | None = None
    account_requests: int = 0
    asked: list[float] = field(factory=list)
    unfinished: int = 0
    most: int = 0
    finish: Callable[[JobEntry], Any] | None = None

    async def launch(self, job: JobEntry, user: object = None) -> CreateResult:
        self.creates.append((anyio.current_time(), job.id))
        await anyio.sleep(1.0)
        error = self.answers.popleft() if self.answers else None
        if error is None:
            self.registry.apply(job, JobEvent.ACCEPTED, hash=f"hash of {job.id}")
            self.unfinished += 1
            self.most = max(self.most, self.unfinished)
            return CreateResult(Fate.ACCEPTED)
        if isinstance(error, TransportError):
            self.registry.apply(job, JobEvent.OUTCOME_UNKNOWN)
            return CreateResult(Fate.LOST, error)
        if not was_answered(error):
            self.registry.apply(job, JobEvent.NOT_ACCEPTED)
        return CreateResult(fate_of(error, handed_over=False), error)

    def cancel(self, job: JobEntry) -> None:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError

    async def user(self, **_: object) -> User:
        self.account_requests += 1
        await anyio.sleep(0 if self.others is None else 0.1)
        queue = CurrentQueue() if self.others is None else CurrentQueue(self.others + self.unfinished)
        plan = User(premium_enabled=True, premium_minutes=9, current_queue=queue)
        answer = self.account_answers.popleft() if self.account_answers else plan
        if isinstance(answer, MVSepError):
            raise answer
        return answer

    async def history_page(self, start: int, limit: int, **_: object) -> Page[HistoryEntry]:
        if isinstance(self.history_answer, MVSepError):
            raise self.history_answer
        algorithm = AlgorithmRef(name="A", sep_type=self.sep_type)
        entries = [HistoryEntry(hash=hash, algorithm=algorithm) for hash in self.history_answer]
        return Page(entries, len(entries))

    async def queue(self, **_: object) -> Queue:
        self.asked.append(anyio.current_time())
        return Queue(
            free_separations=None if self.free_left is None else FreeSeparations(left=self.free_left, limit=50)
        )


@define
class World:
    registry: JobRegistry
    service: Service
    dispatcher: Dispatcher
    jobs: list[JobEntry] = field(factory=list)

    def submit(self, count: int = 1, **request: Any) -> list[JobEntry]:
        added = []
        for _ in range(count):
            given = {"source": "song.wav", "settings": JobSettings(), **request}
            job = self.registry.add(JobRequest(f"mv{len(self.jobs)}", **given))
            self.jobs.append(job)
            self.dispatcher.submit(job)
            added.append(job)
        return added

    def states(self) -> list[JobState]:
        return [job.state for job in self.jobs]


@asynccontextmanager
async def world(concurrency: int | None = 10, patience: float = 1800.0, **options: Any) -> AsyncIterator[World]:
    registry = JobRegistry(Journal())
    service = Service(registry)
    dispatcher = Dispatcher(
        registry,
        options.get("coordinator") or Coordinator(registry.journal),
        service,  # type: ignore[arg-type]
        AccountWatch(service, service),  # type: ignore[arg-type]
        concurrency,
        patience,
        1.0,
        options.get("group_cap"),
        anyio.current_time,
        UploadQueue(anyio.current_time),
    )
    registry.subscribe(dispatcher.on_change)
    async with anyio.create_task_group() as tasks:

        async def work(job: JobEntry) -> None:
            await anyio.sleep(JOB_SECONDS)
            service.unfinished -= 1
            registry.apply(job, JobEvent.STATUS_DONE)

        registry.subscribe(
            lambda change: tasks.start_soon(work, change.job) if change.after is JobState.WAITING else None
        )
        tasks.start_soon(dispatcher.run, tasks)
        yield World(registry, service, dispatcher)
        tasks.cancel_scope.cancel()


def test_slots_are_full_and_never_exceeded() -> None:
    async def run() -> None:
        async with world(3) as here:
            here.submit(30)
            await anyio.sleep(10 * (JOB_SECONDS + 2))
            assert here.states() == [JobState.DONE] * 30
            assert here.service.most == 3

    run_virtually(run)


def test_an_outage_pauses_the_queue_and_fails_nothing() -> None:
    """One error pauses all creates: two seconds of nonsense do not cost hundreds of queued songs."""

    async def run() -> None:
        async with world(10) as here:
            here.service.answers.extend([DOWN] * 15)
            here.submit(2000)
            await anyio.sleep(20)
            assert JobState.FAILED not in here.states()
            assert here.dispatcher.wait().reason is WaitReason.PAUSED
            assert len(here.service.creates) < 20  # ten at first, then one at a time
            await anyio.sleep(300)
            assert here.states().count(JobState.DONE) >= 10

    run_virtually(run)


@pytest.mark.parametrize("error", [DOWN, JournalError("disk full")], ids=["service", "journal"])
def test_patience_ends_a_queue_that_nothing_accepts(error: MVSepError) -> None:
    async def run() -> None:
        async with world(2, patience=100.0) as here:
            here.service.answers.extend([error] * 10_000)
            here.submit(50)
            await anyio.sleep(90)
            assert JobState.FAILED not in here.states()
            await anyio.sleep(60)
            assert here.states() == [JobState.FAILED] * 50

    run_virtually(run)


def test_jobs_submitted_while_a_queue_fails_are_not_forgotten() -> None:
    """Each of them is tried or failed: none is left queued with nothing that would move it."""

    async def run() -> None:
        async with world(2, patience=10.0) as here:
            here.service.answers.extend([DOWN] * 40)
            here.submit(500)

            def submit_more(change: Any) -> None:
                if change.after is JobState.FAILED and len(here.jobs) < 900:
                    here.submit(1)

            here.registry.subscribe(submit_more)
            await anyio.sleep(900 * JOB_SECONDS)
            assert set(here.states()) <= {JobState.FAILED, JobState.DONE}

    run_virtually(run)


def test_a_wrong_token_ends_the_queue_at_once() -> None:
    async def run() -> None:
        async with world(None) as here:
            here.service.account_answers.append(AuthenticationError("who?", status=401, reason="Unauthenticated."))
            here.submit(20)
            await anyio.sleep(1)
            assert here.states() == [JobState.FAILED] * 20

    run_virtually(run)


def test_a_token_that_was_good_is_not_given_up_for_one_refusal() -> None:
    async def run() -> None:
        async with world(None) as here:
            here.service.answers.append(AuthenticationError("who?", status=401, reason="Unauthenticated."))
            here.submit(20)
            await anyio.sleep(300)
            assert here.states() == [JobState.DONE] * 20

    run_virtually(run)


def test_the_daily_limit_stops_every_create_until_the_day_is_over() -> None:
    async def run() -> None:
        async with world(1) as here:
            here.service.answers.extend([None, DailyLimitError("used up", status=400)])
            here.service.free_left = 0
            here.submit(4)
            await anyio.sleep(6 * 3600)
            assert here.states() == [JobState.DONE, *[JobState.QUEUED] * 3]
            assert len(here.service.creates) == 2
            assert here.dispatcher.wait().reason is WaitReason.DAILY_LIMIT
            assert here.dispatcher.queue_progress.of(here.jobs[3]).message == "used up"
            here.service.free_left = 50
            await anyio.sleep(3600)
            assert here.states() == [JobState.DONE] * 4
            assert len(here.service.creates) == 5

    run_virtually(run)


def test_without_patience_the_daily_limit_ends_the_queue() -> None:
    async def run() -> None:
        async with world(1, patience=0.0) as here:
            here.service.answers.append(DailyLimitError("used up", status=400))
            here.submit(3)
            await anyio.sleep(10)
            assert here.states() == [JobState.FAILED] * 3
            assert all(isinstance(job.facts.error, DailyLimitError) for job in here.jobs)

    run_virtually(run)


def test_without_patience_the_daily_limit_costs_one_upload_for_all_later_jobs() -> None:
    async def run() -> None:
        async with world(1, patience=0.0) as here:
            here.service.answers.append(DailyLimitError("used up", status=400))
            here.service.free_left = 0
            for _ in range(4):
                here.submit(1)
                await anyio.sleep(10)
            assert here.states() == [JobState.FAILED] * 4
            assert len(here.service.creates) == 1
            here.service.free_left = 1
            here.submit(1)
            await anyio.sleep(2 * JOB_SECONDS)
            assert here.states()[4] is JobState.DONE

    run_virtually(run)


def test_the_reason_of_a_pause_is_published_to_the_job_that_was_refused() -> None:
    async def run() -> None:
        async with world(1) as here:
            here.service.answers.append(DailyLimitError("used up", status=400))
            here.service.free_left = 0
            (job,) = here.submit(1)
            changes = job.subscribe()
            seen = []
            with anyio.move_on_after(30):
                while (progress := await changes.receive()) is not None:
                    seen.append((progress.place, here.dispatcher.paused_by))
            place, paused_by = seen[-1]
            assert place == 0
            assert isinstance(paused_by, DailyLimitError)

    run_virtually(run)


def test_a_stated_refusal_is_believed_though_the_account_lists_nothing() -> None:
    """Another program's job of a minute costs one or two uploads, not one every few seconds."""

    async def run() -> None:
        async with world(1) as here:
            here.service.answers.append(NO_SLOT)
            here.submit(1)
            for _ in range(20):
                await anyio.sleep(1)
                here.dispatcher.update_account(User(current_queue=CurrentQueue(0, ())))
            assert len(here.service.creates) == 1
            await anyio.sleep(60)
            assert here.states() == [JobState.WAITING]
            assert len(here.service.creates) == 2

    run_virtually(run)


def test_invalid_parameters_fail_that_job_alone() -> None:
    async def run() -> None:
        async with world(1) as here:
            here.service.answers.append(InvalidRequestError("no such option", status=400, fields={"add_opt1": ("?",)}))
            here.submit(2)
            await anyio.sleep(2 * JOB_SECONDS)
            assert here.states() == [JobState.FAILED, JobState.DONE]

    run_virtually(run)


@pytest.mark.parametrize(
    "refusal",
    [InvalidRequestError("?", status=400), NO_SLOT, DailyLimitError("no more", status=400)],
    ids=repr,
)
def test_a_refused_job_that_the_account_lists_is_not_sent_again(refusal: MVSepError) -> None:
    async def run() -> None:
        async with world() as here:
            here.service.answers.append(refusal)
            here.service.history_answer = ["20230327071601-0e3e5c6c85-mv0-song.wav"]
            (job,) = here.submit()
            await anyio.sleep(1.5)
            assert (job.state, job.hash) == (JobState.WAITING, here.service.history_answer[0])
            assert len(here.dispatcher._slots.held) == 1
            await anyio.sleep(JOB_SECONDS)
            assert job.state is JobState.DONE
            assert len(here.service.creates) == 1
            assert not here.dispatcher._slots.held

    run_virtually(run)


@pytest.mark.parametrize(
    "refusal",
    [
        InvalidRequestError("?", status=400),
        DailyLimitError("no more", status=400),
        RateLimitedError("later", status=429),
    ],
    ids=repr,
)
def test_a_refused_job_is_in_flight_until_the_account_has_been_asked(refusal: MVSepError) -> None:
    """A crash in between leaves a job that is searched for, and no slot is granted to it a second time."""

    async def run() -> None:
        async with world() as here:
            here.service.answers.append(refusal)
            here.service.others = 0  # the account answers after 0.1 s
            (job,) = here.submit()
            await anyio.sleep(1.05)
            assert (here.service.account_requests, job.state) == (1, JobState.CREATING)
            await anyio.sleep(0.1)
            assert job.state in (JobState.QUEUED, JobState.FAILED)

    run_virtually(run)


@pytest.mark.parametrize(
    "refusal", [InvalidRequestError("?", status=400), AuthenticationError("?", status=401)], ids=repr
)
def test_a_job_that_was_refused_without_a_reason_is_searched_for_before_it_is_sent_again(refusal: MVSepError) -> None:
    """The account may list an accepted job late, so that it does not list it now proves nothing."""

    async def run() -> None:
        async with world() as here:
            here.service.answers.append(refusal)
            here.service.others = 1
            (job,) = here.submit()
            await anyio.sleep(1.5)
            assert (job.state, len(here.dispatcher._slots.held)) == (JobState.LOST, 1)
            here.registry.apply(job, JobEvent.NOT_ACCEPTED)
            await anyio.sleep(JOB_SECONDS)
            assert (job.state, len(here.service.creates)) == (JobState.WAITING, 2)

    run_virtually(run)


@pytest.mark.parametrize("refusal", [InvalidRequestError("?", status=400), NO_SLOT, DailyLimitError("?", status=400)])
@pytest.mark.parametrize(("sep_type", "state"), [(40, JobState.LOST), (None, JobState.LOST), (41, JobState.QUEUED)])
def test_a_refused_job_without_a_file_is_not_sent_again_if_it_may_be_listed(
    refusal: MVSepError, sep_type: int | None, state: JobState
) -> None:
    async def run() -> None:
        async with world() as here:
            here.service.answers.append(refusal)
            here.service.free_left = 0
            here.service.history_answer = ["20230327071601-0e3e5c6c85-song.mp3"]
            here.service.sep_type = sep_type
            (job,) = here.submit(source="https://x.test/song.mp3", settings=JobSettings(algorithm=40))
            await anyio.sleep(1.5)
            assert job.state is (state if says_why(refusal) else JobState.LOST)

    run_virtually(run)


@pytest.mark.parametrize("status", [413, 422])
def test_a_job_that_was_rejected_without_a_reason_is_searched_for_before_it_fails(status: int) -> None:
    async def run() -> None:
        async with world() as here:
            here.service.answers.append(InvalidRequestError("?", status=status))
            (job,) = here.submit()
            await anyio.sleep(1.5)
            assert (job.state, len(here.dispatcher._slots.held)) == (JobState.LOST, 1)
            here.registry.apply(job, JobEvent.NOT_ACCEPTED)
            await anyio.sleep(1)
            assert isinstance(job.facts.error, InvalidRequestError)
            assert len(here.service.creates) == 1
            assert not here.dispatcher._slots.held

    run_virtually(run)


@pytest.mark.parametrize("source", ["https://drive.google.com/file/d/1A2b3C/view", "https://x.test/get.php?id=1"])
@pytest.mark.parametrize("refusal", [NO_SLOT, DailyLimitError("?", status=400)], ids=repr)
def test_a_link_without_a_file_name_is_not_sent_again_if_a_job_of_its_algorithm_is_new(
    refusal: MVSepError, source: str
) -> None:
    async def run() -> None:
        async with world() as here:
            here.service.answers.append(refusal)
            here.service.sep_type, here.service.free_left = 40, 0
            (job,) = here.submit(source=source, settings=JobSettings(algorithm=40))
            await anyio.sleep(0.5)
            here.service.history_answer = ["20230327071601-0e3e5c6c85-song.mp3"]
            await anyio.sleep(1)
            assert (job.state, len(here.service.creates)) == (JobState.LOST, 1)

    run_virtually(run)


@pytest.mark.parametrize("refusal", [NO_SLOT, DailyLimitError("?", status=400)], ids=repr)
def test_a_refused_job_is_searched_for_if_the_lists_cannot_be_read(refusal: MVSepError) -> None:
    """A proxy may have sent the create twice, so that the service has the job and refuses the second request."""

    async def run() -> None:
        async with world() as here:
            here.service.answers.append(refusal)
            here.service.history_answer, here.service.free_left = DOWN, 0
            (job,) = here.submit()
            await anyio.sleep(3)
            assert job.state is JobState.CREATING
            await anyio.sleep(60)
            assert (job.state, len(here.service.creates)) == (JobState.LOST, 1)

    run_virtually(run)


def test_a_rejected_job_needs_no_slot_while_it_is_searched_for_if_the_account_does_not_count_it() -> None:
    async def run() -> None:
        async with world(2) as here:
            here.service.answers.append(InvalidRequestError("?", status=413))
            here.service.others = 0
            here.submit(1)
            await anyio.sleep(2)
            here.submit(2)
            await anyio.sleep(10)
            assert here.states() == [JobState.LOST, JobState.WAITING, JobState.WAITING]
            here.registry.apply(here.jobs[0], JobEvent.FOUND, hash="hash")
            assert len(here.dispatcher._slots.held) == 3
            here.submit(1)
            await anyio.sleep(10)
            assert here.states()[3] is JobState.QUEUED
            await anyio.sleep(2 * JOB_SECONDS)
            assert here.states() == [JobState.DONE] * 4
            assert not here.dispatcher._slots.held

    run_virtually(run)


@pytest.mark.parametrize("error", [SubmissionUnknownError("?"), DOWN], ids=repr)
def test_the_account_is_asked_before_the_slot_of_a_job_is_used_that_the_service_may_have(error: MVSepError) -> None:
    async def run() -> None:
        async with world(1) as here:
            here.service.answers.append(TransportError("reset"))
            here.submit(2)
            await anyio.sleep(2)
            here.service.others = 1
            lost = next(job for job in here.jobs if job.state is JobState.LOST)
            here.registry.apply(lost, JobEvent.FAILED, error=error)
            await anyio.sleep(60)
            assert len(here.service.creates) == 1
            here.service.others = 0
            await anyio.sleep(20)
            assert len(here.service.creates) == 2

    run_virtually(run)


def test_an_account_that_cannot_be_asked_about_a_job_that_ended_is_asked_once() -> None:
    async def run() -> None:
        async with world(1) as here:
            here.service.answers.append(TransportError("reset"))
            here.submit(2)
            await anyio.sleep(2)
            before = here.service.account_requests
            here.service.account_answers.extend([DOWN] * 1000)
            lost = next(job for job in here.jobs if job.state is JobState.LOST)
            here.registry.apply(lost, JobEvent.FAILED, error=DOWN)
            for _ in range(20):
                here.submit(1)
                await anyio.sleep(1)
            assert here.service.account_requests == before + 1

    run_virtually(run)


def test_an_outage_ends_the_queue_after_patience_also_if_a_job_remains_at_the_service() -> None:
    async def run() -> None:
        async with world(2, patience=60.0) as here:
            here.service.answers.extend([TransportError("reset"), *[DOWN] * 1000])
            (first,) = here.submit(1)
            await anyio.sleep(2)
            here.service.account_answers.extend([DOWN] * 1000)
            here.registry.apply(first, JobEvent.FAILED, error=DOWN)
            here.submit(3)
            await anyio.sleep(200)
            assert here.states() == [JobState.FAILED] * 4

    run_virtually(run)


@pytest.mark.parametrize("counted", [True, None])
def test_a_rejected_job_keeps_its_slot_if_the_account_may_have_it(counted: bool | None) -> None:
    async def run() -> None:
        async with world(1) as here:
            here.service.answers.append(InvalidRequestError("?", status=413))
            here.service.others = counted and 1
            here.submit(1)
            await anyio.sleep(2)
            here.submit(1)
            await anyio.sleep(JOB_SECONDS)
            assert here.states() == [JobState.LOST, JobState.QUEUED]

    run_virtually(run)


@pytest.mark.parametrize(("reason", "state"), [("", JobState.LOST), ("no such option", JobState.FAILED)])
def test_an_invalid_job_is_searched_for_if_the_lists_cannot_be_read(reason: str, state: JobState) -> None:
    async def run() -> None:
        async with world() as here:
            here.service.answers.append(InvalidRequestError("?", status=400, reason=reason))
            here.service.history_answer, here.service.others = DOWN, 0
            (job,) = here.submit()
            await anyio.sleep(60)
            assert job.state is state
            if job.state is JobState.LOST:
                here.registry.apply(job, JobEvent.NOT_ACCEPTED)
            await anyio.sleep(1)
            assert isinstance(job.facts.error, InvalidRequestError)
            assert len(here.service.creates) == 1

    run_virtually(run)


def test_a_group_cap_keeps_slots_for_others() -> None:
    async def run() -> None:
        async with world(4, group_cap=1) as here:
            here.submit(3, group="ann")
            await anyio.sleep(5)
            assert here.dispatcher.wait().reason is WaitReason.GROUP_CAP
            here.submit(1, group="bob")
            await anyio.sleep(5)
            assert here.states() == [JobState.WAITING, JobState.QUEUED, JobState.QUEUED, JobState.WAITING]

    run_virtually(run)


def refuse_at(here: World, unfinished: int) -> None:
    """Let the account refuse two creates below its limit, so that as many jobs as now seem to fill it."""
    here.service.others = unfinished
    for number in range(2):
        job = here.registry.add(JobRequest(f"refused{number}", None, JobSettings()))
        here.dispatcher.acquire_slot(job)
        here.dispatcher._slots.refused(anyio.current_time())
        here.dispatcher._slots.release(job.id)
    user = User(premium_enabled=True, premium_minutes=9, current_queue=CurrentQueue(unfinished))
    here.dispatcher.update_account(user)


def test_a_full_account_is_not_asked_again_and_again_for_a_group_that_has_its_slots() -> None:
    """A slot of the account that comes free is of no use then: the next create waits for a job of the group."""

    async def run() -> None:
        async with world(10, group_cap=1) as here:
            here.submit(2, group="ann")
            await anyio.sleep(5)
            refuse_at(here, 3)
            await anyio.sleep(JOB_SECONDS / 2)
            assert here.states() == [JobState.WAITING, JobState.QUEUED]
            assert here.service.account_requests == 0
            await anyio.sleep(2 * JOB_SECONDS)
            assert here.states() == [JobState.DONE] * 2

    run_virtually(run)


@define(eq=False)
class Busy(Coordinator):
    """Grants no slot: it is always the turn of another client."""

    claims: int = 0

    async def claim(self, candidate: JobEntry, *, limit: int, group_cap: int | None) -> str | None:
        self.claims += 1
        return None


def test_the_account_is_not_asked_again_at_once_when_another_client_has_the_turn() -> None:
    async def run() -> None:
        coordinator = Busy(Journal())
        async with world(10, coordinator=coordinator) as here:
            refuse_at(here, 3)
            here.submit(1)
            await anyio.sleep(120)
            assert here.service.account_requests <= 13  # one every 10 seconds
            assert coordinator.claims

    run_virtually(run)


errors = st.sampled_from(
    [
        None,
        None,
        DOWN,
        NO_SLOT,
        NoFreeSlotError("?", status=400),
        JournalError("?"),
        DailyLimitError("?"),
        JobFailedError("?"),
    ]
)


@settings(deadline=None)
@given(answers=st.lists(errors, max_size=30), jobs=st.integers(1, 20), slots=st.integers(1, 4))
def test_whatever_the_service_answers_a_queue_always_has_a_reason_that_ends(
    answers: list[Answer], jobs: int, slots: int
) -> None:
    async def run() -> None:
        async with world(slots) as here:
            here.service.answers.extend(answers)
            here.submit(jobs)
            for _ in range(200):
                await anyio.sleep(7)
                await anyio.wait_all_tasks_blocked()
                wait = here.dispatcher.wait()
                held = any(job.state in (JobState.CREATING, JobState.WAITING) for job in here.jobs)
                assert wait.reason is WaitReason.NOTHING_QUEUED or held or wait.until < float("inf")
            await anyio.sleep(2 * 86_400)
            assert set(here.states()) <= {JobState.DONE, JobState.FAILED}
            assert here.service.most <= slots

    run_virtually(run)


def test_a_lost_job_is_not_given_up_because_the_machine_was_suspended() -> None:
    """While a machine sleeps nothing is tried, so the time does not count towards patience."""

    async def run() -> None:
        async with world(1) as here:
            here.service.answers.append(TransportError("reset"))
            (job,) = here.submit(1)
            await anyio.sleep(3600)
            assert job.state is JobState.LOST
            here.registry.apply(job, JobEvent.NOT_ACCEPTED)
            assert job.state is JobState.QUEUED

    run_virtually(run)


def test_a_network_share_that_hangs_holds_up_no_job(monkeypatch: pytest.MonkeyPatch) -> None:
    """The size of the next song is read in a thread, and only sending ahead waits for it."""
    answers, threads = Event(), list[Thread]()

    def hang(_: JobRequest) -> int:
        threads.append(current_thread())
        answers.wait(30)
        return 0

    async def run() -> None:
        async with world(1) as here:
            here.submit(3)
            await anyio.sleep(3 * (JOB_SECONDS + 2))
            assert here.states() == [JobState.DONE] * 3
            answers.set()

    monkeypatch.setattr(ahead_module, "upload_size", hang)
    run_virtually(run)
    assert threads
    assert main_thread() not in threads


def test_a_job_that_was_cancelled_before_it_was_queued_is_not_sent() -> None:
    async def run() -> None:
        async with world(1) as here:
            cancelled = here.registry.add(JobRequest("mv-cancelled", "song.wav", JobSettings()))
            here.registry.apply(cancelled, JobEvent.CANCELLED)
            here.dispatcher.submit(cancelled)
            here.submit()
            await anyio.sleep(JOB_SECONDS + 2)
            assert here.states() == [JobState.DONE]
            assert cancelled.state is JobState.CANCELLED
            assert len(here.service.creates) == 1

    run_virtually(run)
