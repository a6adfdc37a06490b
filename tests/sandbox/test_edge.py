"""Faults and limits as a client sees them, on real connections."""

import time
from typing import Any

import anyio
import httpx
import pytest

from mvsep_async.sandbox import Fault, FaultKind

from .conftest import Api, Open

BIG = b"x" * 1_000_000


async def big_file(api: Api) -> str:
    """The address of a result of a million bytes."""
    hash_ = await api.made(BIG)
    api.sandbox.finish(hash_)
    url: str = (await api.status(hash_))["data"]["files"][0]["url"]
    return url


async def test_every_answer_has_the_rate_limit_headers(open_sandbox: Open) -> None:
    api = await open_sandbox(requests_per_minute=60)
    answers = [await api.get("app/queue"), await api.get("app/user"), await api.get("no/such/path")]
    assert [answer.headers["X-RateLimit-Limit"] for answer in answers] == ["60"] * 3
    assert [answer.headers["X-RateLimit-Remaining"] for answer in answers] == ["59", "58", "57"]


@pytest.mark.parametrize("kind", ["fixed", "sliding"])
async def test_beyond_the_limit_is_429(open_sandbox: Open, kind: str) -> None:
    api = await open_sandbox(requests_per_minute=3, rate_kind=kind)
    statuses = [(await api.get("app/queue")).status_code for _ in range(4)]
    assert statuses == [200, 200, 200, 429]
    refused = await api.get("app/queue")
    assert 55 <= int(refused.headers["Retry-After"]) <= 60
    assert refused.headers["X-RateLimit-Remaining"] == "0"
    assert 50 <= int(refused.headers["X-RateLimit-Reset"]) - time.time() <= 65
    assert api.sandbox.count_status(429) == 2


async def test_the_limit_is_over_after_the_window(open_sandbox: Open) -> None:
    api = await open_sandbox(requests_per_minute=1, rate_window=0.2)
    assert (await api.get("app/queue")).status_code == 200
    while (await api.get("app/queue")).status_code == 429:
        await anyio.sleep(0.02)
    assert api.sandbox.count_status(429) > 0


async def test_the_limit_can_be_counted_by_token(open_sandbox: Open) -> None:
    api = await open_sandbox(requests_per_minute=1, rate_scope="token")
    tokens = [api.sandbox.premium_token, api.sandbox.free_token]
    assert [(await api.get("app/user", api_token=token)).status_code for token in tokens * 2] == [200, 200, 429, 429]


async def test_downloads_and_control_requests_do_not_count(open_sandbox: Open) -> None:
    api = await open_sandbox(requests_per_minute=2)
    url = await big_file(api)
    assert [(await api.http.get(url)).status_code for _ in range(3)] == [200] * 3
    assert (await api.http.get(f"{api.sandbox.url}/_sandbox/state")).status_code == 200


async def test_refuse(open_sandbox: Open) -> None:
    api = await open_sandbox()
    api.sandbox.faults.add(kind="refuse", path="app/*", status=503, body="gone", headers={"X-Why": "test"}, count=2)
    answers = [await api.get("app/queue"), await api.get("app/news"), await api.get("app/queue")]
    assert [answer.status_code for answer in answers] == [503, 503, 200]
    assert (answers[0].text, answers[0].headers["X-Why"]) == ("gone", "test")
    api.sandbox.faults.add(kind="refuse", body={"success": False, "errors": ["no"]})
    answer = await api.create(b"x")
    assert (answer.status_code, answer.json()["errors"]) == (400, ["no"])
    assert api.sandbox.jobs == []


async def test_faults_choose_by_path_method_and_number(open_sandbox: Open) -> None:
    api = await open_sandbox()
    api.sandbox.faults.add(Fault(kind=FaultKind.REFUSE, method="post", skip=1))
    assert (await api.get("app/queue")).status_code == 200
    statuses = [(await api.post("app/enable_premium", api_token=api.sandbox.free_token)).status_code for _ in range(3)]
    assert statuses == [200, 400, 200]
    fault = api.sandbox.faults.add(kind="refuse", count=None)
    assert (await api.get("app/queue")).status_code == 400
    api.sandbox.faults.remove(fault)
    assert (await api.get("app/queue")).status_code == 200
    assert api.sandbox.faults.active == []
    assert api.sandbox.faults.triggered == 2


async def test_random_faults_depend_on_the_seed_only(open_sandbox: Open) -> None:
    async def run(seed: int) -> list[int]:
        api = await open_sandbox(seed=seed)
        api.sandbox.faults.add(kind="refuse", count=None, probability=0.5)
        return [(await api.get("app/queue")).status_code for _ in range(30)]

    first = await run(1)
    assert first == await run(1) != await run(2)
    assert set(first) == {200, 400}


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("kind", ["drop", "lose_answer"])
async def test_broken_connections(open_sandbox: Open, kind: str, reset: bool) -> None:
    api = await open_sandbox()
    api.sandbox.faults.add(kind=kind, path="separation/create", reset=reset)
    with pytest.raises(httpx.NetworkError if reset else httpx.TransportError):
        await api.create(b"x")
    assert len(api.sandbox.jobs) == (kind == "lose_answer")
    assert api.sandbox.requests[-1].status == 0
    assert (await api.create(b"x")).status_code == 200


async def test_an_upload_cut_short_is_no_job(open_sandbox: Open) -> None:
    api = await open_sandbox()
    api.sandbox.faults.add(kind="cut_request", path="separation/create", after_bytes=100_000)
    with pytest.raises(httpx.TransportError):
        await api.create(b"x" * 5_000_000)
    assert api.sandbox.jobs == []
    assert api.sandbox.unfinished(api.sandbox.premium_token) == 0
    assert (await api.create(b"x")).status_code == 200


@pytest.mark.parametrize("after", [0, 1, 300_000, 999_999])
async def test_a_download_cut_short_resumes(open_sandbox: Open, after: int) -> None:
    api = await open_sandbox()
    url = await big_file(api)
    api.sandbox.faults.add(kind="cut_response", path="/storage/*", after_bytes=after)
    received = bytearray()
    with pytest.raises(httpx.RemoteProtocolError):
        async with api.http.stream("GET", url) as response:
            etag = response.headers["ETag"]
            async for piece in response.aiter_raw():
                received += piece
    assert len(received) == after
    rest = await api.http.get(url, headers={"Range": f"bytes={after}-", "If-Range": etag})
    assert (rest.status_code, rest.headers["Content-Range"]) == (206, f"bytes {after}-999999/1000000")
    assert bytes(received) + rest.content == BIG


async def test_cut_every_so_many_bytes(open_sandbox: Open) -> None:
    api = await open_sandbox()
    url = await big_file(api)
    api.sandbox.faults.add(kind="cut_response", path="/storage/*", after_bytes=300_000, count=None)
    received = bytearray()
    attempts = 0
    while len(received) < len(BIG):
        attempts += 1
        try:
            async with api.http.stream("GET", url, headers={"Range": f"bytes={len(received)}-"}) as response:
                async for piece in response.aiter_raw():
                    received += piece
        except httpx.RemoteProtocolError:
            pass
    assert (bytes(received), attempts) == (BIG, 4)


async def test_a_reset_in_the_middle_of_a_download(open_sandbox: Open) -> None:
    api = await open_sandbox()
    url = await big_file(api)
    api.sandbox.faults.add(kind="cut_response", path="/storage/*", after_bytes=600_000, reset=True)
    with pytest.raises(httpx.NetworkError):
        await api.http.get(url)


async def test_a_stalled_answer_is_completed(open_sandbox: Open) -> None:
    api = await open_sandbox()
    url = await big_file(api)
    api.sandbox.faults.add(kind="stall", path="/storage/*", after_bytes=10, seconds=0.2)
    with pytest.raises(httpx.ReadTimeout):
        await api.http.get(url, timeout=httpx.Timeout(10, read=0.05))
    api.sandbox.faults.add(kind="stall", path="/storage/*", after_bytes=10, seconds=0.05)
    assert (await api.http.get(url)).content == BIG


async def test_a_delayed_answer_is_right(open_sandbox: Open) -> None:
    api = await open_sandbox()
    api.sandbox.faults.add(kind="delay", path="app/queue", seconds=0.2)
    with pytest.raises(httpx.ReadTimeout):
        await api.http.get("app/queue", timeout=httpx.Timeout(10, read=0.05))
    api.sandbox.faults.add(kind="delay", path="app/queue", seconds=0.01)
    assert "queue" in (await api.get("app/queue")).json()


async def test_connections_can_be_slow(open_sandbox: Open) -> None:
    api = await open_sandbox()
    url = await big_file(api)
    api.sandbox.bytes_per_second = 1000
    with anyio.move_on_after(0.3) as download:
        await api.http.get(url)
    with anyio.move_on_after(0.3) as upload:
        await api.create(BIG * 20)
    assert download.cancelled_caught
    assert upload.cancelled_caught
    api.sandbox.bytes_per_second = 1e9
    assert (await api.http.get(url)).content == BIG


@pytest.mark.parametrize("kind", ["garble", "truncate", "empty"])
async def test_invalid_json(open_sandbox: Open, kind: str) -> None:
    api = await open_sandbox()
    right = await api.get("app/queue")
    api.sandbox.faults.add(kind=kind)
    changed = await api.get("app/queue")
    assert changed.status_code == 200
    with pytest.raises(ValueError):
        changed.json()
    assert len(changed.content) == {"garble": len(right.content), "truncate": len(right.content) // 2, "empty": 0}[kind]


@pytest.mark.parametrize("status", [200, 502, 503, 520, 524])
@pytest.mark.parametrize(("kind", "jobs"), [("html", 0), ("html_after", 1)])
async def test_error_pages_of_the_edge(open_sandbox: Open, kind: str, jobs: int, status: int) -> None:
    api = await open_sandbox()
    api.sandbox.faults.add(kind=kind, status=status)
    answer = await api.create(b"x")
    assert (answer.status_code, answer.headers["content-type"]) == (status, "text/html; charset=utf-8")
    assert answer.text.startswith("<!DOCTYPE html>")
    assert len(api.sandbox.jobs) == jobs


@pytest.mark.parametrize("value", [5, 0, "soon", "Sun, 22 Nov 2026 12:00:00 GMT", None])
async def test_injected_rate_limits(open_sandbox: Open, value: Any) -> None:
    api = await open_sandbox()
    api.sandbox.faults.add(kind="rate_limit", retry_after=value)
    answer = await api.get("app/queue")
    assert (answer.status_code, answer.headers.get("Retry-After")) == (429, None if value is None else str(value))
    assert answer.headers["X-RateLimit-Remaining"] == "0"


async def test_the_log_holds_no_token(open_sandbox: Open) -> None:
    api = await open_sandbox()
    await api.get("app/separation_history", api_token=api.sandbox.premium_token, start=3)
    (record,) = api.sandbox.requests
    assert (record.method, record.path, record.status) == ("GET", "/api/app/separation_history", 200)
    assert (record.query, record.host) == ("api_token=%2A%2A%2A&start=3", api.sandbox.domain)
    assert api.sandbox.premium_token not in repr(api.sandbox.requests)
    assert api.sandbox.premium_token not in repr(api.sandbox)


async def test_files_have_what_resuming_needs(open_sandbox: Open) -> None:
    api = await open_sandbox()
    url = await big_file(api)
    head = await api.http.head(url)
    assert (head.status_code, head.headers["Content-Length"], head.content) == (200, "1000000", b"")
    assert head.headers["ETag"].startswith('"')
    assert {"last-modified", "accept-ranges", "content-disposition"} <= set(head.headers)
    beyond = await api.http.get(url, headers={"Range": "bytes=1000000-"})
    assert (beyond.status_code, beyond.headers["Content-Range"]) == (416, "bytes */1000000")
    other = await api.http.get(url, headers={"Range": "bytes=5-", "If-Range": '"other"'})
    assert (other.status_code, other.content) == (200, BIG)


async def test_links_expire_and_are_renewed(open_sandbox: Open) -> None:
    api = await open_sandbox()
    old = await big_file(api)
    api.sandbox.expire_links()
    assert (await api.http.get(old)).status_code == 403
    hash_ = api.sandbox.jobs[0].hash
    new = (await api.status(hash_))["data"]["files"][0]["url"]
    assert new != old
    assert (await api.http.get(new)).content == BIG
    api.sandbox.links_expire = 100
    assert (await api.http.get(new)).status_code == 200
    api.sandbox.advance(101)
    assert (await api.http.get(new)).status_code == 403
