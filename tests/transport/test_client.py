import asyncio
import select
import socket
import ssl
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import httpx
import psutil
import pytest

from mvsep_async.http.content import BytesContent, FileContent
from mvsep_async.http.multipart import MultipartBody, Part
from mvsep_async.transport.client import FastTransport, make_http
from tests.transport.conftest import audio
from tests.transport.servers import Connection, FileAnswer, Hangup, Request, serving

SONG = audio(2_000_000)


def ok(connection: Connection, request: Request) -> None:
    connection.answer("200 OK", {"Content-Type": "application/json"}, b'{"ok": true}')


def swallow(connection: Connection, request: Request) -> None:
    connection.read_body(int(request.headers.get("content-length", 0)))
    ok(connection, request)


def trusting(context: ssl.SSLContext, **more: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=FastTransport(httpx.Limits(**more), context), timeout=60)


@pytest.mark.parametrize("encrypted", [False, True])
@pytest.mark.parametrize("size", [500_000, 700_000, 900_000])
async def test_no_wait_for_a_slow_line_follows_the_check_before_the_last_bytes(
    encrypted: bool, size: int, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    sendable: list[bool] = []

    def read_slowly(connection: Connection, request: Request) -> None:
        left = int(request.headers["content-length"])
        while left:
            left -= len(connection.read_body(min(left, 20_000)))
            time.sleep(0.005)
        ok(connection, request)

    async def check() -> None:
        (descriptor,) = (
            each.fd for each in psutil.Process().net_connections("tcp") if each.raddr and each.raddr.port == port
        )
        sendable.append(bool(select.select([], [descriptor], [], 0)[1]))

    body = MultipartBody({}, (Part("audiofile", "s.wav", BytesContent(audio(size))),), before_last=check)
    async with trusting(client_tls) as http:
        with serving(read_slowly, tls=server_tls if encrypted else None) as server:
            port = httpx.URL(server.url()).port
            assert (await http.post(server.url(), content=body, headers=body.headers)).is_success
    assert sendable == [True]


@pytest.mark.parametrize("encrypted", [False, True])
async def test_a_refused_upload_is_not_sent_to_its_end(
    encrypted: bool, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext, tmp_path: Path
) -> None:
    done = threading.Event()

    def refuse(connection: Connection, request: Request) -> None:
        connection.answer("413 Too Large", {"Content-Type": "application/json"}, b'{"message": "too large"}')
        done.wait(120)  # and reads no further, nor closes: only the answer can end this
        raise Hangup

    song = tmp_path / "song.wav"
    with song.open("wb") as file:
        file.truncate(64 << 20)
    async with trusting(client_tls) as http:
        with serving(refuse, tls=server_tls if encrypted else None) as server:
            body = MultipartBody({}, (Part("audiofile", "s.wav", await FileContent.open(song)),))
            response = await http.post(server.url(), content=body, headers=body.headers)
            done.set()
            assert response.status_code == 413
            assert response.json() == {"message": "too large"}
            assert not body.handed_over
            server.answer = swallow
            assert (await http.post(server.url(), content=b"x")).is_success


async def test_a_cancelled_upload_leaves_no_generator_to_the_event_loop() -> None:
    received, over = threading.Event(), threading.Event()

    def receive_some(connection: Connection, request: Request) -> None:
        connection.read_body(1)
        received.set()
        over.wait(120)
        raise Hangup

    body = MultipartBody({}, (Part("audiofile", "s.wav", BytesContent(bytes(64 << 20))),))
    before = asyncio.all_tasks()
    async with httpx.AsyncClient(transport=FastTransport(httpx.Limits()), timeout=60) as http:
        with serving(receive_some) as server:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(partial(http.post, server.url(), content=body, headers=body.headers))
                await anyio.to_thread.run_sync(received.wait)
                tasks.cancel_scope.cancel()
            assert asyncio.all_tasks() == before
            over.set()


async def test_a_slow_line_may_take_its_time() -> None:
    """Each step of an upload has the whole write timeout, however long a piece takes."""

    def sip(connection: Connection, request: Request) -> None:
        left = int(request.headers["content-length"]) - len(connection.rest)
        connection.rest = b""
        for _ in range(25):
            threading.Event().wait(0.1)
            left -= len(connection.sock.recv(200_000))
        connection.read_body(left)
        ok(connection, request)

    async with make_http(httpx.Timeout(10, write=2)) as http:
        with serving(sip) as server:
            assert (await http.post(server.url(), content=b"x" * (24 << 20))).is_success


def test_proxies_of_the_environment_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    def proxy(connection: Connection, request: Request) -> None:
        ok(connection, request)

    async def main() -> None:
        async with make_http(httpx.Timeout(10)) as http:
            assert (await http.get("http://nowhere.invalid/x")).is_success

    with serving(proxy) as server:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{server.port}")
        asyncio.run(main())
    assert server.requests[0].target == "http://nowhere.invalid/x"


def test_making_a_client_reads_no_certificates(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(*args: object, **kwargs: object) -> ssl.SSLContext:
        raise AssertionError("on the event loop")

    monkeypatch.setattr(httpx, "create_ssl_context", read)
    make_http(httpx.Timeout(10), max_connections=5)


async def test_localhost_is_found_by_either_family(http: httpx.AsyncClient) -> None:
    with serving(ok) as server:
        assert (await http.get(f"http://localhost:{server.port}/")).is_success
    with pytest.raises(httpx.ConnectError):
        await http.get("http://does-not-exist.invalid/")


async def test_no_socket_is_left_open() -> None:
    def sockets() -> int:
        return len(psutil.Process().net_connections())

    with serving(FileAnswer(SONG)) as server:
        before = sockets()
        async with make_http(httpx.Timeout(10)) as http:
            async with http.stream("GET", server.url()) as response:
                async for _ in response.aiter_raw():
                    break
            await http.get(server.url())
        while sockets() > before:  # the server's ends close a moment later
            await asyncio.sleep(0.001)


@pytest.mark.parametrize("raw", [b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", b"HTTP/1.1 1", b""])
async def test_an_upload_that_is_cut_by_nonsense_or_the_end_is_a_protocol_error(
    http: httpx.AsyncClient, raw: bytes
) -> None:
    def cut(connection: Connection, request: Request) -> None:
        connection.send(raw)
        connection.sock.shutdown(socket.SHUT_WR)
        while connection.sock.recv(1 << 20):
            pass
        raise Hangup

    with serving(cut) as server, pytest.raises(httpx.RemoteProtocolError):
        await http.post(server.url(), content=bytes(64 << 20))


async def test_what_follows_a_complete_body_is_not_taken_for_the_next_answer(http: httpx.AsyncClient) -> None:
    def more(connection: Connection, request: Request) -> None:
        connection.send(
            b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n123HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
        )

    with serving(more) as server:
        for _ in range(2):
            assert (await http.get(server.url())).content == b"123"
    assert server.connections == 2
