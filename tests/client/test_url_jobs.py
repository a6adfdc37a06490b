"""Songs that the service fetches by itself: three stages, two hashes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from mvsep_async import JobFailedError, JobNotFoundError, Stage
from mvsep_async.sandbox import Sandbox
from mvsep_async.sandbox.settings import Quirks
from tests.conftest import NewClient

from .support import all_of, calls, paid, stages, until

URL = "https://music.test/files/Some%20Song.wav?secret=1"


@pytest.fixture
async def fetching(song: Path) -> AsyncIterator[Sandbox]:
    async with Sandbox(stems="copy", job_seconds=0.0, fetch_seconds=0.15) as sandbox:
        sandbox.remote_file(URL, song)
        yield sandbox


@pytest.mark.parametrize(
    "quirks",
    [
        {},
        {"early_not_found": 0.1},
        {"remote_pending": "not_found"},
        {"remote_pending": "status"},
        {"link_only_hash": True},
        {"link_only_hash": True, "escaped_slashes": True},
        {"url_long_hash": True},
        {"url_long_hash": True, "early_not_found": 0.1},
        {"remote_stuck": True},
    ],
)
async def test_from_the_url_to_the_stems(
    fetching: Sandbox, client_of: NewClient, song: Path, tmp_path: Path, quirks: dict[str, Any]
) -> None:
    fetching.quirks = evolve(Quirks(), **quirks)
    async with client_of(fetching) as client:
        job = await client.submit(URL, algorithm=40)
        seen = await all_of(aiter(job))
        paths = await job.download(tmp_path / "stems")
        (made,) = fetching.jobs
        assert job.hash == made.hash != made.short_hash
        assert all(client.attach(hash) == job for hash in (made.hash, made.short_hash) if hash)
    course = stages(seen)
    assert course[:2] == [Stage.QUEUED, Stage.FETCHING]
    assert course[-1] is Stage.DONE
    assert Stage.UPLOADING not in course
    assert all(progress.bytes_sent is None for progress in seen)
    assert [path.read_bytes() for path in paths] == [song.read_bytes()] * 2
    assert {path.parent.name for path in paths} == {"Some Song"}


async def test_each_stage_is_asked_at_its_own_endpoint(fetching: Sandbox, client_of: NewClient) -> None:
    async with client_of(fetching) as client:
        await (await client.submit(URL, algorithm=40))
    (made,) = fetching.jobs
    for request in fetching.requests:
        if request.path == "/api/separation/get-remote":
            assert str(made.short_hash) in request.query
        if request.path == "/api/separation/get":
            assert made.hash in request.query
    assert calls(fetching, "separation/get-remote") >= 1


async def test_a_url_that_cannot_be_fetched_fails_with_the_services_words(
    client_of: NewClient,
) -> None:
    async with Sandbox(stems="copy") as sandbox, client_of(sandbox) as client:
        job = await client.submit("http://127.0.0.1:1/none.wav", algorithm=40)
        with pytest.raises(JobFailedError, match="could not be downloaded"):
            await job


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("https://music.test/a.wav", "direct"),
        ("https://www.dropbox.com/s/x/a.wav?dl=1", "dropbox"),
        ("https://drive.google.com/file/d/abc/view", "drive"),
        ("https://mega.nz/file/abc#key", "mega"),
        ("https://notdropbox.com/a.wav", "direct"),
    ],
)
async def test_where_it_lies_is_recognised_and_reported(song: Path, client_of: NewClient, url: str, kind: str) -> None:
    told = []

    async def spy(request: Any) -> None:
        if request.url.path.endswith("create"):
            told.append(request.stream)

    import httpx

    async with Sandbox(stems="copy", job_seconds=0.0) as sandbox:
        sandbox.remote_file(url, song)
        async with (
            httpx.AsyncClient(event_hooks={"request": [spy]}) as http,
            client_of(sandbox, http=http) as client,
        ):
            await (await client.submit(url, algorithm=40))
    body = b"".join([piece async for piece in told[0]])
    assert f'name="remote_type"\r\n\r\n{kind}\r\n'.encode() in body


async def test_the_slot_is_held_from_the_create_to_the_end(song: Path, client_of: NewClient) -> None:
    async with Sandbox(stems="copy", manual=True, fetch_seconds=0.05, premium_limit=50) as sandbox:
        sandbox.remote_file(URL, song)
        async with client_of(sandbox, concurrency=1) as client:
            first, second = [await client.submit(URL, algorithm=40) for _ in range(2)]
            await until(lambda: first.stage is Stage.WAITING)
            assert paid(sandbox) == 1
            sandbox.finish(sandbox.jobs[0].hash)
            await first
            await until(lambda: second.stage is Stage.WAITING)
        assert sandbox.peak_unfinished(sandbox.premium_token) == 1


async def test_one_deleted_at_the_service_ends_with_an_error_that_says_so(song: Path, client_of: NewClient) -> None:
    async with Sandbox(stems="copy", manual=True) as sandbox:
        sandbox.remote_file(URL, song)
        async with client_of(sandbox, poll_interval=0.005) as client:
            job = await client.submit(URL, algorithm=40)
            await until(lambda: job.stage is Stage.WAITING)
            sandbox.delete(str(job.hash))
            with pytest.raises(JobNotFoundError, match="deleted"):
                await job
