"""The registry: memory, journal and subscribers agree, and changes are observed in order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st

from mvsep_async.errors import (
    JobFailedError,
    JournalError,
    MVSepError,
    ServiceUnavailableError,
    SubmissionUnknownError,
    TransportError,
)
from mvsep_async.jobs.entry import JobEntry
from mvsep_async.jobs.facts import Facts
from mvsep_async.jobs.failures import resumes_later
from mvsep_async.jobs.journal import Journal, Record
from mvsep_async.jobs.lifecycle import IllegalEventError, JobEvent, JobState
from mvsep_async.jobs.progress import Progress
from mvsep_async.jobs.registry import Change, JobRegistry
from mvsep_async.jobs.request import JobRequest, JobSettings
from mvsep_async.models.stage import Stage


@define
class Notes(Journal):
    """A journal that remembers what it was told."""

    said: list[tuple[Any, ...]] = field(factory=list)
    broken: bool = False

    def add(self, request: JobRequest) -> None:
        self.said.append(("add", request.id))

    def update(self, job: str, state: JobState, facts: Facts) -> None:
        self.said.append((job, state, facts.hash))

    def forget(self, requests: Sequence[JobRequest]) -> None:
        self.said.append(("forget", *(request.id for request in requests)))

    async def flush(self, *, synced: bool = False) -> None:
        self.said.append(("flush", synced))
        if self.broken:
            raise JournalError("disk full")


@define
class World:
    notes: Notes = field(factory=Notes)
    changes: list[tuple[JobState, JobState]] = field(factory=list)
    registry: JobRegistry = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.registry = JobRegistry(self.notes)
        self.registry.subscribe(lambda change: self.changes.append((change.before, change.after)))

    def job(self, source: str | None = "song.wav", **more: Any) -> JobEntry:
        return self.registry.add(JobRequest("mv1", source, JobSettings(), **more))


@pytest.mark.parametrize(
    ("events", "followed"),
    [
        ([], True),
        ([JobEvent.UPLOAD_BEGAN], True),
        ([JobEvent.SLOT_TAKEN], True),
        ([JobEvent.SLOT_TAKEN, JobEvent.OUTCOME_UNKNOWN], True),
        ([JobEvent.SLOT_TAKEN, JobEvent.ACCEPTED], False),
    ],
    ids=str,
)
def test_a_song_that_may_be_sent_again_is_sent_from_where_it_was_moved(events: list[JobEvent], followed: bool) -> None:
    registry = JobRegistry(Journal())
    job = registry.add(JobRequest("mv1", "before.wav", JobSettings(), fingerprint="a"))
    for event in events:
        registry.apply(job, event)
    registry.song_moved(job, JobRequest("mv2", "after.wav", JobSettings(), fingerprint="b"))
    assert job.request.source == ("after.wav" if followed else "before.wav")
    assert registry.find("fingerprint", "b") is job


def test_changes_made_by_an_observer_follow_the_change_that_caused_them() -> None:
    """Every observer sees the changes in one order, and none is called while another one is at work."""
    world = World()
    job = world.job()
    world.registry.apply(job, JobEvent.SLOT_TAKEN)
    active = 0

    def cancel_when_queued_again(change: Change) -> None:
        nonlocal active
        active += 1
        assert active == 1
        if change.after is JobState.QUEUED:
            world.registry.apply(job, JobEvent.CANCELLED)
        active -= 1

    later: list[JobState] = []
    world.registry.subscribe(cancel_when_queued_again)
    world.registry.subscribe(lambda change: later.append(change.after))
    world.registry.apply(job, JobEvent.NOT_ACCEPTED)
    assert later == [JobState.QUEUED, JobState.CANCELLED]
    assert world.changes[1:] == [(JobState.CREATING, JobState.QUEUED), (JobState.QUEUED, JobState.CANCELLED)]


def test_an_observer_that_raises_loses_no_change() -> None:
    world = World()
    job = world.job()
    failing = True

    def observe(change: Change) -> None:
        if failing:
            raise RuntimeError("a fault")

    world.registry.subscribe(observe)
    with pytest.raises(RuntimeError):
        world.registry.apply(job, JobEvent.SLOT_TAKEN)
    failing = False
    world.registry.apply(job, JobEvent.NOT_ACCEPTED)
    assert world.changes[-1] == (JobState.CREATING, JobState.QUEUED)


@given(st.lists(st.floats(0, 1e10), min_size=2))
def test_stamps_rise_however_the_clock_is_set(times: list[float]) -> None:
    registry = JobRegistry(Journal())
    with pytest.MonkeyPatch.context() as patch:
        clock = iter(times)
        patch.setattr("time.time", lambda: next(clock))
        stamps = [registry.stamp() for _ in times]
    assert stamps == sorted(set(stamps))


def test_stamps_continue_after_those_of_the_journal() -> None:
    registry = JobRegistry(Journal())
    late = 4e9  # written by a process whose clock was ahead
    registry.restore(Record(JobRequest("mv1", "a.wav", JobSettings()), JobState.WAITING, Facts(accepted_at=late)))
    assert registry.stamp() > late


async def test_a_change_reaches_journal_subscribers_and_observers() -> None:
    world = World()
    job = world.job()
    subscription = job.subscribe()
    world.registry.apply(job, JobEvent.SLOT_TAKEN, attempts=1)
    world.registry.apply(job, JobEvent.ACCEPTED, hash="h")
    assert world.notes.said == [("add", "mv1"), ("mv1", JobState.CREATING, None), ("mv1", JobState.WAITING, "h")]
    assert world.changes == [(JobState.QUEUED, JobState.CREATING), (JobState.CREATING, JobState.WAITING)]
    seen = [await subscription.receive(), await subscription.receive()]
    assert [progress and progress.stage for progress in seen] == [Stage.UPLOADING, Stage.WAITING]
    assert world.registry.find("hash", "h") is job
    assert job.facts.attempts == 1


def test_an_impossible_event_changes_nothing() -> None:
    world = World()
    job = world.job()
    with pytest.raises(IllegalEventError):
        world.registry.apply(job, JobEvent.STATUS_DONE)
    assert job.state is JobState.QUEUED
    assert world.notes.said == [("add", "mv1")]


async def test_what_is_committed_is_on_disk_before_anybody_knows() -> None:
    world = World()
    job = world.job()
    world.registry.apply(job, JobEvent.SLOT_TAKEN)
    await world.registry.commit(job, JobEvent.ACCEPTED, hash="h")
    assert world.notes.said[-2:] == [("mv1", JobState.WAITING, "h"), ("flush", True)]
    assert job.hash == "h"


async def test_what_happened_at_the_service_happened_even_if_it_cannot_be_written() -> None:
    world = World()
    job = world.job()
    world.registry.apply(job, JobEvent.SLOT_TAKEN)
    world.notes.broken = True
    with pytest.raises(JournalError):
        await world.registry.commit(job, JobEvent.ACCEPTED, hash="h")
    assert (job.state, job.hash) == (JobState.WAITING, "h")


@pytest.mark.parametrize(
    ("error", "later"),
    [
        (TransportError("no connection"), True),
        (ServiceUnavailableError("down"), True),
        (JournalError("disk full"), True),
        (SubmissionUnknownError("lost"), False),
        (JobFailedError("no luck"), False),
    ],
)
def test_an_error_that_passes_leaves_the_journal_where_it_was(error: MVSepError, later: bool) -> None:
    world = World()
    job = world.job()
    world.registry.apply(job, JobEvent.SLOT_TAKEN)
    world.registry.apply(job, JobEvent.ACCEPTED, hash="h")
    world.registry.apply(job, JobEvent.FAILED, error=error)
    assert resumes_later(error) is later
    assert job.facts.error is error
    assert world.notes.said[-1][1] is (JobState.WAITING if later else JobState.FAILED)
    assert world.registry.may_be_paid(job) is later
    assert world.registry.resume(job) is later
    assert (job.state, job.facts.error) == ((JobState.WAITING, None) if later else (JobState.FAILED, error))
    assert not world.registry.resume(job)


@pytest.mark.parametrize(
    ("events", "paid"), [([JobEvent.OUTCOME_UNKNOWN], True), ([JobEvent.NOT_ACCEPTED], False), ([], True)]
)
def test_a_job_that_failed_temporarily_may_be_paid_if_its_create_was_not_refused(
    events: list[JobEvent], paid: bool
) -> None:
    world = World()
    job = world.job()
    world.registry.apply(job, JobEvent.SLOT_TAKEN, attempts=1)
    for event in (*events, JobEvent.FAILED):
        world.registry.apply(job, event, error=TransportError("no connection"))
    assert world.registry.may_be_paid(job) is paid


def test_a_hash_names_the_job_of_the_journal_also_if_it_was_attached_to_before() -> None:
    world = World()
    attached = world.registry.add_unrecorded(JobRequest("mv2", None, JobSettings()), JobState.WAITING, Facts(hash="h"))
    job = world.job()
    world.registry.apply(job, JobEvent.SLOT_TAKEN)
    world.registry.apply(job, JobEvent.OUTCOME_UNKNOWN)
    world.registry.apply(job, JobEvent.FOUND, hash="h")
    world.registry.apply(attached, JobEvent.STATUS_PROCESSING)
    assert world.registry.find("hash", "h") is job


def test_attached_jobs_are_not_recorded() -> None:
    world = World()
    job = world.registry.add_unrecorded(JobRequest("mv2", None, JobSettings()), JobState.WAITING, Facts(hash="h"))
    world.registry.apply(job, JobEvent.STATUS_PROCESSING)
    assert world.notes.said == []
    assert (job.stage, world.registry.find("hash", "h")) == (Stage.PROCESSING, job)


@pytest.mark.parametrize(
    ("source", "stage"),
    [("song.wav", Stage.UPLOADING), ("https://x/a.wav", Stage.FETCHING), (None, Stage.WAITING)],
)
def test_what_a_create_looks_like_from_outside(source: str | None, stage: Stage) -> None:
    world = World()
    job = world.job(source)
    world.registry.apply(job, JobEvent.SLOT_TAKEN)
    assert job.stage is stage
    world.registry.apply(job, JobEvent.OUTCOME_UNKNOWN)
    assert job.stage is stage


def test_progress_never_goes_back_though_the_job_does() -> None:
    world = World()
    job = world.job()
    world.registry.apply(job, JobEvent.SLOT_TAKEN)
    world.registry.show(job, Progress(stage=Stage.UPLOADING, bytes_sent=9, bytes_total=10))
    far = job.progress.fraction
    world.registry.apply(job, JobEvent.NOT_ACCEPTED, progress=Progress(stage=Stage.QUEUED, message="no slot"))
    assert job.stage is Stage.QUEUED
    assert job.progress.message == "no slot"
    assert job.progress.fraction == far


def test_what_is_forgotten_is_found_by_no_name() -> None:
    world = World()
    job = world.registry.add(JobRequest("mv1", "a.wav", JobSettings(), key="k", fingerprint="f"))
    world.registry.apply(job, JobEvent.SLOT_TAKEN)
    world.registry.apply(job, JobEvent.URL_ACCEPTED, remote="short")
    world.registry.apply(job, JobEvent.FETCHED, hash="long")
    names = {"hash": ["short", "long"], "key": ["k"], "fingerprint": ["f"]}
    for name, values in names.items():
        assert all(world.registry.find(name, value) is job for value in values)
    world.registry.forget([job])
    for name, values in names.items():
        assert all(world.registry.find(name, value) is None for value in values)
    assert world.registry.jobs == {}
    assert world.notes.said[-1] == ("forget", "mv1")


def test_a_restored_job_is_shown_where_it_stood() -> None:
    world = World()
    request = JobRequest("mv1", "a.wav", JobSettings(), key="k", fingerprint="f")
    job = world.registry.restore(Record(request, JobState.MERGING, Facts(hash="h")))
    assert (job.stage, job.hash) == (Stage.MERGING, "h")
    assert (
        world.registry.find("key", "k")
        is world.registry.find("fingerprint", "f")
        is world.registry.find("hash", "h")
        is job
    )
    assert world.notes.said == []


def test_forgetting_one_handle_of_a_job_leaves_the_other_one_known() -> None:
    world = World()
    old = world.registry.add_unrecorded(JobRequest("mv1", None, JobSettings()), JobState.WAITING, Facts(hash="h"))
    new = world.registry.add_unrecorded(JobRequest("mv2", None, JobSettings()), JobState.WAITING, Facts(hash="h"))
    world.registry.forget([old])
    assert world.registry.find("hash", "h") is new
    world.registry.forget([new])
    assert world.registry.find("hash", "h") is None


def test_the_fraction_of_another_client_s_job_never_goes_down() -> None:
    registry = JobRegistry(Journal())
    record = Record(JobRequest("mv0", "song.flac", JobSettings()), JobState.DOWNLOADING, Facts(hash="h"))
    job = registry.mirror(record)
    seen = []
    for fraction in (0.9, 0.1, None, 0.95):
        registry.mirror(record, Progress(stage=Stage.DOWNLOADING, fraction=fraction))
        seen.append(job.progress.fraction)
    assert seen == [0.9, 0.9, 0.9, 0.95]


def test_a_job_that_is_taken_back_before_its_loss_was_noticed_keeps_its_handles() -> None:
    registry = JobRegistry(Notes())
    job = registry.add(JobRequest("id", "song.wav", JobSettings()))
    for _ in range(2):  # taken over, and by `Job.download` at the same time
        assert registry.restore(Record(job.request, JobState.DONE, Facts(hash="h"))) is job
    assert registry.jobs == {"id": job}
    assert job.done()
