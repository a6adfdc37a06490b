"""The gate in virtual time: the order of requests, and callers that stop waiting."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable

import anyio
import pytest
import trio.testing

from mvsep_async.http.budget import RESERVE, WINDOW, Budget
from mvsep_async.http.call import Priority
from mvsep_async.http.gate import Gate


def in_virtual_time(test: Callable[[], Awaitable[None]]) -> None:
    """Run `test` on trio with a clock that jumps to the next thing that happens."""
    trio.run(test, clock=trio.testing.MockClock(autojump_threshold=0))


async def send(gate: Gate, priority: Priority, sent: list[tuple[str, float]], name: str, takes: float = 0.0) -> None:
    async with gate.admit(priority):
        sent.append((name, anyio.current_time()))
        await anyio.sleep(takes)


def test_requests_beyond_the_budget_go_out_a_minute_after_earlier_answers() -> None:
    async def scene() -> None:
        gate, sent, start = Gate(Budget(fixed=2)), [], anyio.current_time()
        async with anyio.create_task_group() as tasks:
            for number in range(4):
                tasks.start_soon(send, gate, Priority.CREATE, sent, str(number), 5.0)
        assert [round(at - start) for _, at in sent] == [0, 0, 65, 65]

    in_virtual_time(scene)


def test_the_higher_priority_goes_first_and_then_who_came_first() -> None:
    async def scene() -> None:
        gate, sent = Gate(Budget(fixed=1)), list[tuple[str, float]]()
        async with anyio.create_task_group() as tasks, gate.admit(Priority.CREATE):
            for priority in (Priority.REST, Priority.POLL, Priority.CREATE, Priority.LIKELY, Priority.CANCEL):
                for number in "12":
                    tasks.start_soon(send, gate, priority, sent, f"{priority.name}{number}")
                    await anyio.wait_all_tasks_blocked()
        assert [name for name, _ in sent] == [f"{priority.name}{number}" for priority in Priority for number in "12"]

    in_virtual_time(scene)


def test_a_create_passes_looks_that_wait_and_uses_the_reserve() -> None:
    async def scene() -> None:
        gate, sent, start = Gate(Budget(fixed=10)), list[tuple[str, float]](), anyio.current_time()
        async with anyio.create_task_group() as tasks:
            for number in range(10):
                tasks.start_soon(send, gate, Priority.POLL, sent, f"look{number}")
            await anyio.wait_all_tasks_blocked()
            assert len(sent) == 10 - RESERVE
            assert gate.spare() == 0
            await send(gate, Priority.CREATE, sent, "create")
            assert sent[-1] == ("create", start)

    in_virtual_time(scene)


def test_headers_teach_and_no_answer_counts_too() -> None:
    async def scene() -> None:
        gate = Gate(Budget())
        async with gate.admit(Priority.REST) as admitted:
            admitted.headers = {"x-ratelimit-limit": "7", "x-ratelimit-remaining": "4"}
        assert gate.budget.limit == 7
        assert gate.spare() == 4 - RESERVE
        async with gate.admit(Priority.REST):
            pass
        assert gate.spare() == 3 - RESERVE
        async with gate.admit(Priority.REST) as admitted:
            admitted.sent = False
        assert gate.spare() == 3 - RESERVE

    in_virtual_time(scene)


def test_a_refusal_holds_everybody_back() -> None:
    async def scene() -> None:
        gate, sent, start = Gate(Budget()), list[tuple[str, float]](), anyio.current_time()
        gate.rate_limited(20.0)
        await send(gate, Priority.CREATE, sent, "create")
        assert sent[0][1] - start == pytest.approx(20.0)

    in_virtual_time(scene)


def test_waiting_is_reported_once_and_as_seconds() -> None:
    async def scene() -> None:
        told: list[float] = []
        gate = Gate(Budget(fixed=1), on_wait=told.append)
        sent: list[tuple[str, float]] = []
        await send(gate, Priority.CREATE, sent, "first")
        assert told == []
        await anyio.sleep(10)
        await send(gate, Priority.CREATE, sent, "second")
        assert told == [pytest.approx(WINDOW - 10)]

    in_virtual_time(scene)


def test_cancelled_waiters_lose_nothing_and_stall_no_other() -> None:
    async def scene() -> None:
        lot = random.Random(5)
        gate, sent = Gate(Budget(fixed=3)), list[tuple[str, float]]()

        async def impatient(name: str, patience: float) -> None:
            with anyio.move_on_after(patience):
                await send(gate, lot.choice(list(Priority)), sent, name, takes=lot.uniform(0, 30))

        async with anyio.create_task_group() as tasks:
            for number in range(120):
                tasks.start_soon(impatient, str(number), lot.uniform(0, 600))
                await anyio.sleep(lot.uniform(0, 5))
        times = sorted(at for _, at in sent)
        assert all(later - earlier >= WINDOW for earlier, later in zip(times, times[3:], strict=False))
        assert len(sent) >= 10
        await anyio.sleep(WINDOW)
        assert gate.spare() == 3 - RESERVE, "every unit came back"
        for number in range(3):
            with anyio.fail_after(1):
                await send(gate, Priority.CREATE, sent, f"after{number}")

    in_virtual_time(scene)


async def test_the_first_in_line_leaves_and_the_next_takes_its_turn() -> None:
    """On asyncio, without time passing: the room comes from a request that was never sent."""
    gate, sent = Gate(Budget(fixed=1)), list[tuple[str, float]]()
    async with anyio.create_task_group() as tasks, gate.admit(Priority.CREATE) as admitted:
        admitted.sent = False
        first = anyio.CancelScope()

        async def wait_first() -> None:
            with first:
                await send(gate, Priority.CREATE, sent, "first")

        tasks.start_soon(wait_first)
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(send, gate, Priority.POLL, sent, "second")
        await anyio.wait_all_tasks_blocked()
        first.cancel()
        await anyio.wait_all_tasks_blocked()
        assert sent == []
    assert [name for name, _ in sent] == ["second"]
