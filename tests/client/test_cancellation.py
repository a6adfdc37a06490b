"""Callers are cancelled at every single await: nothing is paid twice, lost, or left behind."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from mvsep_async import Job, Stage
from mvsep_async.sandbox import Sandbox
from tests.conftest import NewClient, wav

from .injection import ANYIO, ASYNCIO, Outcome, at_every_suspension, cancelled_at
from .support import Stream, paid, reached

both_ways = pytest.mark.parametrize("how", [ANYIO, ASYNCIO])


@pytest.fixture(autouse=True)
async def _no_task_is_left() -> AsyncIterator[None]:
    before = asyncio.all_tasks()
    yield
    for _ in range(3):
        await asyncio.sleep(0)
    assert asyncio.all_tasks() - {asyncio.current_task()} <= before


def files_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@both_ways
async def test_submit_of_a_song_that_is_spooled(
    held: Sandbox, client_of: NewClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folders: list[str] = []

    class Recorded(tempfile.TemporaryDirectory[str]):
        def __init__(self, **settings: Any) -> None:
            super().__init__(**settings)
            folders.append(self.name)

    monkeypatch.setattr(tempfile, "TemporaryDirectory", Recorded)
    async with client_of(held, concurrency=1) as client:

        async def run(number: int) -> Outcome[Job]:
            jobs, files = client.jobs(), files_below(tmp_path)
            source = Stream(wav()[:60], wav()[60:])
            outcome = await cancelled_at(number, client.submit(source, algorithm=40, filename="a.wav"), how)
            if outcome.cancelled:
                assert client.jobs() == jobs
                assert files_below(tmp_path) == files
            else:
                assert client.jobs() == [*jobs, outcome.result]
            return outcome

        assert await at_every_suspension(run) > 3
        assert len(folders) == 1, "a folder was made for a call that was cancelled, and lost"
        jobs = client.jobs()
        for job in jobs:
            await reached(job, Stage.WAITING)
            held.finish(str(job.hash))
            await job
    assert paid(held) == len(jobs)
    assert files_below(tmp_path) == []


@both_ways
async def test_submit_into_a_journal(held: Sandbox, client_of: NewClient, song: Path, tmp_path: Path, how: str) -> None:
    journal = tmp_path / "journal.db"
    async with client_of(held, concurrency=1, journal=journal) as client:

        async def run(number: int) -> Outcome[Job]:
            jobs = client.jobs()
            outcome = await cancelled_at(number, client.submit(song, algorithm=40, key=f"{number}"), how)
            assert client.jobs() == (jobs if outcome.cancelled else [*jobs, outcome.result])
            return outcome

        assert await at_every_suspension(run) > 0
        known = {job.id for job in client.jobs()}
        await (await client.submit(song, algorithm=40)).cancel()
    async with client_of(held, journal=journal) as client:
        assert {job.id for job in client.jobs() if not job.done()} == known


@both_ways
async def test_awaiting_and_iterating(held: Sandbox, client_of: NewClient, song: Path, how: str) -> None:
    async with client_of(held, concurrency=3) as client:

        async def run(number: int) -> Outcome[Any]:
            job = await client.submit(song, algorithm=40)

            async def finish() -> None:
                await reached(job, Stage.WAITING)
                held.finish(str(job.hash))

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(finish)
                outcome = await cancelled_at(number, job.wait(), how)
            separation = await job
            assert separation.hash == job.hash
            assert outcome.cancelled or outcome.result is separation
            return outcome

        count = await at_every_suspension(run)
        assert count >= 2
    assert paid(held) == count + 1
    assert not any(job.cancelled for job in held.jobs)


@both_ways
async def test_separate(sandbox: Sandbox, client_of: NewClient, song: Path, tmp_path: Path, how: str) -> None:
    stems = tmp_path / "stems"
    async with client_of(sandbox) as client:

        async def run(number: int) -> Outcome[Any]:
            folder = stems / str(number)
            coroutine = client.separate(song, folder, algorithm=40, key=f"{number}")
            outcome = await cancelled_at(number, coroutine, how)
            # Whoever was cancelled asks again, with the same key.
            paths = await client.separate(song, folder, algorithm=40, key=f"{number}")
            assert outcome.cancelled or outcome.result == paths
            assert files_below(folder) == ["Some Song/Other.mp3", "Some Song/Vocals.mp3"]
            assert {path.read_bytes() for path in paths} == {song.read_bytes()}
            return outcome

        count = await at_every_suspension(run)
        assert count >= 2
    assert paid(sandbox) == count + 1


TURNS = (0, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 377, 610)


@both_ways
async def test_download_at_its_own_awaits(
    sandbox: Sandbox, client_of: NewClient, song: Path, tmp_path: Path, how: str
) -> None:
    async with client_of(sandbox) as client:
        job = await client.submit(song, algorithm=40)
        await job

        async def run(number: int) -> Outcome[Any]:
            folder = tmp_path / "stems" / str(number)
            outcome = await cancelled_at(number, job.download(folder), how)
            paths = await job.download(folder)
            assert outcome.cancelled or outcome.result == paths
            assert files_below(folder) == ["Some Song/Other.mp3", "Some Song/Vocals.mp3"]
            assert job.stage is Stage.FINISHED
            return outcome

        assert await at_every_suspension(run) >= 2
    assert paid(sandbox) == 1


async def test_download_while_its_files_are_under_way(sandbox: Sandbox, client_of: NewClient, tmp_path: Path) -> None:
    song = tmp_path / "song.wav"
    song.write_bytes(wav(60.0))
    async with client_of(sandbox) as client:
        job = await client.submit(song, algorithm=40)
        await job
        for turns in TURNS:
            folder = tmp_path / "stems" / str(turns)
            task = asyncio.ensure_future(job.download(folder))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            whole = list(folder.rglob("*.mp3"))
            assert all(path.read_bytes() == song.read_bytes() for path in whole)
            for path in await job.download(folder):
                assert path.read_bytes() == song.read_bytes()
            assert files_below(folder) == ["song/Other.mp3", "song/Vocals.mp3"]


async def test_leaving_the_block_at_any_moment_leaves_no_job_paid_twice(
    client_of: NewClient, song: Path, tmp_path: Path
) -> None:
    """Clients that come and go over one journal: each song ends paid once, whatever was in progress."""
    async with Sandbox(stems="copy", job_seconds=0.0) as sandbox:
        keys = [f"song {number}" for number in range(len(TURNS))]
        for turns in TURNS:
            async with client_of(sandbox, journal=tmp_path / "journal.db") as client:
                for key in keys[: 2 + TURNS.index(turns)]:
                    await client.submit(song, algorithm=40, key=key)
                for _ in range(turns):
                    await asyncio.sleep(0)
        async with client_of(sandbox, journal=tmp_path / "journal.db") as client:
            jobs = [await client.submit(song, algorithm=40, key=key) for key in keys]
            for job in jobs:
                await job
            assert len(client.jobs()) == len(keys)
        assert paid(sandbox) == len(keys)


async def test_entering_can_be_cancelled(sandbox: Sandbox, client_of: NewClient, tmp_path: Path) -> None:
    async def enter() -> None:
        async with client_of(sandbox, journal=tmp_path / "journal.db"):
            pass

    async def run(number: int) -> Outcome[None]:
        return await cancelled_at(number, enter(), ANYIO)

    assert await at_every_suspension(run) > 1
    await enter()  # the journal is not locked
