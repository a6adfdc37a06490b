"""The core runs on trio as it does on asyncio."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import anyio
import pytest

from mvsep_async import ClientClosedError, Job, MVSepClient, Stage
from mvsep_async.sandbox import Sandbox
from tests.conftest import wav

from .support import Stream, all_of, paid, reached, stages


def opened(sandbox: Sandbox, **settings: Any) -> MVSepClient:
    defaults: Any = {"base_url": sandbox.url, "poll_interval": 0.02, "requests_per_minute": 6000}
    return MVSepClient(sandbox.premium_token, **{**defaults, **settings})


def test_a_whole_run(song: Path, tmp_path: Path) -> None:
    async def main() -> None:
        with Sandbox(stems="copy", job_seconds=0.0) as sandbox:
            sandbox.faults.add(kind="html", path="app/*")
            async with opened(sandbox, journal=tmp_path / "journal.db") as client:
                job = await client.submit(song, algorithm="BS Roformer", output_format=2)
                seen = await all_of(aiter(job))
                assert stages(seen)[-1] is Stage.DONE
                assert (await job).hash == job.hash
                assert {path.read_bytes() for path in await job.download(tmp_path / "a")} == {song.read_bytes()}
                paths = await client.separate(Stream(wav()), tmp_path / "b", algorithm=40, filename="b.wav")
                assert {path.read_bytes() for path in paths} == {wav()}
                async for mapped in client.map([song] * 2, directory=tmp_path / "c", algorithm=40):
                    assert mapped.error is None
                songs = client.map(itertools.repeat(song), algorithm=40)
                await anext(songs)
                await songs.aclose()  # which leaves nothing half-read to be complained about

    anyio.run(main, backend="trio")


def test_faults_and_cancellation(song: Path, tmp_path: Path) -> None:
    async def main() -> None:
        with Sandbox(stems="copy", manual=True) as sandbox:
            sandbox.faults.add(kind="lose_answer", path="separation/create")
            async with opened(sandbox, concurrency=1) as client:
                job, queued = [await client.submit(song, algorithm=40) for _ in range(2)]
                with anyio.move_on_after(0.01):
                    await job
                await reached(job, Stage.WAITING)
                assert await queued.cancel()
                assert await job.cancel()
                left = await client.submit(song, algorithm=40)
                await reached(left, Stage.WAITING)
            with pytest.raises(ClientClosedError):
                await left
            assert paid(sandbox) == 2

    anyio.run(main, backend="trio")


def test_errors_of_the_body_come_out_unwrapped(song: Path) -> None:
    class OwnError(Exception):
        pass

    async def main() -> None:
        with Sandbox(stems="copy", manual=True) as sandbox:
            jobs: list[Job] = []
            with pytest.raises(OwnError):
                async with opened(sandbox) as client:
                    jobs.append(await client.submit(song, algorithm=40))
                    await reached(jobs[0], Stage.WAITING)
                    raise OwnError

    anyio.run(main, backend="trio")
