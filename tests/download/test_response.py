"""Addresses that downloads may lead to, and downloads that are too slow."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import anyio
import httpx
import httpx2
import pytest

from mvsep_async.download.fetch import Fetch
from mvsep_async.download.ranges import Reject
from mvsep_async.download.response import RequestError, request_file
from mvsep_async.download.retry import Fail, Retry, RetryState
from mvsep_async.errors import DownloadError
from mvsep_async.transport.bandwidth import Bandwidth, MinimumRate
from mvsep_async.transport.client import make_http
from tests.transport.conftest import audio
from tests.transport.servers import Connection, FileAnswer, Request, serving

NEW: dict[str, Any] = {
    "ours": lambda: make_http(10.0),
    "httpx": lambda: httpx.AsyncClient(trust_env=False),
    "httpx2": lambda: httpx2.AsyncClient(trust_env=False),
}


@pytest.mark.parametrize("transport", NEW)
async def test_links_and_redirects_to_private_addresses_are_refused(transport: str, tmp_path: Path) -> None:
    def redirect(connection: Connection, request: Request) -> None:
        if request.target == "/private":
            connection.answer("302 Found", {"Location": server.url("/stem.wav").replace("127.0.0.1", "localhost")})
        else:
            FileAnswer(audio(1000))(connection, request)

    def service_itself(url: str) -> bool:
        return "127.0.0.1" in url

    with serving(redirect) as server:
        async with NEW[transport]() as http:
            await Fetch(
                http=http,
                url=server.url("/stem.wav"),
                target=tmp_path / "a.wav",
                root=tmp_path,
                may_be_private=service_itself,
            ).run()
            for url in (server.url("/private"), server.url("/stem.wav").replace("127.0.0.1", "localhost")):
                with pytest.raises(DownloadError, match=r"private network.*MVSEP_ALLOW_PRIVATE_DOWNLOADS"):
                    await Fetch(
                        http=http,
                        url=url,
                        target=tmp_path / "b.wav",
                        root=tmp_path,
                        may_be_private=service_itself,
                    ).run()
    assert [request.target for request in server.requests] == ["/stem.wav", "/private"]


@pytest.mark.parametrize("transport", NEW)
async def test_an_answer_without_headway_is_cut(transport: str) -> None:
    over = threading.Event()

    def drip(connection: Connection, request: Request) -> None:
        connection.answer("200 OK", {"Content-Length": 1000000})
        while not over.wait(0.01):
            connection.send(b"x")

    strict = MinimumRate(rate=100_000, window=0.1)
    with serving(drip) as server:
        async with NEW[transport]() as http:
            with pytest.raises(RequestError, match="less than") as caught:
                async with request_file(http, server.url(), {}, minimum_rate=strict) as response:
                    while await response.read_into(memoryview(bytearray(1000))):
                        pass
        over.set()
    assert caught.value.temporary
    assert caught.value.slow


def test_bytes_that_drip_in_do_not_renew_the_patience() -> None:
    state = RetryState(patience=10, since=0.0)
    slow = Reject("too slow", temporary=True, slow=True)
    state, step = state.next(slow, 100, 5.0)
    assert isinstance(step, Retry)
    state, step = state.next(slow, 200, 11.0)
    assert isinstance(step, Fail)
    state, step = state.next(Reject("cut", temporary=True), 300, 12.0)
    assert isinstance(step, Retry)


async def test_a_rate_limit_paces_a_download(tmp_path: Path) -> None:
    data = audio(60_000)
    with serving(FileAnswer(data)) as server:
        async with make_http(10.0) as http:
            limit = Bandwidth(200_000)
            began = anyio.current_time()
            await Fetch(http=http, url=server.url(), target=tmp_path / "a.wav", root=tmp_path, bandwidth=limit).run()
            assert anyio.current_time() - began > 0.15, "60 kB at 200 kB/s, less one piece"
    assert (tmp_path / "a.wav").read_bytes() == data
