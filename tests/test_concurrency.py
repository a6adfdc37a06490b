"""Caller scopes and keyed locks."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from mvsep_async.concurrency import CallerScopes, KeyedLock, in_thread, thread_limiter
from mvsep_async.errors import ClientClosedError
from mvsep_async.sandbox import Sandbox
from tests.conftest import NewClient


async def test_the_same_name_takes_turns_and_others_pass() -> None:
    turns, inside, seen = KeyedLock(), 0, []
    release = anyio.Event()

    async def enter(name: str | None) -> None:
        nonlocal inside
        async with turns.for_key(name):
            inside += 1
            seen.append(name)
            await release.wait()
            inside -= 1

    async with anyio.create_task_group() as tasks:
        for name in ("a", "a", "b", None, None):
            tasks.start_soon(enter, name)
        await anyio.wait_all_tasks_blocked()
        assert sorted(map(str, seen)) == ["None", "None", "a", "b"]
        assert inside == 4
        release.set()
    assert seen.count("a") == 2
    assert not turns._locks


async def test_a_cancelled_one_leaves_the_way_free() -> None:
    turns = KeyedLock()
    inside = anyio.Event()

    async def stay() -> None:
        async with turns.for_key("a"):
            inside.set()
            await anyio.sleep_forever()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(stay)
        await inside.wait()
        with anyio.move_on_after(0):
            async with turns.for_key("a"):
                raise AssertionError("two at a time")
        tasks.cancel_scope.cancel()
    assert not turns._locks
    async with turns.for_key("a"):
        assert len(turns._locks) == 1
    assert not turns._locks


async def test_callers_are_cancelled_and_may_clean_up() -> None:
    callers, begun, kept = CallerScopes(), anyio.Event(), []

    async def download() -> None:
        with pytest.raises(ClientClosedError, match="meanwhile"), callers.enter():
            try:
                begun.set()
                await anyio.sleep_forever()
            finally:
                with anyio.CancelScope(shield=True):
                    await anyio.lowlevel.checkpoint()
                    kept.append("what arrived")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(download)
        await begun.wait()
        callers.closed = True
        await callers.cancel_all()
        assert kept == ["what arrived"]


async def test_entering_after_the_end_raises() -> None:
    callers = CallerScopes(closed=True)
    with pytest.raises(ClientClosedError, match="closed"), callers.enter():
        pytest.fail("was let in")


async def test_a_caller_cancelled_by_its_own_scope_gets_no_closed_error() -> None:
    callers = CallerScopes()
    with anyio.CancelScope() as own, callers.enter():
        own.cancel()
        await anyio.sleep_forever()
    assert own.cancelled_caught


async def test_yielding_raises_if_the_client_was_closed_meanwhile() -> None:
    callers = CallerScopes()

    async def close() -> None:
        callers.closed = True

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(close)
        with pytest.raises(ClientClosedError):
            await callers.maybe_yield()


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_threads_of_ours_are_free_while_the_applications_are_all_busy(backend: str) -> None:
    async def main() -> None:
        theirs = anyio.to_thread.current_default_thread_limiter()
        while theirs.available_tokens:
            theirs.acquire_on_behalf_of_nowait(object())
        with anyio.fail_after(60):
            assert await in_thread(lambda: 42) == 42
        assert thread_limiter() is thread_limiter()

    anyio.run(main, backend=backend)


async def test_a_job_is_done_while_the_applications_threads_are_all_busy(
    sandbox: Sandbox, client_of: NewClient, song: Path, tmp_path: Path
) -> None:
    async with client_of(sandbox, journal=tmp_path / "jobs.sqlite", cache=tmp_path / "cache") as client:
        theirs = anyio.to_thread.current_default_thread_limiter()
        before, theirs.total_tokens = theirs.total_tokens, 0
        try:
            with anyio.fail_after(60):
                paths = await client.separate(song, tmp_path / "out", algorithm="BS Roformer")
        finally:
            theirs.total_tokens = before
    assert all(path.exists() for path in paths)
