"""Results at the service: deleted there, and downloaded from its mirror."""

from __future__ import annotations

from pathlib import Path

import pytest

from mvsep_async import InvalidRequestError, JobNotFoundError, Stage
from mvsep_async.sandbox import Sandbox
from tests.conftest import NewClient

from .support import calls, reached


async def test_a_finished_job_is_deleted_once(sandbox: Sandbox, client_of: NewClient, song: Path) -> None:
    async with client_of(sandbox) as client:
        job = await client.submit(song, algorithm=40)
        await job
        assert await job.delete()
        assert sandbox.job(str(job.hash)).state == "deleted"
        assert not await job.delete()


async def test_a_job_that_is_not_over_is_not_deleted(held: Sandbox, client_of: NewClient, song: Path) -> None:
    async with client_of(held) as client:
        job = await client.submit(song, algorithm=40)
        await reached(job, Stage.WAITING)
        with pytest.raises(InvalidRequestError, match=r"is not over \(waiting\): cancel it"):
            await job.delete()
        assert await job.cancel()
    assert calls(held, "separation/delete") == 0


async def test_a_job_that_was_never_sent_has_nothing_to_delete(held: Sandbox, client_of: NewClient, song: Path) -> None:
    async with client_of(held, concurrency=1) as client:
        first = await client.submit(song, algorithm=40)
        await reached(first, Stage.WAITING)
        second = await client.submit(song, algorithm=40)
        assert await second.cancel()
        assert not await second.delete()
    assert calls(held, "separation/delete") == 0


async def test_the_mirror_costs_one_credit_and_nothing_when_all_is_there(
    sandbox: Sandbox, client_of: NewClient, song: Path, tmp_path: Path
) -> None:
    async with client_of(sandbox) as client:
        job = await client.submit(song, algorithm=40)
        await job
        before = sandbox.minutes(sandbox.premium_token)
        paths = await job.download(tmp_path / "stems", mirror=True)
        assert {path.read_bytes() for path in paths} == {song.read_bytes()}
        assert sandbox.minutes(sandbox.premium_token) == before - 1
        assert await job.download(tmp_path / "stems", mirror=True) == paths
        assert sandbox.minutes(sandbox.premium_token) == before - 1


async def test_the_mirror_of_a_deleted_job(sandbox: Sandbox, client_of: NewClient, song: Path, tmp_path: Path) -> None:
    async with client_of(sandbox) as client:
        job = await client.submit(song, algorithm=40)
        await job
        sandbox.delete(str(job.hash))
        with pytest.raises(JobNotFoundError, match="deleted or expired"):
            await job.download(tmp_path / "stems", mirror=True)
