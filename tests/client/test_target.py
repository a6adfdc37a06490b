"""Invalid targets and stems are found before anything is sent or paid for."""

from __future__ import annotations

import shutil
from pathlib import Path

import anyio
import pytest

from mvsep_async import DownloadError, InvalidRequestError, Stage
from mvsep_async.sandbox import Sandbox
from tests.conftest import NewClient

from .support import reached


def creates(sandbox: Sandbox) -> int:
    return sum(request.path.endswith("separation/create") for request in sandbox.requests)


@pytest.mark.parametrize("layout", ["{song}/{stem}", "Some Song/{stem}", "Some Song/{song}/{stem}/x"])
async def test_a_target_that_cannot_be_written_to_is_refused_before_the_payment(
    sandbox: Sandbox, client_of: NewClient, song: Path, tmp_path: Path, layout: str
) -> None:
    stems = tmp_path / "stems"
    stems.mkdir()
    (stems / "Some Song").write_text("a file in the way")
    async with client_of(sandbox) as client:
        with pytest.raises(DownloadError, match="nothing was sent or paid for"):
            await client.separate(song, stems, algorithm=40, layout=layout)
        async for job in client.map([song], directory=stems, algorithm=40, layout=layout):
            assert isinstance(job.error, DownloadError)
    assert creates(sandbox) == 0
    assert [path.name for path in stems.iterdir()] == ["Some Song"]


async def test_a_target_is_checked_again_just_before_the_create(
    held: Sandbox, client_of: NewClient, song: Path, tmp_path: Path
) -> None:
    stems = tmp_path / "stems"
    async with client_of(held, concurrency=1) as client:
        first = await client.submit(song, algorithm=40)
        await reached(first, Stage.WAITING)
        stream = aiter(client.map([song], directory=stems, algorithm=40))
        async with anyio.create_task_group() as tasks:

            async def spoil() -> None:
                while len(client.jobs()) < 2:
                    await anyio.sleep(0.01)
                shutil.rmtree(stems)
                stems.write_text("a file in the way")
                held.finish(str(first.hash))

            tasks.start_soon(spoil)
            job = await anext(stream)
        assert isinstance(job.error, DownloadError)
        assert job.hash is None
    assert creates(held) == 1


async def test_a_stem_that_the_algorithm_does_not_return_is_refused_before_the_payment(
    sandbox: Sandbox, client_of: NewClient, song: Path, tmp_path: Path
) -> None:
    async with client_of(sandbox) as client:
        with pytest.raises(InvalidRequestError, match="has no stem 'Drums'; its stems are") as caught:
            await client.separate(song, tmp_path / "stems", algorithm=40, stems=["vocals", "Drums"])
        assert "Vocals" in caught.value.candidates
        with pytest.raises(InvalidRequestError, match="has no stem 'Drums'"):
            async for _ in client.map([song], directory=tmp_path / "stems", algorithm=40, stems=["Drums"]):
                pytest.fail("a job was made")
        assert creates(sandbox) == 0
        paths = await client.separate(song, tmp_path / "stems", algorithm=40, stems=["vocals"])
        assert [path.name for path in paths] == ["Vocals.mp3"]


async def test_a_job_keeps_no_tags(sandbox: Sandbox, client_of: NewClient, song: Path) -> None:
    """They can be 500 KB for each job; `client.separations.get` returns them."""
    async with client_of(sandbox) as client:
        job = await client.submit(song, algorithm=40)
        assert (await job).tags is None
        status = await client.separations.get(str(job.hash))
        assert status.separation is not None
        assert status.separation.tags is not None
