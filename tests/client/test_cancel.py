"""`job.cancel()` at every stage of a job's life."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest

from mvsep_async import Job, JobCancelledError, Stage
from mvsep_async.sandbox import Sandbox
from mvsep_async.sandbox.settings import Quirks
from tests.conftest import NewClient, wav

from .support import calls, paid, reached, until


async def assert_cancelled(job: Job) -> None:
    assert job.stage is Stage.CANCELLED
    assert job.done()
    with pytest.raises(JobCancelledError) as caught:
        await job
    assert caught.value.job == job.id
    assert await job.cancel() is False  # it is over already


async def test_in_the_local_queue_nothing_is_sent(held: Sandbox, client_of: NewClient, song: Path) -> None:
    async with client_of(held, concurrency=1) as client:
        first, second, third = [await client.submit(song, algorithm=40) for _ in range(3)]
        await reached(first, Stage.WAITING)
        assert await second.cancel()
        await assert_cancelled(second)
        held.finish(str(first.hash))
        await reached(third, Stage.WAITING)
    assert paid(held) == 2
    assert calls(held, "separation/cancel") == 0


async def test_during_the_upload_the_service_gets_no_job(held: Sandbox, client_of: NewClient, tmp_path: Path) -> None:
    big = tmp_path / "big.wav"
    big.write_bytes(wav(400.0))  # too much for the socket's buffers
    stall = held.faults.add(kind="drop", path="separation/create", count=None)
    async with client_of(held, concurrency=1) as client:
        held.faults.remove(stall)
        job = await client.submit(big, algorithm=40)
        async for progress in job:
            if progress.bytes_sent:
                break
        assert await job.cancel()
        await assert_cancelled(job)
        # Its slot is free again, and the connection pool works.
        await reached(await client.submit(big, algorithm=40), Stage.WAITING)
    assert paid(held) == 1


async def test_while_the_answer_is_held_back_it_is_cancelled_at_the_service(
    held: Sandbox, client_of: NewClient, song: Path
) -> None:
    held.faults.add(kind="delay", path="separation/create", seconds=0.2)
    async with client_of(held) as client:
        job = await client.submit(song, algorithm=40)
        await until(lambda: job.progress.bytes_sent == song.stat().st_size)
        assert await job.cancel()
        await assert_cancelled(job)
    (made,) = held.jobs
    assert made.cancelled
    assert held.minutes(held.premium_token) == 1000.0


@pytest.mark.parametrize("accepted", [True, False])
async def test_while_it_is_searched_for(held: Sandbox, client_of: NewClient, song: Path, accepted: bool) -> None:
    held.faults.add(kind="lose_answer" if accepted else "html", path="separation/create")
    async with client_of(held, poll_interval=0.01) as client:
        job = await client.submit(song, algorithm=40)
        await until(lambda: "searching the service's lists" in str(job.progress.message))
        assert await job.cancel()
        await assert_cancelled(job)
    assert [made.cancelled for made in held.jobs] == [True] * accepted
    assert held.minutes(held.premium_token) == 1000.0


async def test_while_the_service_fetches_its_url(client_of: NewClient, song: Path) -> None:
    async with Sandbox(stems="copy", fetch_seconds=60) as sandbox, client_of(sandbox) as client:
        url = "http://127.0.0.1:1/song.wav"
        sandbox.remote_file(url, song)
        job = await client.submit(url, algorithm=40)
        await until(lambda: job.stage is Stage.FETCHING and job.hash)
        assert await job.cancel()
        await assert_cancelled(job)
        assert sandbox.jobs[0].cancelled


@pytest.mark.parametrize("style", ["not_found", "failed", "cancelled"])
@pytest.mark.parametrize("stage", [Stage.WAITING, Stage.PROCESSING, Stage.DISTRIBUTING, Stage.MERGING])
async def test_at_the_service(client_of: NewClient, song: Path, stage: Stage, style: Any) -> None:
    quirks = Quirks(after_cancel=style)
    async with Sandbox(stems="copy", manual=True, quirks=quirks) as sandbox, client_of(sandbox) as client:
        job = await client.submit(song, algorithm=40)
        await reached(job, Stage.WAITING)
        sandbox.show(str(job.hash), stage.value)
        await reached(job, stage)
        assert await job.cancel()
        await assert_cancelled(job)
        assert sandbox.jobs[0].cancelled
        assert calls(sandbox, "separation/cancel") == 1


@pytest.mark.parametrize("style", ["not_found", "cancelled"])
async def test_a_lost_answer_to_the_cancel_is_no_lost_cancel(client_of: NewClient, song: Path, style: Any) -> None:
    quirks = Quirks(after_cancel=style)
    async with Sandbox(stems="copy", manual=True, quirks=quirks) as sandbox, client_of(sandbox) as client:
        job = await client.submit(song, algorithm=40)
        await reached(job, Stage.WAITING)
        sandbox.start(str(job.hash))
        await reached(job, Stage.PROCESSING)
        sandbox.faults.add(kind="lose_answer", path="separation/cancel")
        assert await job.cancel()
        await assert_cancelled(job)


async def test_a_job_too_young_to_be_found_is_cancelled_as_soon_as_it_is(client_of: NewClient, song: Path) -> None:
    quirks = Quirks(early_not_found=0.3)
    async with Sandbox(stems="copy", manual=True, quirks=quirks) as sandbox, client_of(sandbox) as client:
        job = await client.submit(song, algorithm=40)
        await reached(job, Stage.WAITING)
        assert await job.cancel()
        await assert_cancelled(job)
        assert sandbox.jobs[0].cancelled


async def test_one_that_cannot_be_stopped_continues(client_of: NewClient, song: Path) -> None:
    quirks = Quirks(cancel_processing="refuse")
    async with Sandbox(stems="copy", manual=True, quirks=quirks) as sandbox, client_of(sandbox) as client:
        job = await client.submit(song, algorithm=40)
        await reached(job, Stage.WAITING)
        sandbox.start(str(job.hash))
        assert await job.cancel() is False
        assert job.error is None
        sandbox.finish(str(job.hash))
        await job


async def test_one_that_is_over_stays_so(held: Sandbox, client_of: NewClient, song: Path, tmp_path: Path) -> None:
    async with client_of(held) as client:
        done, failed = [await client.submit(song, algorithm=40) for _ in range(2)]
        await reached(done, Stage.WAITING)
        await reached(failed, Stage.WAITING)
        held.finish(str(done.hash))
        held.fail(str(failed.hash))
        await done
        await until(failed.done)
        assert await done.cancel() is False
        assert await failed.cancel() is False
        cancelled = await client.submit(song, algorithm=40)
        assert await cancelled.cancel() is True
        assert await cancelled.cancel() is False
        await done.download(tmp_path)
        assert await done.cancel() is False
        assert done.stage is Stage.FINISHED


async def test_one_that_ended_unseen_is_not_cancelled(held: Sandbox, client_of: NewClient, song: Path) -> None:
    async with client_of(held, poll_interval=30.0) as client:
        job = await client.submit(song, algorithm=40)
        await reached(job, Stage.WAITING)
        held.finish(str(job.hash))
        assert await job.cancel() is False
        await job
    assert paid(held) == 1


async def test_two_who_cancel_at_once(held: Sandbox, client_of: NewClient, song: Path) -> None:
    held.faults.add(kind="delay", path="separation/create", seconds=0.1)
    answers = []
    async with client_of(held) as client:
        job = await client.submit(song, algorithm=40)
        await until(lambda: job.progress.bytes_sent == song.stat().st_size)

        async def cancel() -> None:
            answers.append(await job.cancel())

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(cancel)
            tasks.start_soon(cancel)
    assert answers == [True, True]
    assert [made.cancelled for made in held.jobs] == [True]


async def test_a_cancelled_cancel_leaves_the_job_as_it_is(held: Sandbox, client_of: NewClient, song: Path) -> None:
    held.faults.add(kind="delay", path="separation/create", seconds=0.1)
    async with client_of(held) as client:
        job = await client.submit(song, algorithm=40)
        await until(lambda: job.progress.bytes_sent == song.stat().st_size)
        with anyio.move_on_after(0.01):
            await job.cancel()
        await reached(job, Stage.WAITING)
        held.finish(str(job.hash))
        await job


async def test_a_create_rate_limited_for_want_of_budget_can_be_cancelled(
    held: Sandbox, client_of: NewClient, song: Path
) -> None:
    held.faults.add(kind="rate_limit", path="separation/create", retry_after=600)
    async with client_of(held, concurrency=1) as client:
        job = await client.submit(song, algorithm=40)
        await until(lambda: held.count_status(429) == 1)
        with anyio.fail_after(60):
            assert await job.cancel()
        await assert_cancelled(job)
    assert paid(held) == 0
