"""Leaving the client's block: quickly, cleanly, and with an error for those who still wait."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from mvsep_async import ClientClosedError, Job, MVSepClient, MVSepError, Stage
from mvsep_async.sandbox import Sandbox
from tests.conftest import STRANGER, NewClient, wav

from .support import Stream, paid, reached, until


class OwnError(Exception):
    pass


async def test_unfinished_jobs_stay_at_the_service(held: Sandbox, client_of: NewClient, song: Path) -> None:
    async with client_of(held, concurrency=1) as client:
        at_service, queued = [await client.submit(song, algorithm=40) for _ in range(2)]
        await reached(at_service, Stage.WAITING)
    assert held.unfinished(held.premium_token) == 1
    for job, said in ((at_service, f"attach({at_service.hash!r})"), (queued, "not sent")):
        with pytest.raises(ClientClosedError) as caught:
            await job
        assert said in str(caught.value)
        assert (caught.value.job, caught.value.hash) == (job.id, job.hash)


async def test_waiting_callers_get_an_error(held: Sandbox, client_of: NewClient, song: Path) -> None:
    told: list[MVSepError] = []

    async def expect(awaitable: Any) -> None:
        try:
            await awaitable
        except ClientClosedError as error:
            told.append(error)

    async def iterate(job: Job) -> None:
        async for _ in job:
            pass

    async with anyio.create_task_group() as tasks, client_of(held) as client:
        job = await client.submit(song, algorithm=40)
        await reached(job, Stage.WAITING)
        for waiting in (
            job.wait(),
            iterate(job),
            job.download("nowhere"),
            client.separate(song, "x", algorithm=40),
        ):
            tasks.start_soon(expect, waiting)
        source = Stream(b"RIFF", b"more", held_before=1)
        tasks.start_soon(expect, client.submit(source, algorithm=40, filename="a.wav"))
        await source.reached.wait()
        await until(lambda: paid(held) == 2)
    assert len(told) == 5


async def test_a_download_under_way_is_ended_and_can_be_continued(
    sandbox: Sandbox, client_of: NewClient, tmp_path: Path
) -> None:
    song = tmp_path / "song.wav"
    song.write_bytes(wav(60.0))
    caught: list[BaseException] = []
    async with httpx.AsyncClient() as own, anyio.create_task_group() as tasks, client_of(sandbox, http=own) as client:
        job = await client.submit(song, algorithm=40)
        await job
        sandbox.faults.add(kind="stall", path="/storage/*", after_bytes=1_000_000, seconds=1, count=None)

        async def download() -> None:
            try:
                await job.download(tmp_path / "stems")
            except ClientClosedError as error:
                caught.append(error)

        tasks.start_soon(download)
        await until(lambda: (job.progress.bytes_received or 0) >= 1_000_000)
    assert len(caught) == 1
    assert list((tmp_path / "stems").rglob("*.mp3")) == []
    sandbox.faults.clear()
    async with client_of(sandbox) as client:
        paths = await client.attach(str(job.hash)).download(tmp_path / "stems", layout="song/{stem}")
    assert {path.read_bytes() for path in paths} == {song.read_bytes()}
    # What was there was not fetched again.
    assert any(request.status == 206 for request in sandbox.requests)


async def test_calls_after_closing_raise_an_error(
    sandbox: Sandbox, client_of: NewClient, song: Path, tmp_path: Path
) -> None:
    async with client_of(sandbox) as client:
        job = await client.submit(song, algorithm=40)
        await job
        account = client.account
    for call in (job.download(tmp_path), job.cancel(), client.catalogue(), client.submit(song, algorithm=40)):
        with pytest.raises(ClientClosedError):
            await call
    with pytest.raises(MVSepError):
        await account.user()


async def test_the_callers_own_error_comes_out_as_it_is(held: Sandbox, client_of: NewClient, song: Path) -> None:
    with pytest.raises(OwnError):
        async with client_of(held) as client:
            await reached(await client.submit(song, algorithm=40), Stage.WAITING)
            raise OwnError


async def test_a_cancelled_body_closes_too(held: Sandbox, client_of: NewClient, song: Path, tmp_path: Path) -> None:
    waiting = anyio.Event()

    async def body() -> None:
        async with client_of(held, journal=tmp_path / "journal.db") as client:
            job = await client.submit(song, algorithm=40)
            await reached(job, Stage.WAITING)
            waiting.set()
            await job

    for how in ("anyio", "asyncio"):
        waiting = anyio.Event()
        if how == "anyio":
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(body)
                await waiting.wait()
                tasks.cancel_scope.cancel()
        else:
            task = asyncio.ensure_future(body())
            await waiting.wait()
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled()
    async with client_of(held, journal=tmp_path / "journal.db") as client:  # it is not locked, and nothing is lost
        assert len(client.jobs()) == 2
        for job in client.jobs():
            held.finish(str(job.hash))
            await job
    assert paid(held) == 2


async def test_a_create_that_is_sent_whole_is_given_a_moment(
    held: Sandbox, client_of: NewClient, song: Path, tmp_path: Path
) -> None:
    held.faults.add(kind="delay", path="separation/create", seconds=0.2)
    async with client_of(held, journal=tmp_path / "journal.db") as client:
        job = await client.submit(song, algorithm=40)
        await until(lambda: job.progress.bytes_sent == song.stat().st_size)
    assert job.hash == held.jobs[0].hash
    assert job.stage is Stage.WAITING


async def test_it_does_not_wait_for_a_service_that_hangs(
    held: Sandbox, client_of: NewClient, song: Path, tmp_path: Path
) -> None:
    held.faults.add(kind="delay", path="*", seconds=600, count=None)
    with anyio.fail_after(60):
        async with client_of(held, concurrency=3, journal=tmp_path / "journal.db") as client:
            jobs = [await client.submit(song, algorithm=40) for _ in range(5)]
            await until(lambda: jobs[0].progress.bytes_sent == song.stat().st_size)
        assert not any(job.done() for job in jobs)


async def test_the_callers_http_client_is_used_and_left_open(
    sandbox: Sandbox, client_of: NewClient, song: Path, tmp_path: Path
) -> None:
    seen: list[str] = []

    async def note(request: httpx.Request) -> None:
        seen.append(request.url.path)

    async with httpx.AsyncClient(event_hooks={"request": [note]}) as http:
        async with client_of(sandbox, http=http) as client:
            await client.separate(song, tmp_path / "stems", algorithm=40)
        assert not http.is_closed
    assert {"/api/separation/create", "/api/separation/get"} <= set(seen)
    assert any(path.startswith("/storage/") for path in seen)


async def test_a_block_without_jobs_asks_nothing(sandbox: Sandbox, client_of: NewClient) -> None:
    async with client_of(sandbox):
        pass
    assert sandbox.requests == []


async def test_nothing_is_left_on_the_loop(held: Sandbox, client_of: NewClient, song: Path) -> None:
    before = asyncio.all_tasks()
    async with client_of(held) as client:
        for _ in range(12):
            job = await client.submit(song, algorithm=40)
        aiter(job)
        await until(lambda: paid(held) == 10)
        await until(lambda: len(asyncio.all_tasks() - before) < 12 + 10)
    assert asyncio.all_tasks() == before


async def test_two_clients_side_by_side(sandbox: Sandbox, client_of: NewClient, song: Path) -> None:
    async with client_of(sandbox) as one, client_of(sandbox, api_token=sandbox.free_token) as other:
        await (await one.submit(song, algorithm=40))
        await (await other.submit(song, algorithm=40))
    assert sorted(job.account for job in sandbox.jobs) == ["Free", "Premium"]


def test_a_client_costs_nothing_before_it_is_entered() -> None:
    assert repr(MVSepClient(STRANGER)) == "<MVSepClient https://mvsep.com new>"
