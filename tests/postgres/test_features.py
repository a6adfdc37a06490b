"""What clients can do besides submitting songs, with several clients on one journal."""

from __future__ import annotations

from pathlib import Path

import anyio
import httpx
import psycopg

from mvsep_async import MVSepClient, Pair, Stage
from mvsep_async.recipes import Recipe, Step, run_recipe
from mvsep_async.sandbox import Sandbox
from mvsep_async.webhooks import WebhookReceiver
from tests.conftest import NewClient
from tests.postgres.support import songs, until

TIMEOUT = 60.0


async def test_two_accounts_in_one_database_do_not_see_each_other(
    database: str, client_of: NewClient, tmp_path: Path
) -> None:
    async with Sandbox(stems="copy", job_seconds=0.2, requests_per_minute=6000) as service:
        one = client_of(service, journal=database)
        other = MVSepClient(service.free_token, base_url=service.url, journal=database, poll_interval=0.05)
        async with one, other:
            made = songs(tmp_path, 3)
            jobs = [await client.submit(song, algorithm=40, key=song.name) for client in (one, other) for song in made]
            assert len({job.id for job in jobs}) == 6
            assert await other.find(id=jobs[0].id) is None
            for job in jobs:
                with anyio.fail_after(TIMEOUT):
                    assert (await job).files
        assert len(service.jobs) == 6
        assert service.count_status(400) == 0
        assert service.peak_unfinished(service.free_token) == 1
        with psycopg.connect(database) as connection:
            rows = connection.execute("SELECT account, count(*) FROM mvsep.jobs GROUP BY 1").fetchall()
        assert [count for _, count in rows] == [3, 3]


async def test_a_pair_is_sent_by_the_process_that_takes_it_over(
    database: str, client_of: NewClient, tmp_path: Path
) -> None:
    async with Sandbox(stems="copy", job_seconds=0.1) as service:
        service.occupy(service.premium_token, 10)
        target, reference = songs(tmp_path, 2)
        async with client_of(service, journal=database, concurrency=10) as one:
            matchering = next(found for found in await one.catalogue() if "matchering" in found.name.lower())
            job = await one.submit(Pair(target, reference), algorithm=matchering, key="k")
        service.release(service.premium_token)
        async with client_of(service, journal=database, concurrency=10) as other:
            found = await other.find(key="k")
            assert found is not None
            assert (found.id, found.source) == (job.id, Pair(target, reference))
            with anyio.fail_after(TIMEOUT):
                assert (await found).files


async def test_a_recipe_that_two_processes_run_is_paid_once(
    database: str, client_of: NewClient, song: Path, tmp_path: Path
) -> None:
    recipe = Recipe(
        name="two steps", steps=[Step(name="a", algorithm=40, keep=()), Step(name="b", algorithm=49, input="a.Vocals")]
    )
    async with (
        Sandbox(stems="copy", job_seconds=0.2, requests_per_minute=6000) as service,
        client_of(service, journal=database) as one,
        client_of(service, journal=database) as other,
    ):
        errors: list[object] = []

        async def run(client: MVSepClient) -> None:
            errors.append((await run_recipe(client, recipe, song, tmp_path / "out")).error)

        with anyio.fail_after(TIMEOUT):
            async with anyio.create_task_group() as tasks:
                for client in (one, other):
                    tasks.start_soon(run, client)
        assert errors == [None, None]
        assert len(service.jobs) == 2


async def test_a_webhook_that_arrives_at_another_process_is_harmless(
    held: Sandbox, database: str, client_of: NewClient, song: Path
) -> None:
    async with client_of(held, journal=database) as one, client_of(held, journal=database) as other:
        job = await one.submit(song, algorithm=40, key="k")
        await until(job, Stage.WAITING)
        receiver = WebhookReceiver(other)
        held.finish(held.jobs[0].hash)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(receiver), base_url="http://other") as http:
            answer = await http.post(receiver.path, json={"hash": job.hash})
        assert answer.status_code < 300
        with anyio.fail_after(TIMEOUT):
            assert (await job).files
