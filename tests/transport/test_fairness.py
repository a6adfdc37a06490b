"""FairStep: a lone transfer loses no time, many take one step each, and the loop runs in between."""

from __future__ import annotations

import anyio
import pytest
from attrs import define

from mvsep_async.transport.fairness import QUANTUM, FairStep, fair_step


@define
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@define
class Passes:
    """Counts how often the loop got to run anything else."""

    count: int = 0

    async def run(self) -> None:
        while True:
            await anyio.lowlevel.checkpoint()
            self.count += 1


async def test_a_lone_transfer_continues_until_its_quantum_is_over() -> None:
    clock, passes = Clock(), Passes()
    taken = FairStep(clock)
    async with anyio.create_task_group() as group:
        group.start_soon(passes.run)
        async with taken:
            pass
        before = passes.count
        for _ in range(100):
            clock.now += QUANTUM / 200
            async with taken:
                pass
        assert passes.count == before
        clock.now += QUANTUM
        async with taken:
            pass
        assert passes.count > before
        group.cancel_scope.cancel()


async def test_many_take_one_step_each_in_order() -> None:
    taken, steps = FairStep(), []

    async def transfer(number: int) -> None:
        for _ in range(3):
            async with taken:
                steps.append(number)

    async with anyio.create_task_group() as group, taken:
        for number in range(5):
            group.start_soon(transfer, number)
        await anyio.wait_all_tasks_blocked()
    assert sorted(steps[:5]) == [0, 1, 2, 3, 4]
    assert steps == steps[:5] * 3


async def test_the_loop_runs_between_two_steps_of_many() -> None:
    taken, passes, seen = FairStep(), Passes(), []

    async def transfer() -> None:
        for _ in range(5):
            async with taken:
                seen.append(passes.count)

    async with anyio.create_task_group() as group:
        group.start_soon(passes.run)
        async with anyio.create_task_group() as transfers, taken:
            for _ in range(10):
                transfers.start_soon(transfer)
            await anyio.sleep(0.01)
        group.cancel_scope.cancel()
    assert len(seen) == 50
    assert len(set(seen)) >= 48, "hardly ever two steps in one pass"


async def test_a_cancelled_waiter_lets_the_others_pass() -> None:
    taken, had = FairStep(), []

    async def transfer(name: str, scope: anyio.CancelScope) -> None:
        with scope:
            async with taken:
                had.append(name)

    gone, other = anyio.CancelScope(), anyio.CancelScope()
    async with anyio.create_task_group() as group, taken:
        group.start_soon(transfer, "gone", gone)
        group.start_soon(transfer, "other", other)
        await anyio.wait_all_tasks_blocked()
        gone.cancel()
    assert gone.cancelled_caught
    assert had == ["other"]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_loop_has_one_of_its_own(backend: str) -> None:
    async def main() -> list[FairStep]:
        async with fair_step():
            return [fair_step(), fair_step()]

    first, second = anyio.run(main, backend=backend), anyio.run(main, backend=backend)
    assert first[0] is first[1]
    assert first[0] is not second[0]
