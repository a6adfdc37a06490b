"""One process with many users: fair turns, several accounts, one client in many tasks, and a clean end."""

from __future__ import annotations

import asyncio
import gc
import os
import tempfile
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import psutil
import pytest

from mvsep_async import ClientClosedError, Job, MVSepClient, Stage
from mvsep_async.observe import Event, SlotTaken
from mvsep_async.sandbox import Sandbox
from tests.client.support import paid, until
from tests.conftest import NewClient, wav


async def test_a_single_song_is_among_the_next_two_though_another_group_has_ten_thousand_in_line(
    held: Sandbox, client_of: NewClient, song: Path
) -> None:
    started: list[str] = []

    def note(event: Event) -> None:
        if isinstance(event, SlotTaken):
            started.append(event.job)

    async with client_of(held, concurrency=2, on_event=note) as client:
        for _ in range(10_000):
            await client.submit(song, algorithm=40, group="a library")
        await until(lambda: held.unfinished(held.premium_token) == 2)
        late = await client.submit(song, algorithm=40, group="somebody")
        assert late.progress.place in (0, 1)
        before = len(started)
        for record in held.jobs:
            held.finish(record.hash)
        await until(lambda: len(started) >= before + 2)
        assert late.id in started[before : before + 2]


async def test_groups_take_turns_and_priority_counts_within_one(held: Sandbox, client_of: NewClient) -> None:
    order: list[str] = []
    async with client_of(held, concurrency=1) as client:
        first = await client.submit(wav(), filename="first.wav", algorithm=40)
        await until(lambda: first.stage is Stage.WAITING)
        for name, group, priority in [("a1", "a", 0), ("a2", "a", 0), ("a3", "a", 5), ("b1", "b", 0), ("c1", "c", -9)]:
            await client.submit(wav(), filename=f"{name}.wav", algorithm=40, group=group, priority=priority)
        for number in range(5):
            held.finish(held.jobs[number].hash)
            await until(lambda number=number: paid(held) == number + 2)
            order.append(held.jobs[-1].hash.removesuffix(".wav")[-2:])
    assert order == ["a3", "b1", "c1", "a1", "a2"]


async def test_a_group_at_its_cap_leaves_the_other_slots_to_the_others(
    held: Sandbox, client_of: NewClient, song: Path
) -> None:
    async with client_of(held, concurrency=3, group_cap=1) as client:
        greedy = [await client.submit(song, algorithm=40, group="greedy") for _ in range(4)]
        await until(lambda: greedy[0].stage is Stage.WAITING)
        modest = await client.submit(song, algorithm=40, group="modest")
        await until(lambda: modest.stage is Stage.WAITING)
        assert [job.stage for job in greedy[1:]] == [Stage.QUEUED] * 3
        held.finish(str(greedy[0].hash))
        await until(lambda: greedy[1].stage is Stage.WAITING)


async def test_two_accounts_in_one_process_never_use_each_other_s_token(tmp_path: Path) -> None:
    async with Sandbox(stems="copy", job_seconds=0.02, free_limit=2) as sandbox:
        tokens = {"premium": sandbox.premium_token, "free": sandbox.free_token}
        names: dict[str, set[str]] = {name: set() for name in tokens}

        async def use(name: str, client: MVSepClient) -> None:
            for number in range(6):
                song = f"{name} {number}.wav"
                await client.separate(wav(), tmp_path / name, filename=song, algorithm=40)
                names[name].add(f"{name}-{number}")

        async with anyio.create_task_group() as tasks:
            for name, token in tokens.items():
                client = await _entered(tasks, MVSepClient(token, base_url=sandbox.url, poll_interval=0.02))
                tasks.start_soon(use, name, client)
            await until(lambda: all(len(done) == 6 for done in names.values()))
            tasks.cancel_scope.cancel()
        assert len(sandbox.jobs) == 12
        for record in sandbox.jobs:
            name = next(name for name, token in tokens.items() if token == record.token)
            assert f"{name}-" in record.hash


async def _entered(tasks: anyio.abc.TaskGroup, client: MVSepClient) -> MVSepClient:
    async def live(*, task_status: anyio.abc.TaskStatus[None]) -> None:
        async with client:
            task_status.started()
            await anyio.sleep_forever()

    await tasks.start(live)
    return client


async def test_many_tasks_share_one_client(client_of: NewClient, tmp_path: Path) -> None:
    got: dict[int, list[Path]] = {}
    async with Sandbox(stems="copy", job_seconds=0.01) as sandbox:
        async with client_of(sandbox) as client:

            async def use(number: int) -> None:
                song = wav(0.1 + number / 1000)
                got[number] = await client.separate(song, tmp_path, filename=f"{number}.wav", algorithm=40)
                assert all(path.read_bytes() == song for path in got[number])

            async with anyio.create_task_group() as tasks:
                for number in range(40):
                    tasks.start_soon(use, number)
        assert sandbox.peak_unfinished(sandbox.premium_token) <= 10
        assert len(sandbox.jobs) == 40
    assert len({path for paths in got.values() for path in paths}) == sum(map(len, got.values())) >= 80


async def test_closing_in_the_middle_of_everything_leaves_nothing_behind(
    client_of: NewClient, song: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    async with Sandbox(stems="copy", manual=True, free_limit=3, bytes_per_second=200_000) as sandbox:
        monkeypatch.setattr(tempfile, "tempdir", str(temporary))
        before = await _belongings()
        closed: list[Job] = []
        async with anyio.create_task_group() as tasks:
            with anyio.fail_after(60):
                async with client_of(sandbox, concurrency=3) as client:
                    jobs = [await client.submit(song, algorithm=40) for _ in range(20)]
                    streamed = await client.submit(_pieces(), filename="streamed.wav", algorithm=40, priority=9)

                    async def follow(job: Job) -> None:
                        try:
                            async for _ in job:
                                pass
                        except ClientClosedError:
                            closed.append(job)

                    for job in (*jobs, streamed):
                        tasks.start_soon(follow, job)
                    await until(lambda: jobs[0].stage is Stage.WAITING)
                    sandbox.finish(str(jobs[0].hash))
                    await until(lambda: jobs[0].done())
                    tasks.start_soon(_swallow, jobs[0], tmp_path / "stems")
                    await until(lambda: streamed.stage in (Stage.UPLOADING, Stage.WAITING))
        assert len(closed) >= 20
        await until(lambda: not list(temporary.iterdir()))
        gc.collect()
        await _same(before)


_POOLS = ("AnyIO worker", "asyncio_")


async def _pieces() -> AsyncIterator[bytes]:
    yield wav(5.0)


async def _swallow(job: Job, directory: Path) -> None:
    try:
        await job.download(directory)
    except ClientClosedError:
        return


async def _belongings() -> tuple[int, set[str], int]:
    """Return what the process has: tasks, threads but for the loop's own pools, and open sockets."""
    process = psutil.Process(os.getpid())
    threads = {thread.name for thread in threading.enumerate() if not thread.name.startswith(_POOLS)}
    return len(asyncio.all_tasks()), threads, len(process.net_connections())


async def _same(before: tuple[int, set[str], int]) -> None:
    with anyio.fail_after(60):
        while await _belongings() != before:
            await anyio.sleep(0.01)
