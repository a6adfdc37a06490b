"""Uploads take turns on the line."""

from __future__ import annotations

import anyio
from attrs import define, field

from mvsep_async.submission.line import UploadLine


@define
class World:
    now: float = 0.0
    idle: int = 0
    begun: list[str] = field(factory=list)
    line: UploadLine = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.line = UploadLine(lambda: self.now, self._on_idle)

    def _on_idle(self) -> None:
        self.idle += 1

    async def upload(self, job: str, order: float | None, until: anyio.Event, *, size: int = 100) -> None:
        async with self.line.turn(job, size, order) as turn:
            self.begun.append(job)
            await until.wait()
            self.line.release(turn)


async def test_one_at_a_time_in_order_those_without_a_slot_last() -> None:
    world, ends = World(), {name: anyio.Event() for name in "abcd"}
    async with anyio.create_task_group() as tasks:
        for name, order in (("a", 1.0), ("d", None), ("c", 3.0), ("b", 2.0)):
            tasks.start_soon(world.upload, name, order, ends[name])
            await anyio.wait_all_tasks_blocked()
        for count, name in enumerate("abcd", start=1):
            assert world.begun == list("abcd"[:count])
            assert not world.line.idle
            ends[name].set()
            await anyio.wait_all_tasks_blocked()
    assert world.line.idle
    assert world.idle == 1


async def test_a_job_that_gets_its_slot_moves_ahead() -> None:
    world, ends = World(), {name: anyio.Event() for name in "abc"}
    async with anyio.create_task_group() as tasks:
        for name, order in (("a", 1.0), ("b", None), ("c", None)):
            tasks.start_soon(world.upload, name, order, ends[name])
            await anyio.wait_all_tasks_blocked()
        world.line.promote("c", 2.0)
        world.line.promote("nobody", 2.0)
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
    assert world.line.idle


async def test_the_rate_is_measured() -> None:
    world = World()
    for seconds in (2.0, 2.0, 1.0):
        async with world.line.turn("job", 100, 1.0) as turn:
            world.now += seconds
            world.line.release(turn)
            world.line.release(turn)
    assert world.line.rate == 50 + 0.3 * 50
