"""Jobs that fail temporarily, such as by a long outage: they are released, and resumed by any process."""

from __future__ import annotations

from pathlib import Path

import anyio
import psycopg
import pytest

from mvsep_async import Job, MVSepClient, Stage
from mvsep_async.errors import DownloadError, JobCancelledError, ServiceUnavailableError
from mvsep_async.postgres import jobs as jobs_module
from mvsep_async.sandbox import Sandbox
from tests.conftest import NewClient
from tests.postgres.support import eventually, songs, until

TIMEOUT = 30.0


def rows(database: str, query: str) -> list[tuple[object, ...]]:
    with psycopg.connect(database, autocommit=True) as connection:
        return connection.execute(query.encode()).fetchall()


async def fails(job: Job) -> None:
    with anyio.fail_after(TIMEOUT), pytest.raises(ServiceUnavailableError):
        await job


async def outage(held: Sandbox, one: MVSepClient, other: MVSepClient, song: Path) -> Job:
    """Let a job of `one` at the service fail by an outage, also its handle at `other`."""
    job = await one.submit(song, algorithm=40, key="k")
    await until(job, Stage.WAITING)
    found = await other.find(key="k")
    assert found is not None
    held.faults.add(kind="refuse", path="separation/get", status=503, count=None)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(fails, job)
        tasks.start_soon(fails, found)
    assert not one.jobs()
    return job


@pytest.mark.parametrize("who", ["one", "other"])
async def test_an_outage_ends_all_handles_and_a_submit_resumes_the_job(
    who: str, held: Sandbox, database: str, client_of: NewClient, song: Path
) -> None:
    async with (
        client_of(held, journal=database, concurrency=2, patience=0.5) as one,
        client_of(held, journal=database, concurrency=2, patience=600) as other,
    ):
        failed = await outage(held, one, other, song)
        assert rows(database, "SELECT state, owner FROM mvsep.jobs") == [("waiting", None)]
        still = await other.find(key="k")
        assert still is not None
        assert isinstance(still.error, ServiceUnavailableError)
        held.faults.clear()
        again = await (one if who == "one" else other).submit(song, algorithm=40, key="k")
        assert again.id == failed.id
        held.finish(held.jobs[0].hash)
        with anyio.fail_after(TIMEOUT):
            assert (await again).files
        assert again.error is None
    assert len(held.jobs) == 1


async def test_a_released_job_is_resumed_after_a_while(
    held: Sandbox, database: str, client_of: NewClient, song: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs_module, "RESUME_FIRST", 0.5)
    async with (
        client_of(held, journal=database, concurrency=2, patience=0.5, lease=2.0) as one,
        client_of(held, journal=database, concurrency=2, patience=600, lease=2.0) as other,
    ):
        failed = await outage(held, one, other, song)
        held.faults.clear()
        await eventually(lambda: [job.id for job in (*one.jobs(), *other.jobs())] == [failed.id])
        held.finish(held.jobs[0].hash)
        found = await other.find(key="k")
        assert found is not None
        with anyio.fail_after(TIMEOUT):
            assert (await found).files
    assert len(held.jobs) == 1


async def test_jobs_that_were_queued_during_an_outage_are_resumed_by_the_next_process(
    database: str, client_of: NewClient, tmp_path: Path
) -> None:
    async with Sandbox(stems="copy", job_seconds=0.1) as sandbox:
        sandbox.faults.add(kind="refuse", path="separation/create", status=503, count=None)
        async with client_of(sandbox, journal=database, concurrency=1, patience=0.5) as one:
            for job in [await one.submit(song, algorithm=40, key=song.name) for song in songs(tmp_path, 3)]:
                await fails(job)
        assert len(sandbox.jobs) == 0
        sandbox.faults.clear()
        async with client_of(sandbox, journal=database, concurrency=1) as other:
            for number in range(3):
                found = await other.find(key=f"song {number}.wav")
                assert found is not None
                with anyio.fail_after(TIMEOUT):
                    await eventually(lambda found=found: found.stage is Stage.DONE)  # type: ignore[misc]
        assert len(sandbox.jobs) == 3


async def test_a_failed_download_is_repeated_by_a_later_call(
    database: str, client_of: NewClient, song: Path, tmp_path: Path
) -> None:
    async with (
        Sandbox(stems="copy", job_seconds=0.1) as sandbox,
        client_of(sandbox, journal=database, patience=0.5) as one,
        client_of(sandbox, journal=database) as other,
    ):
        sandbox.faults.add(kind="refuse", path="/storage/*", status=404, count=None)
        with anyio.fail_after(TIMEOUT), pytest.raises(DownloadError):
            await one.separate(song, tmp_path / "stems", algorithm=40, key="k")
        sandbox.faults.clear()
        # It shows the error, or fails with it as soon as the journal has it.
        found = await other.find(key="k")
        assert found is not None
        with anyio.fail_after(TIMEOUT), pytest.raises(DownloadError):
            await found
        with anyio.fail_after(TIMEOUT):
            paths = await one.separate(song, tmp_path / "stems", algorithm=40, key="k")
        assert all(path.exists() for path in paths)
        assert len(sandbox.jobs) == 1


async def test_a_job_that_failed_temporarily_is_not_pruned_and_not_paid_again(
    database: str, client_of: NewClient, song: Path
) -> None:
    async with (
        Sandbox(stems="copy", job_seconds=0.1) as sandbox,
        client_of(sandbox, journal=database, patience=0.5) as one,
    ):
        fault = sandbox.faults.add(kind="refuse", path="separation/get", status=503, count=None)
        job = await one.submit(song, algorithm=40, key="k")
        await fails(job)
        assert await one.prune([job]) == 0
        sandbox.faults.remove(fault)
        with anyio.fail_after(TIMEOUT):
            await (await one.submit(song, algorithm=40, key="k"))
        assert len(sandbox.jobs) == 1


async def test_a_handle_of_a_failed_download_downloads_again(
    database: str, client_of: NewClient, song: Path, tmp_path: Path
) -> None:
    async with (
        Sandbox(stems="copy", job_seconds=0.1) as sandbox,
        client_of(sandbox, journal=database, patience=0.5) as one,
    ):
        sandbox.faults.add(kind="refuse", path="/storage/*", status=404, count=None)
        jobs: list[Job] = []
        async for job in one.map([song], algorithm=40, directory=tmp_path / "stems"):
            jobs.append(job)
        assert isinstance(jobs[0].error, DownloadError)
        sandbox.faults.clear()
        with anyio.fail_after(TIMEOUT):
            assert all(path.exists() for path in await jobs[0].download(tmp_path / "stems"))
        assert rows(database, "SELECT state, failure FROM mvsep.jobs") == [("finished", None)]


@pytest.mark.parametrize("state", ["queued", "waiting"])
async def test_a_job_of_a_process_that_ended_on_another_machine_is_cancelled(
    state: str, held: Sandbox, database: str, client_of: NewClient, song: Path
) -> None:
    if state == "queued":
        held.occupy(held.premium_token, 10)
    async with client_of(held, journal=database, concurrency=10) as one:
        job = await one.submit(song, algorithm=40, key="k")
        if state == "waiting":
            await until(job, Stage.WAITING)
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("UPDATE mvsep.jobs SET machine = 'another machine'")
    async with client_of(held, journal=database) as other, client_of(held, journal=database) as third:
        found, same = await other.find(key="k"), await third.find(key="k")
        assert found is not None
        assert same is not None
        with anyio.fail_after(TIMEOUT):
            assert await found.cancel()
            assert not await found.cancel()
            with pytest.raises(JobCancelledError):
                await same
    assert rows(database, "SELECT state FROM mvsep.jobs") == [("cancelled",)]
