"""Publishing progress to subscribers."""

from __future__ import annotations

import gc

import anyio
from hypothesis import given
from hypothesis import strategies as st

from mvsep_async.jobs.entry import JobEntry
from mvsep_async.jobs.progress import Progress
from mvsep_async.jobs.request import JobRequest, JobSettings, new_id
from mvsep_async.jobs.subscription import Subscription
from mvsep_async.models.stage import Stage


def moment(stage: Stage, sent: int = 0) -> Progress:
    return Progress(stage=stage, bytes_sent=sent)


@given(st.lists(st.tuples(st.sampled_from(Stage), st.integers(0, 5)) | st.none()))
async def test_every_stage_is_seen_in_order_with_its_latest_numbers(steps: list[tuple[Stage, int] | None]) -> None:
    box, put, taken = Subscription(), [], []
    for step in steps:  # None is a reader's turn
        if step is not None:
            put.append(moment(*step))
            box.put(put[-1])
        elif box.pending:
            taken.append(await box.receive())
    while box.pending:
        taken.append(await box.receive())

    def course(seen: list[Progress]) -> list[Stage]:
        return [now.stage for index, now in enumerate(seen) if not index or seen[index - 1].stage is not now.stage]

    seen = [progress for progress in taken if progress is not None]
    assert course(seen) == course(put)
    assert seen[-1:] == put[-1:]


async def test_a_subscription_stays_small_however_many_bytes_pass() -> None:
    box = Subscription()
    for sent in range(10_000):
        box.put(moment(Stage.UPLOADING, sent))
    assert await box.receive() == moment(Stage.UPLOADING, 9_999)
    assert not box.pending


async def test_closing_lets_what_is_there_be_taken_first() -> None:
    box = Subscription()
    box.put(moment(Stage.WAITING))
    box.close()
    assert await box.receive() == moment(Stage.WAITING)
    assert await box.receive() is None


async def test_two_tasks_that_wait_for_one_subscription_both_wake() -> None:
    box = Subscription()
    taken = []

    async def receive() -> None:
        taken.append(await box.receive())

    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(receive)
            tasks.start_soon(receive)
            await anyio.sleep(0.01)
            box.put(moment(Stage.WAITING))
            await anyio.sleep(0)
            box.put(moment(Stage.DONE))
    assert {progress.stage for progress in taken if progress} == {Stage.WAITING, Stage.DONE}


async def test_a_dropped_subscription_needs_no_close() -> None:
    job = JobEntry(JobRequest(new_id(), None, JobSettings()))
    subscription = job.subscribe()
    job.publish(moment(Stage.WAITING))
    assert subscription.pending
    assert job.has_subscribers
    del subscription
    gc.collect()
    assert not job.has_subscribers
    job.publish(moment(Stage.DONE))
    job.close_subscribers()
