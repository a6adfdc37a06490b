"""Jobs in the local queue show how the queue moves."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mvsep_async import ClientClosedError, Job, MVSepClient, Progress, Stage
from mvsep_async.jobs.job import entry_of
from mvsep_async.sandbox import Sandbox
from mvsep_async.scheduling.queue import FairQueue
from mvsep_async.scheduling.queue_progress import estimated_wait
from tests.client.support import until
from tests.conftest import NewClient


async def in_line(client: MVSepClient, song: Path, count: int, **settings: object) -> list[Job]:
    """Submit so many jobs and wait until the first of them has the only slot."""
    jobs = [await client.submit(song, algorithm=40, **settings) for _ in range(count)]  # type: ignore[arg-type]
    await until(lambda: jobs[0].stage is Stage.WAITING)
    return jobs


async def place_of(changes: AsyncIterator[Progress], place: int | None) -> Progress:
    """Take changes until one shows this place."""
    with anyio.fail_after(60):
        async for progress in changes:
            if progress.place == place:
                return progress
    raise AssertionError(f"the job was over before its place was {place}")


async def end_one(sandbox: Sandbox) -> None:
    """End the job that has the slot, once the service has it."""
    await until(lambda: any(job.done_at is None for job in sandbox.jobs))
    sandbox.finish(next(job.hash for job in sandbox.jobs if job.done_at is None))


async def test_a_waiting_job_shows_each_place_that_it_moves_up_to(
    held: Sandbox, client_of: NewClient, song: Path
) -> None:
    async with client_of(held, concurrency=1) as client:
        jobs = await in_line(client, song, 4)
        changes = aiter(jobs[-1])
        first = await anext(changes)
        assert (first.stage, first.place) == (Stage.QUEUED, 2)
        for place in (1, 0):
            await end_one(held)
            told = await place_of(changes, place)
            assert told.stage is Stage.QUEUED
            assert told.place == jobs[-1].progress.place
        await end_one(held)
        assert (await place_of(changes, None)).stage is not Stage.QUEUED


async def test_a_queued_job_moves_when_one_before_it_is_cancelled_or_one_comes_in_between(
    held: Sandbox, client_of: NewClient, song: Path
) -> None:
    async with client_of(held, concurrency=1) as client:
        jobs = await in_line(client, song, 3)
        changes = aiter(jobs[-1])
        assert (await anext(changes)).place == 1
        assert await jobs[1].cancel()
        await place_of(changes, 0)
        urgent = await client.submit(song, algorithm=40, priority=1)
        await place_of(changes, 1)
        assert urgent.progress.place == 0


async def test_the_estimated_start_is_learned_from_the_jobs_that_ended(
    held: Sandbox, client_of: NewClient, song: Path
) -> None:
    async with client_of(held, concurrency=1) as client:
        jobs = await in_line(client, song, 6)
        changes = aiter(jobs[-1])
        assert (await anext(changes)).starts_in is None
        for place in (3, 2, 1):
            await end_one(held)
            told = await place_of(changes, place)
        assert told.starts_in is not None
        assert told.starts_in > 0
        behind = await client.submit(song, algorithm=40)
        assert (behind.progress.starts_in or 0.0) > told.starts_in


async def test_a_group_at_its_cap_waits_for_its_own_jobs_however_many_slots_are_free(
    held: Sandbox, client_of: NewClient, song: Path
) -> None:
    async with client_of(held, concurrency=5, group_cap=1) as client:
        jobs = await in_line(client, song, 3, group="ann")
        assert jobs[1].progress.starts_in is None, "it would start at once if slots were all that counts"
        for _ in range(3):
            done = await client.submit(song, algorithm=40, group="bob")
            await until(lambda done=done: done.stage is Stage.WAITING)
            held.finish(str(done.hash))
            await done
        starts = [job.progress.starts_in for job in jobs[1:]]
        assert starts[1] == pytest.approx(2 * starts[0])


async def test_awaiting_a_job_does_not_make_anybody_count_places(
    held: Sandbox, client_of: NewClient, song: Path
) -> None:
    async with client_of(held, concurrency=1) as client:
        jobs = await in_line(client, song, 3)
        box = entry_of(jobs[2]).subscribe()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(jobs[2].wait)
            for number in (1, 2):
                await end_one(held)
                await until(lambda number=number: jobs[number].stage is Stage.WAITING)
            tasks.cancel_scope.cancel()
        told = [await box.receive() for _ in range(2)]
        assert [(progress.stage, progress.place) for progress in told if progress] == [
            (Stage.UPLOADING, None),
            (Stage.WAITING, None),
        ]


async def test_iterating_a_waiting_job_ends_when_the_client_is_closed(
    held: Sandbox, client_of: NewClient, song: Path
) -> None:
    async with client_of(held, concurrency=1) as client:
        jobs = await in_line(client, song, 2)
        changes = aiter(jobs[-1])
        await anext(changes)
    with pytest.raises(ClientClosedError):
        await place_of(changes, -1)


seconds = st.floats(0.001, 1e6)
few = st.integers(0, 1000)


@given(place=few, free=few, more=few, stay=seconds)
def test_a_turn_comes_later_the_further_back_and_at_once_while_slots_are_free(
    place: int, free: int, more: int, stay: float
) -> None:
    width = free + more
    turn = estimated_wait(place, free=free, slots=width, slot_time=stay)
    assert turn is not None
    assert (turn == 0.0) == (place < free)
    assert turn <= (estimated_wait(place + 1, free=free, slots=width, slot_time=stay) or 0.0)
    assert estimated_wait(place, free=free, slots=width, slot_time=None) in (None, 0.0)


entries = st.lists(st.tuples(st.sampled_from(["a", "b", None]), st.integers(-1, 1)), min_size=1, max_size=20)


@given(entries=entries, returned=st.integers(0, 3))
def test_the_place_in_its_group_is_how_many_of_it_go_first(
    entries: list[tuple[str | None, int]], returned: int
) -> None:
    queue: FairQueue[int] = FairQueue(lambda item: entries[item])
    for item in range(len(entries)):
        queue.push(item)
    taken = []
    while len(taken) < min(returned, len(entries)):
        item = queue.peek()
        assert item is not None
        queue.take(item)
        taken.append(item)
    for item in taken:
        queue.push_first(item)
    places = [queue.place_in_group(item) for item in range(len(entries))]
    gone: dict[str | None, int] = {}
    while (item := queue.peek()) is not None:
        queue.take(item)
        group = entries[item][0]
        assert places[item] == gone.get(group, 0)
        gone[group] = gone.get(group, 0) + 1
