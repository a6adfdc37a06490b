"""Turns: one at a time for each name, and nobody's way barred by somebody who was cancelled."""

from __future__ import annotations

import anyio

from mvsep_async.turns import Turns


async def test_the_same_name_takes_turns_and_others_pass() -> None:
    turns, inside, seen = Turns(), 0, []
    release = anyio.Event()

    async def visit(name: str | None) -> None:
        nonlocal inside
        async with turns.of(name):
            inside += 1
            seen.append(name)
            await release.wait()
            inside -= 1

    async with anyio.create_task_group() as tasks:
        for name in ("a", "a", "b", None, None):
            tasks.start_soon(visit, name)
        await anyio.wait_all_tasks_blocked()
        assert sorted(map(str, seen)) == ["None", "None", "a", "b"]
        assert inside == 4
        release.set()
    assert seen.count("a") == 2
    assert not turns._locks


async def test_a_cancelled_one_leaves_the_way_free() -> None:
    turns = Turns()
    inside = anyio.Event()

    async def stay() -> None:
        async with turns.of("a"):
            inside.set()
            await anyio.sleep_forever()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(stay)
        await inside.wait()
        with anyio.move_on_after(0):
            async with turns.of("a"):
                raise AssertionError("two at a time")
        tasks.cancel_scope.cancel()
    assert not turns._locks
    async with turns.of("a"):
        assert len(turns._locks) == 1
    assert not turns._locks
