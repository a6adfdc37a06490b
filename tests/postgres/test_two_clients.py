"""Two clients of one account with a shared journal: one set of slots, one table of keys, handles everywhere."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import TypeAlias

import anyio
import psycopg
import pytest

from mvsep_async import Job, MVSepClient, Stage
from mvsep_async.errors import JobCancelledError
from mvsep_async.postgres.listener import Listener
from mvsep_async.postgres.notices import Notice
from mvsep_async.sandbox import Sandbox
from mvsep_async.scheduling import session as session_module
from tests.conftest import NewClient
from tests.postgres.support import eventually, songs, until

Clients: TypeAlias = tuple[MVSepClient, MVSepClient]


@pytest.fixture
async def service() -> AsyncIterator[Sandbox]:
    async with Sandbox(stems="copy", job_seconds=0.3, requests_per_minute=6000) as sandbox:
        yield sandbox


@pytest.fixture
async def clients(service: Sandbox, database: str, client_of: NewClient) -> AsyncIterator[Clients]:
    async with client_of(service, journal=database) as one, client_of(service, journal=database) as other:
        yield one, other


@pytest.fixture
async def held_clients(held: Sandbox, database: str, client_of: NewClient) -> AsyncIterator[Clients]:
    async with client_of(held, journal=database) as one, client_of(held, journal=database) as other:
        yield one, other


async def test_each_song_is_separated_once_and_the_limit_is_kept(
    clients: Clients, service: Sandbox, tmp_path: Path
) -> None:
    jobs = [await clients[number % 2].submit(song, algorithm=40) for number, song in enumerate(songs(tmp_path, 12))]
    for job in jobs:
        assert (await job).files
    assert len(service.jobs) == 12
    assert service.count_status(400) == 0
    assert service.peak_unfinished(service.premium_token) <= 10


async def test_the_same_key_at_the_same_moment_is_one_job(clients: Clients, service: Sandbox, song: Path) -> None:
    jobs: list[Job] = []

    async def submit(client: MVSepClient) -> None:
        jobs.append(await client.submit(song, algorithm=40, key="order 1"))

    for _ in range(2):
        async with anyio.create_task_group() as tasks:
            for client in clients:
                tasks.start_soon(submit, client)
    assert len({job.id for job in jobs}) == 1
    for job in jobs:
        await job
    assert len(service.jobs) == 1


async def test_the_same_song_mapped_by_both_is_one_job(clients: Clients, service: Sandbox, tmp_path: Path) -> None:
    mapped = songs(tmp_path, 4)
    found: list[Job] = []

    async def run(client: MVSepClient) -> None:
        async for job in client.map(mapped, algorithm=40):
            assert job.error is None
            found.append(job)

    async with anyio.create_task_group() as tasks:
        for client in clients:
            tasks.start_soon(run, client)
    assert len(found) == 8
    assert len({job.id for job in found}) == len(service.jobs) == 4


async def test_a_job_is_found_and_followed_elsewhere(held_clients: Clients, held: Sandbox, song: Path) -> None:
    one, other = held_clients
    job = await one.submit(song, algorithm=40, key="k", metadata={"chat": 7}, group="g")
    found = await other.find(key="k")
    assert found is not None
    assert (found.id, found.metadata, found.done()) == (job.id, {"chat": 7}, False)
    seen: list[Stage] = []

    async def watch() -> None:
        async for progress in found:
            seen.append(progress.stage)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watch)
        await until(job, Stage.WAITING)
        assert job.hash is not None
        held.show(job.hash, "processing")
        await until(found, Stage.PROCESSING)
        held.finish(job.hash)
    assert seen[-1] is Stage.DONE
    assert Stage.PROCESSING in seen
    assert (await found).hash == job.hash
    by_hash = await other.find(hash=job.hash)
    assert by_hash is not None
    assert by_hash.id == job.id


async def test_a_job_is_cancelled_from_elsewhere(held_clients: Clients, song: Path) -> None:
    one, other = held_clients
    job = await one.submit(song, algorithm=40)
    await until(job, Stage.WAITING)
    found = await other.find(id=job.id)
    assert found is not None
    assert await found.cancel()
    with pytest.raises(JobCancelledError):
        await job


async def test_a_finished_job_cannot_be_cancelled_from_elsewhere(clients: Clients, song: Path) -> None:
    one, other = clients
    job = await one.submit(song, algorithm=40)
    await job
    found = await other.find(id=job.id)
    assert found is not None
    with anyio.fail_after(60):
        assert not await found.cancel()


async def test_a_job_that_is_being_downloaded_cannot_be_cancelled_from_elsewhere(
    clients: Clients, service: Sandbox, song: Path, tmp_path: Path
) -> None:
    one, other = clients
    service.faults.add(kind="stall", path="/storage/*", after_bytes=100, seconds=600, count=None)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(partial(one.separate, song, tmp_path / "stems", algorithm=40, key="k"))
        with anyio.fail_after(60):
            while (found := await other.find(key="k")) is None or found.stage is not Stage.DOWNLOADING:
                await anyio.sleep(0.02)
            assert not await found.cancel()
        tasks.cancel_scope.cancel()


async def test_a_job_is_downloaded_from_elsewhere(clients: Clients, song: Path, tmp_path: Path) -> None:
    one, other = clients
    job = await one.submit(song, algorithm=40)
    await job
    found = await other.find(id=job.id)
    assert found is not None
    paths = await found.download(tmp_path / "stems")
    assert paths
    assert all(path.exists() for path in paths)
    assert await found.download(tmp_path / "stems") == paths


async def test_the_token_is_not_in_the_database(clients: Clients, service: Sandbox, database: str, song: Path) -> None:
    await (await clients[0].submit(song, algorithm=40))
    with psycopg.connect(database) as connection:
        tables = [
            row[0]
            for row in connection.execute("SELECT table_name FROM information_schema.tables WHERE table_schema='mvsep'")
        ]
        content = [connection.execute(f"SELECT * FROM mvsep.{table}").fetchall() for table in tables]
    assert len(tables) >= 7
    assert service.premium_token not in repr(content)


async def test_the_jobs_of_a_closed_client_are_taken_over(
    held: Sandbox, database: str, client_of: NewClient, tmp_path: Path
) -> None:
    async with client_of(held, journal=database) as one, client_of(held, journal=database, concurrency=2) as other:
        jobs = [await one.submit(song, algorithm=40, key=song.name) for song in songs(tmp_path, 3)]
        await until(jobs[0], Stage.WAITING)
        await one.aclose()
        found = [await other.find(key=f"song {number}.wav") for number in range(3)]
        for job in found:
            assert job is not None
            with anyio.fail_after(60):
                await until(job, Stage.WAITING)
                assert job.hash is not None
                held.finish(job.hash)
                await job
    assert len(held.jobs) == 3


async def test_pings_are_sent_to_no_other_process(
    service: Sandbox, database: str, client_of: NewClient, song: Path
) -> None:
    async with client_of(service, journal=database):
        pass
    with psycopg.connect(database, autocommit=True) as connection:
        ((account,),) = connection.execute("SELECT id FROM mvsep.accounts").fetchall()
        connection.execute(f"LISTEN {Notice.channel(account)}".encode())
        async with client_of(service, journal=database) as one, client_of(service, journal=database) as other:
            job = await one.submit(song, algorithm=40)
            found = await other.find(id=job.id)
            assert found is not None
            await found
        kinds = {notice.payload.partition(" ")[0] for notice in connection.notifies(timeout=1)}
    assert "slots" in kinds
    assert "ping" not in kinds


async def test_without_notices_the_journal_is_looked_at_every_few_seconds(
    service: Sandbox, database: str, client_of: NewClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As through a pooler in transaction mode, which forwards no NOTIFY."""

    async def hears_nothing(listener: Listener) -> None:
        await anyio.sleep_forever()

    monkeypatch.setattr(Listener, "run", hears_nothing)
    async with client_of(service, journal=database) as one, client_of(service, journal=database) as other:
        jobs = [
            await (one if number % 2 else other).submit(song, algorithm=40, key=song.name)
            for number, song in enumerate(songs(tmp_path, 14))
        ]
        found = await one.find(key="song 0.wav")
        assert found is not None
        for job in (*jobs, found):
            assert (await job).files
    assert len(service.jobs) == 14
    assert service.count_status(400) == 0


async def test_a_download_that_a_process_of_another_machine_left_when_it_died_is_continued(
    sandbox: Sandbox, database: str, client_of: NewClient, song: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a process of that machine would take it over, and there may be none."""
    monkeypatch.setattr(session_module, "_ACQUIRE_AGAIN", 0.05)
    async with client_of(sandbox, journal=database) as first:
        await (await first.submit(song, algorithm=40, key="k"))
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO mvsep.processes (id, account, machine, name, lease_until) "
            "SELECT 'other', id, 'there', 'there', clock_timestamp() + interval '1 hour' FROM mvsep.accounts"
        )
        connection.execute("UPDATE mvsep.jobs SET state = 'downloading', owner = 'other', machine = 'there'")
        async with client_of(sandbox, journal=database) as client, anyio.create_task_group() as tasks:
            job = await client.find(key="k")
            assert job is not None
            paths: list[Path] = []

            async def download(job: Job) -> None:
                paths.extend(await job.download(tmp_path / "stems"))

            tasks.start_soon(download, job)
            await anyio.sleep(0.2)
            assert not paths
            connection.execute("UPDATE mvsep.processes SET lease_until = clock_timestamp() WHERE id = 'other'")
            await eventually(lambda: bool(paths))
    assert all(path.is_file() for path in paths)
