"""During an outage jobs wait, and finish afterwards or fail after `patience`."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import anyio
import httpx
import pytest

from mvsep_async import DownloadError, Job, MVSepClient, ServiceUnavailableError, Stage, TransportError
from mvsep_async.errors import MVSepError
from mvsep_async.sandbox import Sandbox
from tests.conftest import STRANGER, NewClient, wav

from .support import calls, paid, reached, until

DOWN = (TransportError, ServiceUnavailableError)


async def test_during_the_upload(held: Sandbox, client_of: NewClient, tmp_path: Path) -> None:
    song = tmp_path / "song.wav"
    song.write_bytes(wav(300.0))
    async with client_of(held, concurrency=1) as client:
        job = await client.submit(song, algorithm=40)
        async for progress in job:
            if progress.bytes_sent:
                break
        await held.go_down()
        await until(lambda: "connection" in str(job.progress.message))
        assert job.error is None
        await held.come_back()
        await reached(job, Stage.WAITING)
        held.finish(str(job.hash))
        await job
    assert paid(held) == 1


async def test_before_the_first_create(held: Sandbox, client_of: NewClient, song: Path) -> None:
    await held.go_down()
    async with client_of(held) as client:
        jobs = [await client.submit(song, algorithm=40) for _ in range(3)]
        await until(lambda: any("connection" in str(job.progress.message) for job in jobs))
        assert [job.error for job in jobs] == [None] * 3
        await held.come_back()
        for job in jobs:
            await reached(job, Stage.WAITING)
    assert paid(held) == 3


async def test_a_service_that_is_down_is_not_asked_for_every_song_that_is_submitted(song: Path) -> None:
    asked: list[httpx.Request] = []

    def refuse(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        raise httpx.ConnectError("nobody is there")

    async with (
        httpx.AsyncClient(transport=httpx.MockTransport(refuse)) as http,
        MVSepClient(STRANGER, base_url="https://mvsep.example", http=http) as client,
    ):
        for _ in range(300):
            await client.submit(song, algorithm=40)
            await anyio.lowlevel.checkpoint()
        await until(lambda: asked)
    # Rests of 0.5 s, 1 s, 2 s, … lie between: on the slowest machine a handful.
    assert len(asked) <= 8


async def test_refusals_between_two_failures_are_no_outage(held: Sandbox, client_of: NewClient, tmp_path: Path) -> None:
    song = tmp_path / "song.wav"
    song.write_bytes(wav(300.0))
    async with client_of(held, concurrency=10, patience=0.2) as client:
        held.occupy(held.premium_token, 10)
        held.faults.add(kind="cut_request", path="separation/create", after_bytes=1000)
        job = await client.submit(song, algorithm=40)
        # The account is asked until it has room, which takes longer than patience lasts.
        await until(lambda: held.count_status(400) >= 1 and calls(held, "app/user") >= 8)
        held.faults.add(kind="cut_request", path="separation/create", after_bytes=1000)
        held.release(held.premium_token)
        await reached(job, Stage.WAITING, Stage.FAILED)
        assert job.error is None


async def test_while_jobs_are_watched(held: Sandbox, client_of: NewClient, song: Path) -> None:
    async with client_of(held) as client:
        job = await client.submit(song, algorithm=40)
        await reached(job, Stage.WAITING)
        await held.go_down()
        await until(lambda: "asking again" in str(job.progress.message))
        assert (job.stage, job.error) == (Stage.WAITING, None)
        held.finish(str(job.hash))
        await held.come_back()
        await job


async def test_while_stems_are_downloaded(sandbox: Sandbox, client_of: NewClient, tmp_path: Path) -> None:
    song = tmp_path / "song.wav"
    song.write_bytes(wav(60.0))
    async with client_of(sandbox) as client:
        job = await client.submit(song, algorithm=40)
        await job
        sandbox.faults.add(kind="stall", path="/storage/*", after_bytes=900_000, seconds=5, count=2)
        done: list[list[Path]] = []

        async def download() -> None:
            done.append(await job.download(tmp_path / "stems"))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(download)
            await until(lambda: (job.progress.bytes_received or 0) >= 1_800_000)
            await sandbox.go_down()
            await anyio.sleep(0.02)
            await sandbox.come_back()
        assert {path.read_bytes() for path in done[0]} == {song.read_bytes()}
    # It went on from where it was.
    assert any(request.status == 206 for request in sandbox.requests)


async def test_in_every_stage_patience_has_an_end(
    held: Sandbox, client_of: NewClient, song: Path, tmp_path: Path
) -> None:
    async with client_of(held, patience=0.1, concurrency=2) as client:
        watched, done = [await client.submit(song, algorithm=40) for _ in range(2)]
        await reached(watched, Stage.WAITING)
        await reached(done, Stage.WAITING)
        held.finish(str(done.hash))
        await done
        await held.go_down()
        queued = [await client.submit(song, algorithm=40) for _ in range(3)]
        for job in (watched, *queued):
            with pytest.raises(DOWN) as caught:
                await job
            assert caught.value.job == job.id
            assert job.stage is Stage.FAILED
        with pytest.raises(MVSepError):
            await done.download(tmp_path)
        # The next one is not told of an outage that may be over.
        await held.come_back()
        await reached(await client.submit(song, algorithm=40), Stage.WAITING)


async def test_patience_begins_anew_for_who_comes_later(held: Sandbox, client_of: NewClient, song: Path) -> None:
    async with client_of(held, patience=2.0) as client:
        await held.go_down()
        with pytest.raises(DOWN):
            await (await client.submit(song, algorithm=40))
        job = await client.submit(song, algorithm=40)
        await until(lambda: "connection" in str(job.progress.message))
        assert job.error is None
        await held.come_back()
        await reached(job, Stage.WAITING)


async def test_answers_that_are_nonsense_count_as_an_outage(held: Sandbox, client_of: NewClient, song: Path) -> None:
    async with client_of(held, patience=0.1) as client:
        job = await client.submit(song, algorithm=40)
        await reached(job, Stage.WAITING)
        held.faults.add(kind="garble", path="separation/get", count=None)
        with pytest.raises(MVSepError, match="not JSON"):
            await job


@pytest.mark.parametrize("kind", ["html", "garble", "truncate", "empty", "drop", "lose_answer", "cut_response"])
async def test_a_few_bad_answers_change_nothing(held: Sandbox, client_of: NewClient, song: Path, kind: str) -> None:
    async with client_of(held) as client:
        job = await client.submit(song, algorithm=40)
        await reached(job, Stage.WAITING)
        held.faults.add(kind=kind, path="separation/get", count=3)
        held.finish(str(job.hash))
        await job
    assert held.faults.triggered == 3


async def test_single_calls_ride_out_a_short_outage(held: Sandbox, client_of: NewClient) -> None:
    async with client_of(held) as client:
        held.faults.add(kind="html", path="app/*", count=2)
        held.faults.add(kind="drop", path="app/*", count=1)
        assert (await client.account.user()).is_premium


async def test_429_never_reaches_the_caller(client_of: NewClient, song: Path) -> None:
    async with Sandbox(stems="copy", job_seconds=0.0) as sandbox:
        sandbox.faults.add(kind="rate_limit", path="*", retry_after=0, count=2)
        async with client_of(sandbox) as client:
            await (await client.submit(song, algorithm=40))
        assert sandbox.count_status(429) == 2


@pytest.mark.parametrize("body", [{"success": False, "message": "Unauthenticated."}, {"success": False}, ""])
async def test_a_token_that_the_account_accepts_is_not_given_up_for_one_refusal_of_a_create(
    held: Sandbox, client_of: NewClient, song: Path, body: object
) -> None:
    held.faults.add(kind="refuse", path="separation/create", status=401, body=body)
    async with client_of(held, concurrency=1) as client:
        jobs = [await client.submit(song, algorithm=40) for _ in range(3)]
        await reached(jobs[0], Stage.WAITING)
        assert [job.error for job in jobs] == [None] * 3


@pytest.mark.parametrize(("keyed", "journaled"), [(True, True), (True, False), (False, True)])
@pytest.mark.parametrize("ends", ["polls", "search", "download"])
async def test_a_job_that_an_outage_has_ended_is_continued_and_not_paid_again(
    sandbox: Sandbox, client_of: NewClient, song: Path, tmp_path: Path, ends: str, keyed: bool, journaled: bool
) -> None:
    """Neither the next submit of its song, nor one that is to repeat failed songs, nor one after a prune pays again."""
    journal = tmp_path / "journal.db" if journaled else None
    async with client_of(sandbox, patience=0.3, journal=journal) as client:

        async def separate(**options: bool) -> Job:
            if keyed:
                job = await client.submit(song, algorithm=40, key="song")
                with suppress(MVSepError):
                    await job.download(tmp_path / "stems")
                return job
            async for job in client.map([song], directory=tmp_path / "stems", algorithm=40, **options):
                return job
            raise AssertionError

        match ends:
            case "polls":
                fault = sandbox.faults.add(kind="html", path="separation/get", count=None)
            case "search":
                sandbox.faults.add(kind="lose_answer", path="separation/create")
                fault = sandbox.faults.add(kind="html", path="app/*", count=None, skip=1)
            case _:
                fault = sandbox.faults.add(kind="html", path="/storage/*", count=None)
        first = await separate()
        sandbox.faults.remove(fault)
        if not (keyed and ends == "download"):  # else it has not failed, since its download is the caller's
            assert isinstance(first.error, ServiceUnavailableError | DownloadError)
            assert await client.prune() == await client.prune([first]) == 0
        again = await separate() if keyed else await separate(retry_failed=True)
        assert again == first
        assert again.error is None
        assert len(again.paths) == 2
    assert paid(sandbox) == 1
