"""The one owner of what changes: memory, journal and handles say the same, in this order."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field

from mvsep_async.errors import (
    JobFailedError,
    JournalError,
    MVSepError,
    ServiceUnavailableError,
    SubmissionUnknownError,
    TransportError,
)
from mvsep_async.jobs.facts import Facts
from mvsep_async.jobs.job import Job
from mvsep_async.jobs.journal import NoJournal, Record
from mvsep_async.jobs.lifecycle import Event, ImpossibleEventError, State
from mvsep_async.jobs.progress import Progress
from mvsep_async.jobs.registry import Ledger, goes_on_later
from mvsep_async.jobs.request import Order, Settings
from mvsep_async.models.stage import Stage


@define
class Notes(NoJournal):
    """A journal that remembers what it was told."""

    said: list[tuple[Any, ...]] = field(factory=list)
    broken: bool = False

    def add(self, order: Order) -> None:
        self.said.append(("add", order.id))

    def update(self, job: str, state: State, facts: Facts) -> None:
        self.said.append((job, state, facts.hash))

    def forget(self, orders: Sequence[Order]) -> None:
        self.said.append(("forget", *(order.id for order in orders)))

    async def settle(self, *, synced: bool = False) -> None:
        self.said.append(("settle", synced))
        if self.broken:
            raise JournalError("disk full")


class Nobody:
    closed = False

    def place(self, job: Job) -> Progress:
        return job._progress

    follow = place

    async def cancel(self, job: Job) -> bool:
        raise NotImplementedError

    async def download(self, job: Job, target: object) -> list[Path]:
        raise NotImplementedError


@define
class World:
    notes: Notes = field(factory=Notes)
    changes: list[tuple[State, State]] = field(factory=list)
    ledger: Ledger = field(init=False)

    def __attrs_post_init__(self) -> None:
        react = lambda job, before: self.changes.append((before, job.state))  # noqa: E731
        self.ledger = Ledger(Nobody(), self.notes, react)

    def job(self, source: str | None = "song.wav", **more: Any) -> Job:
        return self.ledger.enter(Order("mv1", source, Settings(), **more))


def test_a_change_reaches_journal_handle_and_scheduler() -> None:
    world = World()
    job = world.job()
    box = job.look_on()
    world.ledger.apply(job, Event.SLOT_TAKEN, attempts=1)
    world.ledger.apply(job, Event.ACCEPTED, hash="h")
    assert world.notes.said == [("add", "mv1"), ("mv1", State.CREATING, None), ("mv1", State.WAITING, "h")]
    assert world.changes == [(State.QUEUED, State.CREATING), (State.CREATING, State.WAITING)]
    assert [progress.stage for progress in box._waiting] == [Stage.UPLOADING, Stage.WAITING]
    assert world.ledger.known(hash="h") is job
    assert job.facts.attempts == 1


def test_an_impossible_event_changes_nothing() -> None:
    world = World()
    job = world.job()
    with pytest.raises(ImpossibleEventError):
        world.ledger.apply(job, Event.SAID_DONE)
    assert job.state is State.QUEUED
    assert world.notes.said == [("add", "mv1")]


async def test_what_is_committed_is_on_disk_before_anybody_knows() -> None:
    world = World()
    job = world.job()
    world.ledger.apply(job, Event.SLOT_TAKEN)
    await world.ledger.commit(job, Event.ACCEPTED, hash="h")
    assert world.notes.said[-2:] == [("mv1", State.WAITING, "h"), ("settle", True)]
    assert job.hash == "h"


async def test_what_happened_at_the_service_happened_even_if_it_cannot_be_written() -> None:
    world = World()
    job = world.job()
    world.ledger.apply(job, Event.SLOT_TAKEN)
    world.notes.broken = True
    with pytest.raises(JournalError):
        await world.ledger.commit(job, Event.ACCEPTED, hash="h")
    assert (job.state, job.hash) == (State.WAITING, "h")


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
    world.ledger.apply(job, Event.SLOT_TAKEN)
    world.ledger.apply(job, Event.ACCEPTED, hash="h")
    world.ledger.apply(job, Event.FAILED, error=error)
    assert goes_on_later(error) is later
    assert job.error is error
    assert world.notes.said[-1][1] is (State.WAITING if later else State.FAILED)


def test_guests_are_not_journaled() -> None:
    world = World()
    job = world.ledger.enter_guest(Order("mv2", None, Settings()), State.WAITING, Facts(hash="h"))
    world.ledger.apply(job, Event.SAID_PROCESSING)
    assert world.notes.said == []
    assert (job.stage, world.ledger.known(hash="h")) == (Stage.PROCESSING, job)


@pytest.mark.parametrize(
    ("source", "stage"),
    [("song.wav", Stage.UPLOADING), ("https://x/a.wav", Stage.FETCHING), (None, Stage.WAITING)],
)
def test_what_a_create_looks_like_from_outside(source: str | None, stage: Stage) -> None:
    world = World()
    job = world.job(source)
    world.ledger.apply(job, Event.SLOT_TAKEN)
    assert job.stage is stage
    world.ledger.apply(job, Event.ANSWER_LOST)
    assert job.stage is stage


def test_progress_never_goes_back_though_the_job_does() -> None:
    world = World()
    job = world.job()
    world.ledger.apply(job, Event.SLOT_TAKEN)
    world.ledger.show(job, Progress(stage=Stage.UPLOADING, bytes_sent=9, bytes_total=10))
    far = job.progress.fraction
    world.ledger.apply(job, Event.NOT_ACCEPTED, progress=Progress(stage=Stage.QUEUED, message="no slot"))
    assert job.stage is Stage.QUEUED
    assert job.progress.message == "no slot"
    assert job.progress.fraction == far


def test_what_is_forgotten_is_found_by_no_name() -> None:
    world = World()
    job = world.ledger.enter(Order("mv1", "a.wav", Settings(), key="k", fingerprint="f"))
    world.ledger.apply(job, Event.SLOT_TAKEN)
    world.ledger.apply(job, Event.URL_ACCEPTED, remote="short")
    world.ledger.apply(job, Event.FETCHED, hash="long")
    names = {"hash": ["short", "long"], "key": ["k"], "fingerprint": ["f"]}
    for name, values in names.items():
        assert all(world.ledger.known(**{name: value}) is job for value in values)
    world.ledger.forget([job])
    for name, values in names.items():
        assert all(world.ledger.known(**{name: value}) is None for value in values)
    assert world.ledger.jobs == {}
    assert world.notes.said[-1] == ("forget", "mv1")


def test_a_restored_job_is_shown_where_it_stood() -> None:
    world = World()
    order = Order("mv1", "a.wav", Settings(), key="k", fingerprint="f")
    job = world.ledger.restore(Record(order, State.MERGING, Facts(hash="h")))
    assert (job.stage, job.hash) == (Stage.MERGING, "h")
    assert world.ledger.known(key="k") is world.ledger.known(fingerprint="f") is world.ledger.known(hash="h") is job
    assert world.notes.said == []


def test_forgetting_one_handle_of_a_job_leaves_the_other_one_known() -> None:
    world = World()
    old = world.ledger.enter_guest(Order("mv1", None, Settings()), State.WAITING, Facts(hash="h"))
    new = world.ledger.enter_guest(Order("mv2", None, Settings()), State.WAITING, Facts(hash="h"))
    world.ledger.forget([old])
    assert world.ledger.known(hash="h") is new
    world.ledger.forget([new])
    assert world.ledger.known(hash="h") is None
