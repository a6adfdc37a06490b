"""The database is stopped, cut off, or loses answers: no create begins, nothing is paid twice, nothing is lost."""

from __future__ import annotations

from pathlib import Path

import anyio
import psycopg
import pytest

from mvsep_async import Job, MVSepClient, Stage
from mvsep_async.errors import JournalError
from mvsep_async.sandbox import Sandbox
from tests.conftest import NewClient
from tests.postgres.proxy import proxy
from tests.postgres.support import eventually, songs

pytestmark = pytest.mark.slow


async def test_without_the_database_jobs_continue_and_no_create_begins(
    held: Sandbox, database: str, client_of: NewClient, tmp_path: Path
) -> None:
    async with proxy(database) as between:
        async with client_of(held, journal=between.url, concurrency=2) as client:
            jobs: list[Job] = []
            finished: list[list[Path]] = []

            async def separate(song: Path) -> None:
                finished.append(await client.separate(song, tmp_path / "stems", algorithm=40, key=song.name))

            async def submit_late(song: Path) -> None:
                jobs.append(await client.submit(song, algorithm=40))

            async with anyio.create_task_group() as tasks:
                first, second, third, late = songs(tmp_path, 4)
                for song in (first, second, third):
                    tasks.start_soon(separate, song)
                await eventually(lambda: len(held.jobs) == 2)
                between.cut()
                tasks.start_soon(submit_late, late)
                await eventually(lambda: all(job.stage is not Stage.UPLOADING for job in client.jobs()))
                for job in held.jobs:
                    held.finish(job.hash)
                # The client learns of their ends without the database, and uses their slots for nothing.
                await eventually(
                    lambda: sum(job.stage in (Stage.DONE, Stage.DOWNLOADING) for job in client.jobs()) >= 1
                )
                await anyio.sleep(0.5)  # time in which a create would begin
                assert len(held.jobs) == 2
                assert not jobs
                assert isinstance(client.paused_by, JournalError)
                between.down = False
                await eventually(lambda: len(held.jobs) == 4)
                for job in held.jobs:
                    held.finish(job.hash)
                await eventually(lambda: len(finished) == 3 and len(jobs) == 1)
            await jobs[0]
            assert client.paused_by is None
        assert all(path.exists() for paths in finished for path in paths)
        assert len(held.jobs) == 4
        with psycopg.connect(database) as connection:
            states = connection.execute("SELECT state FROM mvsep.jobs ORDER BY number").fetchall()
        assert sorted(state for (state,) in states) == ["done", "finished", "finished", "finished"]


@pytest.mark.parametrize("how", ["cut", "silent"])
async def test_a_process_without_the_database_loses_its_jobs_and_pays_for_nothing(
    how: str, held: Sandbox, database: str, client_of: NewClient, tmp_path: Path
) -> None:
    async with proxy(database) as between:
        cut_off = client_of(held, journal=between.url, concurrency=2, lease=2.0)
        other = client_of(held, journal=database, concurrency=2, lease=2.0)
        async with cut_off as one, other as two:
            jobs = [await one.submit(song, algorithm=40, key=song.name) for song in songs(tmp_path, 4)]
            await eventually(lambda: len(held.jobs) == 2)
            if how == "cut":
                between.cut()
            else:
                between.silent = True
            found: list[Job] = []
            for job in jobs:
                same = await two.find(id=job.id)
                assert same is not None
                found.append(same)
            await eventually(lambda: len(two.jobs()) == 4)  # it has taken them over
            while len(held.jobs) < 4 or not all(job.done() for job in found):
                for record in held.jobs:
                    held.finish(record.hash)
                await anyio.sleep(0.05)
            assert len(held.jobs) == 4
            between.down = between.silent = False
            for job in jobs:
                with anyio.fail_after(60):
                    assert (await job).files
        assert len(held.jobs) == 4


@pytest.mark.parametrize("first", range(3, 24, 3))
async def test_a_commit_of_unknown_outcome_is_found_out(
    first: int, database: str, client_of: NewClient, tmp_path: Path
) -> None:
    async with proxy(database) as between:
        between.lose_commits = {first, first + 1, first + 5, first + 9, first + 10, first + 14}
        async with Sandbox(stems="copy", job_seconds=0.1) as sandbox:
            clients: list[MVSepClient] = [
                client_of(sandbox, journal=between.url, concurrency=2),
                client_of(sandbox, journal=database, concurrency=2),
            ]
            async with clients[0] as one, clients[1] as two:
                jobs = [
                    await (one if number % 3 else two).submit(song, algorithm=40, key=song.name)
                    for number, song in enumerate(songs(tmp_path, 6))
                ]
                for job in jobs:
                    with anyio.fail_after(60):
                        await job
            assert len(sandbox.jobs) == 6
            assert sandbox.peak_unfinished(sandbox.premium_token) <= 2
        assert between.commits > first
