"""Uploads run in turn, one or two at a time."""

from __future__ import annotations

import anyio
import pytest
from attrs import define, field

from mvsep_async.submission.upload_queue import UploadConcurrency, UploadQueue


@define
class World:
    now: float = 0.0
    idle: int = 0
    begun: list[str] = field(factory=list)
    uploads: UploadQueue = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.uploads = UploadQueue(lambda: self.now, self._on_idle)

    def _on_idle(self) -> None:
        self.idle += 1

    async def upload(self, job: str, order: float | None, until: anyio.Event, *, size: int = 100) -> None:
        async with self.uploads.turn(job, size, order) as turn:
            self.begun.append(job)
            await until.wait()
            self.uploads.release(turn)


async def test_one_at_a_time_in_order_those_without_a_slot_last() -> None:
    world, ends = World(), {name: anyio.Event() for name in "abcd"}
    async with anyio.create_task_group() as tasks:
        for name, order in (("a", 1.0), ("d", None), ("c", 3.0), ("b", 2.0)):
            tasks.start_soon(world.upload, name, order, ends[name])
            await anyio.wait_all_tasks_blocked()
        for count, name in enumerate("abcd", start=1):
            assert world.begun == list("abcd"[:count])
            assert not world.uploads.idle
            ends[name].set()
            await anyio.wait_all_tasks_blocked()
    assert world.uploads.idle
    assert world.idle == 1


async def test_a_job_that_gets_its_slot_moves_ahead() -> None:
    world, ends = World(), {name: anyio.Event() for name in "abc"}
    async with anyio.create_task_group() as tasks:
        for name, order in (("a", 1.0), ("b", None), ("c", None)):
            tasks.start_soon(world.upload, name, order, ends[name])
            await anyio.wait_all_tasks_blocked()
        world.uploads.promote("c", 2.0)
        world.uploads.promote("nobody", 2.0)
        for end in ends.values():
            end.set()
    assert world.begun == ["a", "c", "b"]


async def test_a_cancelled_upload_ends_its_turn_waiting_or_sending() -> None:
    world, end = World(), anyio.Event()
    scopes = {name: anyio.CancelScope() for name in ("first", "second")}

    async def upload(name: str, order: float) -> None:
        with scopes[name]:
            await world.upload(name, order, anyio.Event())

    async with anyio.create_task_group() as tasks:
        for order, name in enumerate(scopes):
            tasks.start_soon(upload, name, order)
            await anyio.wait_all_tasks_blocked()
        tasks.start_soon(world.upload, "third", 3.0, end)
        await anyio.wait_all_tasks_blocked()
        scopes["second"].cancel()
        await anyio.wait_all_tasks_blocked()
        assert world.begun == ["first"]
        scopes["first"].cancel()
        await anyio.wait_all_tasks_blocked()
        assert world.begun == ["first", "third"]
        end.set()
    assert world.uploads.idle


async def test_the_rate_is_measured() -> None:
    world = World()
    for seconds in (2.0, 2.0, 1.0):
        async with world.uploads.turn("job", 100, 1.0) as turn:
            world.now += seconds
            world.uploads.release(turn)
            world.uploads.release(turn)
    assert world.uploads.rate == 50 + 0.3 * 50


def test_two_uploads_are_tried_when_the_rate_of_one_is_known_and_others_wait() -> None:
    width = UploadConcurrency()
    assert width.next(waiting=9) == 1
    width.measured(1, 100.0)
    assert width.next(waiting=3) == 1
    assert width.next(waiting=4) == 2


@pytest.mark.parametrize(("together", "best"), [(119.0, 1), (120.0, 2)])
def test_two_uploads_stay_if_they_send_a_fifth_more_than_one(together: float, best: int) -> None:
    width = UploadConcurrency()
    width.measured(1, 100.0)
    width.measured(2, together)
    assert width.best == width.next(waiting=9) == best


def test_the_other_width_is_tried_again_now_and_then() -> None:
    width = UploadConcurrency()
    width.measured(1, 100.0)
    width.measured(2, 200.0)
    nexts = []
    for _ in range(16):
        nexts.append(width.next(waiting=9))
        width.measured(2, 100.0)  # the line has become slower
    assert nexts == [2] * 16
    assert width.next(waiting=9) == 1
    width.measured(1, 100.0)
    assert width.next(waiting=9) == 1


@pytest.mark.parametrize(
    ("seconds", "begun"), [(20.0, ["a", "abc", "abc", "abcd"]), (10.0, ["a", "abc", "abcd", "abcde"])]
)
async def test_two_uploads_run_at_one_time_while_that_is_faster(seconds: float, begun: list[str]) -> None:
    """One upload takes ten seconds alone, and `seconds` beside another one."""
    world, ends = World(), {name: anyio.Event() for name in "abcde"}
    seen = []
    async with anyio.create_task_group() as tasks:
        for order, name in enumerate(ends):
            tasks.start_soon(world.upload, name, float(order), ends[name])
            await anyio.wait_all_tasks_blocked()
        for name, took in (("a", 10.0), ("b", seconds), ("c", 0.0)):
            seen.append("".join(world.begun))
            world.now += took
            ends[name].set()
            await anyio.wait_all_tasks_blocked()
        seen.append("".join(world.begun))
        for name in "de":
            ends[name].set()
    assert seen == begun
    assert world.uploads.idle
