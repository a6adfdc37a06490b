"""Job handles: awaited, iterated and dropped, by any number of tasks."""

from __future__ import annotations

import asyncio
import gc
from pathlib import Path

import anyio
import pytest

from mvsep_async import Job, JobFailedError, JobTimeoutError, Progress, Separation, Stage
from mvsep_async.errors import MVSepError
from mvsep_async.jobs.job import entry_of
from mvsep_async.sandbox import Sandbox
from tests.conftest import NewClient

from .support import all_of, paid, reached, stages, until


async def test_two_iterators_see_the_whole_course_each(held: Sandbox, client_of: NewClient, song: Path) -> None:
    courses: list[list[Progress]] = []
    async with client_of(held) as client, anyio.create_task_group() as tasks:
        job = await client.submit(song, algorithm=40)

        async def subscribe() -> None:
            courses.append(await all_of(aiter(job)))

        tasks.start_soon(subscribe)
        tasks.start_soon(subscribe)
        await reached(job, Stage.WAITING)
        held.start(str(job.hash))
        await reached(job, Stage.PROCESSING)
        held.show(str(job.hash), "distributing", finished_chunks=2, all_chunks=5)
        await reached(job, Stage.DISTRIBUTING)
        held.show(str(job.hash), "merging", finished_chunks=5, all_chunks=5)
        await reached(job, Stage.MERGING)
        held.finish(str(job.hash))
        await job
    course = [
        Stage.QUEUED,
        Stage.UPLOADING,
        Stage.WAITING,
        Stage.PROCESSING,
        Stage.DISTRIBUTING,
        Stage.MERGING,
        Stage.DONE,
    ]
    assert [stages(seen) for seen in courses] == [course, course]
    for seen in courses:
        fractions = [progress.fraction for progress in seen]
        assert None not in fractions
        assert fractions == sorted(fractions)  # type: ignore[type-var]
        assert fractions[-1] == 1.0
        (chunks,) = {
            (progress.chunks_done, progress.chunks_total)
            for progress in seen
            if progress.stage is Stage.DISTRIBUTING and progress.chunks_total
        }
        assert chunks == (2, 5)


async def test_places_in_the_services_queue_are_shown(held: Sandbox, client_of: NewClient, song: Path) -> None:
    async with client_of(held) as client:
        job = await client.submit(song, algorithm=40)
        await reached(job, Stage.WAITING)
        held.show(str(job.hash), "waiting", current_order=7, queue_count=9)
        await until(lambda: (job.progress.queue_position, job.progress.queue_length) == (7, 9))
        before = job.progress.fraction
        held.show(str(job.hash), "waiting", current_order=1, queue_count=9)
        await until(lambda: job.progress.queue_position == 1)
        assert before is not None
        assert job.progress.fraction is not None
        assert job.progress.fraction > before


async def test_an_unknown_status_means_still_working(held: Sandbox, client_of: NewClient, song: Path) -> None:
    async with client_of(held) as client:
        job = await client.submit(song, algorithm=40)
        await reached(job, Stage.WAITING)
        held.show(str(job.hash), "shuffling", message="soon")
        await until(lambda: job.progress.message == "soon")
        assert job.stage is Stage.WAITING
        held.finish(str(job.hash))
        await job


async def test_an_iterator_abandoned_half_way_leaves_nothing(held: Sandbox, client_of: NewClient, song: Path) -> None:
    async with client_of(held) as client:
        job = await client.submit(song, algorithm=40)
        async for progress in job:
            if progress.stage is Stage.WAITING:
                break
        gc.collect()
        assert not entry_of(job).has_subscribers
        held.finish(str(job.hash))
        assert isinstance(await job, Separation)


async def test_a_late_iterator_gets_the_end_alone(sandbox: Sandbox, client_of: NewClient, song: Path) -> None:
    async with client_of(sandbox) as client:
        job = await client.submit(song, algorithm=40)
        first = await job
        assert [progress.stage for progress in await all_of(aiter(job))] == [Stage.DONE]
        assert await job is first
        assert await job.wait(timeout=0) is first
    # What is over stays known after the client's block.
    assert [progress.stage for progress in await all_of(aiter(job))] == [Stage.DONE]
    assert await job is first


async def test_a_failed_job_ends_its_iterators_quietly_and_its_awaiters_with_the_error(
    held: Sandbox, client_of: NewClient, song: Path
) -> None:
    async with client_of(held) as client:
        job = await client.submit(song, algorithm=40)
        await reached(job, Stage.WAITING)
        held.fail(str(job.hash), "The GPU is on fire")
        seen = await all_of(aiter(job))
        assert seen[-1].stage is Stage.FAILED
        assert "The GPU is on fire" in str(seen[-1].message)
        for _ in range(2):
            with pytest.raises(JobFailedError, match="The GPU is on fire") as caught:
                await job
            assert (caught.value.job, caught.value.hash) == (job.id, job.hash)
            assert caught.value is job.error
        assert (job.stage, job.done()) == (Stage.FAILED, True)


async def test_an_error_raised_many_times_collects_no_frames(held: Sandbox, client_of: NewClient, song: Path) -> None:
    def depth(error: BaseException) -> int:
        frames, trace = 0, error.__traceback__
        while trace is not None:
            frames, trace = frames + 1, trace.tb_next
        return frames

    async with client_of(held) as client:
        job = await client.submit(song, algorithm=40)
        await reached(job, Stage.WAITING)
        held.fail(str(job.hash))
        depths = []
        for _ in range(4):
            with pytest.raises(JobFailedError) as caught:
                await job
            depths.append(depth(caught.value))
    assert len(set(depths)) == 1


async def test_a_wait_that_expires_leaves_the_job_alone(held: Sandbox, client_of: NewClient, song: Path) -> None:
    async with client_of(held) as client:
        job = await client.submit(song, algorithm=40)
        await reached(job, Stage.WAITING)
        with pytest.raises(JobTimeoutError) as caught:
            await job.wait(timeout=0.01)
        assert isinstance(caught.value, TimeoutError)
        assert isinstance(caught.value, MVSepError)
        assert (caught.value.job, caught.value.hash) == (job.id, job.hash)
        assert str(job.hash) in str(caught.value)
        assert (job.stage, job.error) == (Stage.WAITING, None)
        held.finish(str(job.hash))
        await job.wait(timeout=60)


async def test_awaiting_works_with_asyncios_own_tools(held: Sandbox, client_of: NewClient, song: Path) -> None:
    async with client_of(held) as client:
        jobs = [await client.submit(song, algorithm=40) for _ in range(2)]
        await reached(jobs[0], Stage.WAITING)
        await reached(jobs[1], Stage.WAITING)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(jobs[0], 0.01)
        for job in jobs:
            held.finish(str(job.hash))
        separations = await asyncio.gather(*jobs)
        assert [separation.hash for separation in separations] == [job.hash for job in jobs]
    assert paid(held) == 2


async def test_a_cancelled_waiter_cancels_nothing(held: Sandbox, client_of: NewClient, song: Path) -> None:
    async with client_of(held) as client:
        job = await client.submit(song, algorithm=40)
        await reached(job, Stage.WAITING)
        waiters = [asyncio.ensure_future(job.wait()), asyncio.ensure_future(all_of(aiter(job)))]
        other = asyncio.ensure_future(job.wait())
        await asyncio.sleep(0)
        for waiter in waiters:
            waiter.cancel()
        await asyncio.wait(waiters)
        assert all(waiter.cancelled() for waiter in waiters)
        held.finish(str(job.hash))
        assert (await other).hash == job.hash
    assert not held.jobs[0].cancelled


async def test_a_slow_reader_sees_every_stage_and_the_latest_numbers_of_each(
    held: Sandbox, client_of: NewClient, song: Path
) -> None:
    async with client_of(held) as client:
        job = await client.submit(song, algorithm=40)
        slow = aiter(job)
        seen = [await anext(slow)]
        await reached(job, Stage.WAITING)
        held.start(str(job.hash))
        for done in range(1, 4):
            held.show(str(job.hash), "distributing", finished_chunks=done, all_chunks=3)
            await until(lambda done=done: job.progress.chunks_done == done)
        held.finish(str(job.hash))
        await job
        seen += [progress async for progress in slow]
    course = stages(seen)
    assert len(course) == len(seen)  # one of each
    assert course[:3] == [Stage.QUEUED, Stage.UPLOADING, Stage.WAITING]
    assert course[-2:] == [Stage.DISTRIBUTING, Stage.DONE]
    assert seen[-2].chunks_done == 3


async def test_the_separation_is_returned_while_another_task_downloads(
    sandbox: Sandbox, client_of: NewClient, song: Path, tmp_path: Path
) -> None:
    async with client_of(sandbox) as client:
        job = await client.submit(song, algorithm=40)
        await job
        stall = sandbox.faults.add(kind="stall", path="/storage/*", after_bytes=100, seconds=600, count=None)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(job.download, tmp_path)
            await reached(job, Stage.DOWNLOADING)
            with anyio.fail_after(60):
                assert (await job).hash == job.hash
            sandbox.faults.remove(stall)
            tasks.cancel_scope.cancel()


async def test_prune_forgets_what_is_over_and_nothing_else(held: Sandbox, client_of: NewClient, song: Path) -> None:
    async with client_of(held) as client:
        first, second, third = [await client.submit(song, algorithm=40, key=key) for key in "abc"]
        for job in (first, second, third):
            await reached(job, Stage.WAITING)
        held.finish(str(first.hash))
        held.finish(str(second.hash))
        await first
        await second
        assert await client.prune([first, third]) == 1
        assert client.jobs() == [second, third]
        assert await client.prune() == 1
        assert client.jobs() == [third]
        assert await client.submit(song, algorithm=40, key="a") is not first
        assert client.attach(str(second.hash)) is not second


async def test_a_handle_says_what_it_is(held: Sandbox, client_of: NewClient, song: Path) -> None:
    async with client_of(held) as client:
        job = await client.submit(song, algorithm=40)
        await reached(job, Stage.WAITING)
        assert repr(job) == f"<Job {job.id} waiting {job.hash}>"
        assert isinstance(job, Job)
        assert repr(client) == f"<MVSepClient {held.url} open>"
    assert repr(client).endswith("closed>")
