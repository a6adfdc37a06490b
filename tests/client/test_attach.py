"""Jobs of other programs, attached by their hash."""

from __future__ import annotations

from pathlib import Path

import pytest

from mvsep_async import (
    ConfigurationError,
    InvalidRequestError,
    JobNotFoundError,
    MVSepClient,
    ServiceUnavailableError,
    Stage,
)
from mvsep_async.sandbox import Sandbox
from mvsep_async.sandbox.settings import Quirks
from tests.conftest import NewClient

from .support import paid, reached, until


async def test_by_the_long_hash(held: Sandbox, client_of: NewClient, song: Path, tmp_path: Path) -> None:
    async with client_of(held) as client:
        job = await client.submit(song, algorithm=40)
        await reached(job, Stage.WAITING)
        hash = str(job.hash)
    async with client_of(held) as client:
        again = client.attach(f" {hash}\n")
        assert (again.hash, again.stage, again.source) == (hash, Stage.WAITING, None)
        assert client.attach(hash) == again
        held.start(hash)
        await reached(again, Stage.PROCESSING)
        held.finish(hash)
        assert (await again).hash == hash
        paths = await again.download(tmp_path / "stems")
    assert {path.parent.name for path in paths} == {"some-song"}  # what the hash keeps of the name
    assert paid(held) == 1


async def test_by_the_short_hash_of_a_url_job(song: Path, client_of: NewClient) -> None:
    url = "http://music.test/song.wav"
    async with Sandbox(stems="copy", job_seconds=0.0, fetch_seconds=0.1) as sandbox:
        sandbox.remote_file(url, song)
        async with client_of(sandbox) as client:
            job = await client.submit(url, algorithm=40)
            await until(lambda: job.hash)
            short = str(job.hash)
        async with client_of(sandbox) as client:
            again = client.attach(short)
            assert again.stage is Stage.FETCHING
            separation = await again
            assert separation.hash == again.hash == sandbox.jobs[0].hash
            assert client.attach(short) == again


async def test_of_ones_own_job_it_is_the_same_handle(held: Sandbox, client_of: NewClient, song: Path) -> None:
    async with client_of(held) as client:
        job = await client.submit(song, algorithm=40)
        await reached(job, Stage.WAITING)
        assert client.attach(str(job.hash)) == job
        assert client.jobs() == [job]


async def test_ones_own_job_that_an_outage_has_ended_is_continued(
    held: Sandbox, client_of: NewClient, song: Path
) -> None:
    fault = held.faults.add(kind="html", path="separation/get", count=None)
    async with client_of(held, patience=0.3) as client:
        job = await client.submit(song, algorithm=40)
        with pytest.raises(ServiceUnavailableError):
            await job
        held.faults.remove(fault)
        assert client.attach(str(job.hash)) == job
        held.finish(str(job.hash))
        assert (await job).hash == held.jobs[0].hash
        assert client.jobs() == [job]


@pytest.mark.parametrize("hash", ["20230327071601-0e3e5c6c85-13-dimensions.mp3", "n2AwBjy4KsFZfqqR"])
async def test_an_unknown_hash_is_reported_soon(sandbox: Sandbox, client_of: NewClient, hash: str) -> None:
    async with client_of(sandbox) as client:
        job = client.attach(hash)
        with pytest.raises(JobNotFoundError, match=hash) as caught:
            await job.wait(timeout=60)
        assert (caught.value.hash, caught.value.job) == (hash, job.id)
        assert job.stage is Stage.FAILED


async def test_one_that_is_still_unknown_to_the_service_for_a_moment_is_found(client_of: NewClient, song: Path) -> None:
    async with Sandbox(stems="copy", job_seconds=0.0, quirks=Quirks(early_not_found=0.1)) as sandbox:
        async with client_of(sandbox) as client:
            job = await client.submit(song, algorithm=40)
            await until(lambda: job.hash)
            hash = str(job.hash)
        async with client_of(sandbox, poll_interval=0.1) as client:
            await client.attach(hash)


async def test_no_token_is_needed(held: Sandbox, client_of: NewClient, song: Path, tmp_path: Path) -> None:
    async with client_of(held) as client:
        job = await client.submit(song, algorithm=40)
        await reached(job, Stage.WAITING)
    held.finish(str(job.hash))
    async with MVSepClient("", base_url=held.url, poll_interval=0.02) as client:
        assert len(await client.attach(str(job.hash)).download(tmp_path / "stems")) == 2


async def test_it_takes_no_slot_of_the_local_limit(held: Sandbox, client_of: NewClient, song: Path) -> None:
    async with client_of(held, concurrency=1) as client:
        job = await client.submit(song, algorithm=40)
        await reached(job, Stage.WAITING)
        hash = str(job.hash)
    async with client_of(held, concurrency=1) as client:
        client.attach(hash)
        await reached(await client.submit(song, algorithm=40), Stage.WAITING)


async def test_where_it_lives_must_be_the_service(sandbox: Sandbox, client_of: NewClient) -> None:
    async with client_of(sandbox) as client:
        for host in ("https://evil.test", "https://mvsep.com", "http://127.0.0.1:1"):
            with pytest.raises(ConfigurationError, match="not a host"):
                client.attach("20230327071601-0e3e5c6c85-a.mp3", host=host)
        with pytest.raises(ConfigurationError, match="base URL"):
            client.attach("20230327071601-0e3e5c6c85-a.mp3", host="nonsense")
        with pytest.raises(InvalidRequestError, match="empty"):
            client.attach("  ")
        assert client.jobs() == []
