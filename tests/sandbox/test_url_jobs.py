"""URL jobs, in their three stages."""

import re
from pathlib import Path
from typing import Any

import anyio
import pytest

from mvsep_async.sandbox import Quirks

from .conftest import Api, Open, make_song


async def fetched(api: Api, short: str) -> dict[str, Any]:
    """Look at get-remote until it is done or failed."""
    while True:
        answer = await api.status(short, "get-remote")
        if answer.get("status") in ("done", "failed"):
            return answer
        await anyio.sleep(0.01)


async def file_url(api: Api, content: bytes, name: str) -> str:
    """The address of a file that a sandbox serves."""
    hash_ = await api.made(content, name=name)
    api.sandbox.finish(hash_)
    url: str = (await api.status(hash_))["data"]["input_file"]["url"]
    return url


async def test_a_url_job_goes_through_its_stages(open_sandbox: Open, song: bytes) -> None:
    origin, api = await open_sandbox(), await open_sandbox()
    short = await api.made(None, url=await file_url(origin, song, "Song.wav"))
    assert len(short) == 16
    done = await fetched(api, short)
    long = done["data"]["hash"]
    assert done["data"]["link"].endswith(f"/api/separation/get?hash={long}")
    assert long.endswith("-song.wav")
    assert (await api.status(short))["status"] == "not_found"
    assert (await api.status(long))["status"] == "waiting"
    assert (await api.status(long, "get-remote"))["status"] == "not_found"
    api.sandbox.finish(long)
    data = (await api.status(long))["data"]
    assert (await api.http.get(data["files"][0]["url"])).content == song
    record = api.sandbox.job(short)
    assert (record.hash, record.short_hash, record.bytes) == (long, short, len(song))


@pytest.mark.parametrize("pending", ["message", "not_found", "status"])
async def test_get_remote_while_the_file_is_fetched(open_sandbox: Open, pending: Any) -> None:
    origin, api = await open_sandbox(), await open_sandbox(fetch_seconds=3600, quirks=Quirks(remote_pending=pending))
    created = (await api.create(None, url=await file_url(origin, b"x", "x.wav"))).json()
    assert created["success"] == "true"
    data = created["data"]
    answer = (await api.http.get(data["link"])).json()
    assert answer["success"] is (pending == "status")
    assert "message" in answer["data"]
    assert [job["hash"] for job in (await api.user())["current_queue"]] == [data["hash"]]
    cancelled = await api.post("separation/cancel", api_token=api.sandbox.premium_token, hash=data["hash"])
    assert cancelled.json()["success"] is True
    assert api.sandbox.unfinished(api.sandbox.premium_token) == 0


async def test_the_hash_may_be_in_the_link_only(open_sandbox: Open) -> None:
    origin, api = await open_sandbox(), await open_sandbox(quirks=Quirks(link_only_hash=True))
    done = await fetched(api, await api.made(None, url=await file_url(origin, b"x", "x.wav")))
    assert set(done["data"]) == {"link"}
    assert (await api.http.get(done["data"]["link"])).json()["status"] == "waiting"


@pytest.mark.parametrize("remote_type", ["direct", "mega", "drive", "dropbox"])
async def test_cloud_storage_works_without_a_network(open_sandbox: Open, tmp_path: Path, remote_type: str) -> None:
    api = await open_sandbox()
    (tmp_path / "From a Cloud.mp3").write_bytes(b"bytes")
    url = "https://cloud.example/file/abc"
    api.sandbox.remote_file(url, tmp_path / "From a Cloud.mp3")
    done = await fetched(api, await api.made(None, url=url, remote_type=remote_type))
    assert done["data"]["hash"].endswith("-from-a-cloud.mp3")


async def test_a_url_that_cannot_be_fetched_fails(open_sandbox: Open) -> None:
    origin, api = await open_sandbox(), await open_sandbox()
    for url in (
        f"{origin.sandbox.url}/storage/processed/none.mp3",
        "http://127.0.0.1:1/x.mp3",
        "https://mvsep.example/x.mp3",
    ):
        failed = await fetched(api, await api.made(None, url=url))
        assert failed["status"] == "failed"
    assert "127.0.0.1" in failed["data"]["message"]
    assert api.sandbox.unfinished(api.sandbox.premium_token) == 0


async def test_a_file_beyond_the_plan_is_not_fetched(open_sandbox: Open) -> None:
    origin, api = await open_sandbox(), await open_sandbox(premium_upload_bytes=10)
    failed = await fetched(api, await api.made(None, url=await file_url(origin, b"x" * 11, "x.wav")))
    assert "larger" in failed["data"]["message"]


async def test_create_may_answer_the_long_hash_at_once(open_sandbox: Open, song: bytes) -> None:
    origin = await open_sandbox()
    url = await file_url(origin, song, "Song.wav")
    api = await open_sandbox(fetch_seconds=3600, quirks=Quirks(url_long_hash=True))
    data = (await api.create(None, url=url)).json()["data"]
    assert re.fullmatch(r"\d{14}-[0-9a-f]{10}-[a-z0-9-]+\.wav", data["hash"])
    assert data["link"] == f"{api.sandbox.url}/api/separation/get?hash={data['hash']}"
    assert (await api.status(data["hash"], "get-remote"))["status"] == "not_found"
    assert (await api.status(data["hash"]))["status"] == "waiting"
    while not api.sandbox.job(data["hash"]).duration:
        await anyio.sleep(0.01)
        api.sandbox.advance(3600)
    api.sandbox.finish(data["hash"])
    done = await api.status(data["hash"])
    assert (done["status"], done["data"]["hash"]) == ("done", data["hash"])


async def test_get_remote_may_be_stuck(open_sandbox: Open) -> None:
    origin, api = await open_sandbox(), await open_sandbox(quirks=Quirks(remote_stuck=True))
    short = await api.made(None, url=await file_url(origin, b"x", "Some Song.wav"))
    while api.sandbox.job(short).hash == short:
        await anyio.sleep(0.01)
    assert (await api.status(short, "get-remote"))["status"] == "processing"
    history = (await api.get("app/separation_history", api_token=api.sandbox.premium_token)).json()["data"]
    assert history[0]["hash"].endswith("-some-song.wav")
    assert (await api.status(history[0]["hash"]))["status"] == "waiting"


async def test_too_long_a_file_fails_on_a_free_account(open_sandbox: Open) -> None:
    origin, api = await open_sandbox(), await open_sandbox(stems="separate", free_audio_seconds=1)
    url = await file_url(origin, make_song(seconds=2), "x.wav")
    failed = await fetched(api, await api.made(None, url=url, token=api.sandbox.free_token))
    assert (failed["status"], "longer" in failed["data"]["message"]) == ("failed", True)
