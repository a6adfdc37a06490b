"""Events are emitted once, where they happen, and a listener cannot break the client."""

from __future__ import annotations

import logging
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from attrs import exceptions

from mvsep_async import ConfigurationError, MVSepClient, MVSepError, Stage
from mvsep_async.observe import (
    Answered,
    BudgetWaited,
    Downloaded,
    Event,
    Left,
    Retried,
    SlotFreed,
    SlotTaken,
    Submitted,
    Uploaded,
)
from mvsep_async.sandbox import Sandbox
from tests.client.support import reached, until
from tests.conftest import STRANGER, NewClient


def kinds(events: list[Event]) -> list[str]:
    return [type(event).__name__ for event in events]


def only(events: list[Event], kind: type[Any]) -> Any:
    (event,) = [event for event in events if isinstance(event, kind)]
    return event


async def test_a_job_emits_each_step_once_and_in_order(
    sandbox: Sandbox, client_of: NewClient, song: Path, tmp_path: Path
) -> None:
    events: list[Event] = []
    async with client_of(sandbox, concurrency=3, on_event=events.append) as client:
        job = await client.submit(song, algorithm=40, group="ann")
        await job
        paths = await job.download(tmp_path / "stems")
    assert kinds(events) == [
        "Submitted",
        "SlotTaken",
        "Uploaded",
        "SlotFreed",
        "Answered",
        *["Downloaded"] * len(paths),
    ]
    assert only(events, Submitted) == Submitted(job.id, 40, "ann")
    assert only(events, SlotTaken) == SlotTaken(job.id, 1, 3, 1)
    assert only(events, SlotFreed) == SlotFreed(job.id, 0, 3)
    uploaded, answered = only(events, Uploaded), only(events, Answered)
    assert (uploaded.job, uploaded.hash) == (job.id, job.hash)
    assert uploaded.size == song.stat().st_size
    assert uploaded.seconds > 0
    assert (answered.job, answered.hash, answered.stage, answered.error) == (job.id, job.hash, Stage.DONE, None)
    assert answered.seconds > 0
    downloaded = [event for event in events if isinstance(event, Downloaded)]
    assert {event.path for event in downloaded} == set(paths)
    assert all(event.job == job.id for event in downloaded)
    assert all(event.size == event.received == event.path.stat().st_size for event in downloaded)


async def test_a_stem_that_is_on_disk_emits_nothing(
    sandbox: Sandbox, client_of: NewClient, song: Path, tmp_path: Path
) -> None:
    events: list[Event] = []
    async with client_of(sandbox, on_event=events.append) as client:
        job = await client.submit(song, algorithm=40)
        paths = await job.download(tmp_path)
        await job.download(tmp_path)
    assert kinds(events).count("Downloaded") == len(paths)


async def test_every_submitted_job_emits_one_answer(held: Sandbox, client_of: NewClient, song: Path) -> None:
    events: list[Event] = []
    async with client_of(held, concurrency=3, on_event=events.append) as client:
        done, failed, cancelled, queued = [await client.submit(song, algorithm=40) for _ in range(4)]
        await reached(cancelled, Stage.WAITING)
        await reached(failed, Stage.WAITING)
        await reached(done, Stage.WAITING)
        assert await queued.cancel()
        assert await cancelled.cancel()
        held.fail(str(failed.hash), "no audio in it")
        held.finish(str(done.hash))
        async for _ in failed:
            pass
        await done
        body = {"success": False, "errors": {"sep_type": ["The selected sep type is invalid."]}}
        held.faults.add(kind="refuse", path="separation/create", status=400, body=body)
        refused = await client.submit(song, algorithm=40)
        async for _ in refused:
            pass
    answers = {event.job: event for event in events if isinstance(event, Answered)}
    assert Counter(kinds(events))["Answered"] == Counter(kinds(events))["Submitted"] == len(answers) == 5
    assert answers[done.id].stage is Stage.DONE
    assert answers[failed.id].stage is Stage.FAILED
    assert "no audio in it" in str(answers[failed.id].error)
    assert answers[cancelled.id].stage is Stage.CANCELLED
    assert answers[cancelled.id].seconds is not None
    assert (answers[queued.id].stage, answers[queued.id].seconds) == (Stage.CANCELLED, None)
    assert (answers[refused.id].stage, answers[refused.id].seconds) == (Stage.FAILED, None)
    assert kinds(events).count("SlotTaken") == kinds(events).count("SlotFreed") == 4
    assert "Left" not in kinds(events)


async def test_closing_emits_left_for_unfinished_jobs(held: Sandbox, client_of: NewClient, song: Path) -> None:
    events: list[Event] = []
    async with client_of(held, concurrency=2, on_event=events.append) as client:
        jobs = [await client.submit(song, algorithm=40) for _ in range(4)]
        await reached(jobs[0], Stage.WAITING)
        await reached(jobs[1], Stage.WAITING)
    left = [event for event in events if isinstance(event, Left)]
    assert [(event.job, event.hash, event.stage) for event in left] == [
        (job.id, job.hash, Stage.WAITING) for job in jobs[:2]
    ]


async def test_a_refused_create_frees_its_slot_and_is_retried(client_of: NewClient, song: Path) -> None:
    events: list[Event] = []
    async with Sandbox(stems="copy", job_seconds=0.0, premium_limit=1) as sandbox:
        sandbox.occupy(sandbox.premium_token, 1)
        async with client_of(sandbox, concurrency=1, on_event=events.append) as client:
            job = await client.submit(song, algorithm=40)
            await until(lambda: "Retried" in kinds(events))
            sandbox.release(sandbox.premium_token)
            await job
    assert kinds(events)[:4] == ["Submitted", "SlotTaken", "Retried", "SlotFreed"]
    retried = next(event for event in events if isinstance(event, Retried))
    assert (retried.what, retried.job) == ("create", job.id)
    assert [event.attempt for event in events if isinstance(event, SlotTaken)][:2] == [1, 2]
    assert kinds(events).count("Uploaded") == kinds(events).count("Answered") == 1


@pytest.mark.parametrize("accepted", [True, False])
async def test_a_create_with_a_lost_answer_emits_when_it_is_found_or_resent(
    client_of: NewClient, song: Path, accepted: bool
) -> None:
    events: list[Event] = []
    async with Sandbox(stems="copy", job_seconds=0.0) as sandbox:
        sandbox.faults.add(kind="lose_answer" if accepted else "html", path="separation/create")
        async with client_of(sandbox, concurrency=1, on_event=events.append) as client:
            job = await client.submit(song, algorithm=40)
            await job
    uploaded = only(events, Uploaded)
    assert uploaded.hash == job.hash
    assert uploaded.seconds > 0
    retries = [event.what for event in events if isinstance(event, Retried) and event.job == job.id]
    assert ("create" in retries) is not accepted
    assert kinds(events).count("Answered") == 1


async def test_retries_of_polls_downloads_and_calls_are_emitted(
    sandbox: Sandbox, client_of: NewClient, song: Path, tmp_path: Path
) -> None:
    events: list[Event] = []
    sandbox.faults.add(kind="html", path="separation/get")
    sandbox.faults.add(kind="cut_response", path="/storage/*", after_bytes=100)
    async with client_of(sandbox, concurrency=1, on_event=events.append) as client:
        job = await client.submit(song, algorithm=40)
        await job.download(tmp_path)
        sandbox.faults.add(kind="html", path="app/user")
        await client.account.user()
    retried = [(event.what, event.job) for event in events if isinstance(event, Retried)]
    assert retried == [("poll", job.id), ("download", job.id), ("app/user", None)]
    assert all(event.error for event in events if isinstance(event, Retried))


async def test_a_wait_for_the_budget_is_emitted(sandbox: Sandbox, client_of: NewClient) -> None:
    events: list[Event] = []
    sandbox.faults.add(kind="rate_limit", path="app/user", retry_after=1)
    async with client_of(sandbox, on_event=events.append) as client:
        await client.account.user()
    waited = [event for event in events if isinstance(event, BudgetWaited)]
    assert waited
    assert all(0 < event.seconds <= 1.5 for event in waited)


async def test_a_listener_that_raises_is_logged(
    sandbox: Sandbox, client_of: NewClient, song: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(event: Event) -> None:
        raise RuntimeError(f"cannot bear {type(event).__name__}")

    async with client_of(sandbox, on_event=broken) as client:
        assert await client.separate(song, tmp_path, algorithm=40)
    failures = [record for record in caplog.records if "on_event hook raised" in record.message]
    assert {"Submitted", "Answered", "Downloaded"} <= {record.message.split()[-1] for record in failures}
    assert all(record.levelno == logging.ERROR for record in failures)


async def test_a_coroutine_function_is_refused_as_listener() -> None:
    async def wrong(event: Event) -> None:
        raise AssertionError("nobody would await this")

    with pytest.raises(ConfigurationError, match="on_event"):
        MVSepClient(STRANGER, on_event=wrong)  # type: ignore[arg-type]


async def test_no_event_holds_the_token(sandbox: Sandbox, client_of: NewClient, song: Path, tmp_path: Path) -> None:
    events: list[Event] = []
    token = sandbox.premium_token
    echo = {"status": 400, "body": f'{{"message": "what is {token}? /api/app/user?api_token={token}"}}'}
    sandbox.faults.add(kind="refuse", path="separation/create", **echo)
    sandbox.faults.add(kind="html", path="separation/get")
    sandbox.faults.add(kind="lose_answer", path="separation/create", skip=1)
    async with client_of(sandbox, on_event=events.append) as client:
        for _ in range(3):
            job = await client.submit(song, algorithm=40)
            with suppress(MVSepError):
                await job.download(tmp_path)
    assert {"Retried", "Answered"} <= set(kinds(events))
    assert token not in repr(events)


def test_events_are_frozen_values() -> None:
    event = Submitted("job", 40, None)
    assert event == Submitted("job", 40, None)
    with pytest.raises(exceptions.FrozenInstanceError):
        event.job = "another"  # type: ignore[misc]
