"""Opening and closing a client in different tasks, and using it in the wrong process or thread."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from mvsep_async import ClientClosedError, ConfigurationError, MVSepClient
from mvsep_async.models.stage import Stage
from mvsep_async.sandbox import Sandbox
from tests.client.support import paid, reached, until
from tests.conftest import NewClient


async def in_task(function: Any) -> Any:
    """Await `function()` in a task of its own."""
    return await asyncio.ensure_future(function())


async def test_a_client_is_opened_in_one_task_and_closed_in_another(
    sandbox: Sandbox, client_of: NewClient, song: Path, tmp_path: Path
) -> None:
    client = client_of(sandbox)
    await in_task(client.open)
    paths = await in_task(lambda: client.separate(song, tmp_path, algorithm=40))
    assert all(path.exists() for path in paths)
    await in_task(client.aclose)
    with pytest.raises(ClientClosedError):
        client.jobs()


async def test_the_block_form_too_may_be_left_in_another_task(
    sandbox: Sandbox, client_of: NewClient, song: Path
) -> None:
    client = client_of(sandbox)
    await in_task(client.__aenter__)
    assert await client.submit(song, algorithm=40)
    await in_task(lambda: client.__aexit__(None, None, None))


async def test_the_task_that_opened_it_may_be_cancelled(sandbox: Sandbox, client_of: NewClient, song: Path) -> None:
    client = client_of(sandbox)

    async def setup_hook() -> None:
        await client.open()
        await anyio.sleep_forever()

    hook = asyncio.ensure_future(setup_hook())
    await until(lambda: client.__repr__().endswith("open>"))
    hook.cancel()
    await asyncio.wait([hook])
    job = await client.submit(song, algorithm=40)
    await job
    await client.aclose()


async def test_an_error_of_the_block_is_not_hidden_by_the_closing(sandbox: Sandbox, client_of: NewClient) -> None:
    with pytest.raises(LookupError, match="the caller's own"):
        async with client_of(sandbox):
            raise LookupError("the caller's own")


async def test_closing_twice_is_harmless(sandbox: Sandbox, client_of: NewClient) -> None:
    client = client_of(sandbox)
    await client.open()
    await client.aclose()
    await client.aclose()


async def test_a_loop_that_ends_without_closing_leaves_the_journal_free(tmp_path: Path, song: Path) -> None:
    async with Sandbox(stems="copy", manual=True) as sandbox:

        def forgetful() -> None:
            async def main() -> None:
                client = MVSepClient(sandbox.premium_token, base_url=sandbox.url, journal=tmp_path / "jobs.db")
                await client.open()
                job = await client.submit(song, algorithm=40)
                await reached(job, Stage.WAITING)

            asyncio.run(main())

        await anyio.to_thread.run_sync(forgetful)
        async with MVSepClient(sandbox.premium_token, base_url=sandbox.url, journal=tmp_path / "jobs.db") as client:
            (job,) = client.jobs()
            assert job.stage is Stage.WAITING
        assert paid(sandbox) == 1


async def test_a_source_that_raises_cancelled_error_ends_its_stream_alone(
    sandbox: Sandbox, client_of: NewClient, song: Path
) -> None:
    def songs() -> Any:
        yield song
        raise asyncio.CancelledError("a cancelled download of the caller's")

    async with client_of(sandbox) as client:
        finished = []
        with pytest.raises(asyncio.CancelledError):
            async for job in client.map(songs(), algorithm=40):
                finished.append(job)
        assert [job.error for job in finished] == [None]
        await (await client.submit(song, algorithm=40))


async def test_plain_calls_work_in_callbacks_of_the_loop(held: Sandbox, client_of: NewClient, song: Path) -> None:
    async with client_of(held, concurrency=1) as client:
        first = await client.submit(song, algorithm=40)
        second = await client.submit(song, algorithm=40)
        await reached(first, Stage.WAITING)
        done = asyncio.get_running_loop().create_future()

        def callback() -> None:
            try:
                found = (second.progress.place, client.poll_soon(str(first.hash)), len(client.jobs()))
                attached = client.attach("20230327071601-0e3e5c6c85-13-dimensions.mp3")
                client.map([song], algorithm=40)
                done.set_result((*found, attached.stage))
            except BaseException as error:
                done.set_exception(error)

        asyncio.get_running_loop().call_soon(callback)
        assert await done == (0, True, 2, Stage.WAITING)


async def test_use_in_another_thread_is_refused_with_what_to_do(
    sandbox: Sandbox, client_of: NewClient, song: Path
) -> None:
    async with client_of(sandbox) as client:
        errors: list[Exception] = []

        def elsewhere() -> None:
            try:
                asyncio.run(client.submit(song, algorithm=40))  # type: ignore[arg-type]
            except Exception as error:
                errors.append(error)

        thread = threading.Thread(target=elsewhere)
        thread.start()
        await anyio.to_thread.run_sync(thread.join)
        assert isinstance(errors[0], ConfigurationError)
        assert "run_coroutine_threadsafe" in str(errors[0])
    assert paid(sandbox) == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forking is for POSIX")
async def test_use_in_a_forked_child_is_refused_with_what_to_do(sandbox: Sandbox, client_of: NewClient) -> None:
    async with client_of(sandbox) as client:
        ours, theirs = multiprocessing.Pipe()
        child = os.fork()
        if child == 0:
            try:
                client.jobs()
            except ConfigurationError as error:
                theirs.send(str(error))
            finally:
                os._exit(0)
        assert await anyio.to_thread.run_sync(ours.poll, 10)
        assert "another process" in ours.recv()
        os.waitpid(child, 0)


async def test_in_an_async_generator_as_fixtures_are(sandbox: Sandbox, client_of: NewClient, song: Path) -> None:
    async def fixture() -> AsyncIterator[MVSepClient]:
        async with client_of(sandbox) as client:
            yield client

    generator = fixture()
    client = await in_task(lambda: anext(generator))
    await (await client.submit(song, algorithm=40))
    with pytest.raises(StopAsyncIteration):
        await in_task(lambda: anext(generator))
