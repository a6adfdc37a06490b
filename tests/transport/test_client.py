import asyncio
import socket
import ssl
import threading
from pathlib import Path
from typing import Any

import anyio
import httpx
import psutil
import pytest

from mvsep_async._version import __version__
from mvsep_async.download.fetch import fetch
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
    return httpx.AsyncClient(transport=FastTransport(httpx.Limits(**more), context), timeout=10)


async def test_one_connection_serves_one_request_after_another(http: httpx.AsyncClient) -> None:
    with serving(swallow) as server:
        for _ in range(3):
            assert (await http.get(server.url())).json() == {"ok": True}
            assert (await http.post(server.url(), content=b"x" * 100_000)).status_code == 200
        assert (await http.head(server.url())).status_code == 200
    assert server.connections == 1
    assert server.requests[0].headers["user-agent"] == f"mvsep-async/{__version__}"


async def test_the_answer_to_a_head_has_no_body_to_wait_for(http: httpx.AsyncClient) -> None:
    def head(connection: Connection, request: Request) -> None:
        if request.method == "HEAD":
            connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n")
        else:
            connection.send(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 500\r\n\r\n")

    with serving(head) as server:
        assert (await http.head(server.url())).content == b""
        assert (await http.get(server.url())).content == b""
    assert server.connections == 1


async def test_bodies_of_every_framing(http: httpx.AsyncClient) -> None:
    def answer(connection: Connection, request: Request) -> None:
        match request.target:
            case "/length":
                connection.answer("200 OK", {}, SONG)
            case "/none":
                connection.answer("204 No Content", {"X": 1})
            case "/empty":
                connection.answer("200 OK", {}, b"")
            case "/chunked":
                connection.answer("200 OK", {"Transfer-Encoding": "chunked"})
                connection.send(b"5;x=y\r\nhello\r\n1\r\n!\r\n0\r\nTrailer: 1\r\n\r\n")
            case "/hint":
                connection.send(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n")
                connection.answer("200 OK", {}, b"after")
            case "/close":
                connection.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + SONG)
                raise Hangup

    with serving(answer) as server:
        for path, body in [
            ("/length", SONG),
            ("/none", b""),
            ("/empty", b""),
            ("/chunked", b"hello!"),
            ("/hint", b"after"),
            ("/close", SONG),
            ("/length", SONG),
        ]:
            assert (await http.get(server.url(path))).content == body, path
    assert server.connections == 2


@pytest.mark.parametrize(
    ("raw", "error"),
    [
        (b"", httpx.RemoteProtocolError),
        (b"HTTP/1.1 2", httpx.RemoteProtocolError),
        (b"nonsense\r\n\r\n", httpx.RemoteProtocolError),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n123", httpx.RemoteProtocolError),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n123", httpx.RemoteProtocolError),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n1234", httpx.RemoteProtocolError),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel", httpx.RemoteProtocolError),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", httpx.RemoteProtocolError),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000, httpx.RemoteProtocolError),
    ],
)
async def test_broken_answers_are_httpx_errors(
    http: httpx.AsyncClient, raw: bytes, error: type[httpx.TransportError]
) -> None:
    def broken(connection: Connection, request: Request) -> None:
        connection.send(raw)
        raise Hangup

    with serving(broken) as server:
        with pytest.raises(error):
            await http.get(server.url())
        server.answer = ok
        assert (await http.get(server.url())).is_success, "the pool is none the worse for it"


async def test_a_reset_a_timeout_and_nobody_there() -> None:
    def reset(connection: Connection, request: Request) -> None:
        raise Hangup(hard=True)

    never = threading.Event()
    async with make_http(httpx.Timeout(10, read=0.05)) as http:
        with serving(reset) as server, pytest.raises(httpx.ReadError):
            await http.get(server.url())
        with serving(lambda connection, _: never.wait(5) and None) as server, pytest.raises(httpx.ReadTimeout):
            await http.get(server.url())
        never.set()
        with pytest.raises(httpx.ConnectError):
            await http.get(f"http://127.0.0.1:{free_port()}/")
        with pytest.raises(httpx.UnsupportedProtocol):
            await http.get("gopher://127.0.0.1/")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


async def test_a_full_pool_times_out_and_recovers() -> None:
    gate = threading.Event()

    def held(connection: Connection, request: Request) -> None:
        gate.wait(10)
        ok(connection, request)

    async with make_http(httpx.Timeout(10, pool=0.05), max_connections=1) as http:
        with serving(held) as server:
            async with anyio.create_task_group() as group:
                group.start_soon(http.get, server.url())
                while not server.requests:
                    await anyio.sleep(0.001)
                with pytest.raises(httpx.PoolTimeout):
                    await http.get(server.url())
                gate.set()
            assert (await http.get(server.url())).is_success


async def test_cancelled_requests_leave_no_connection_taken() -> None:
    gate = threading.Event()

    def held(connection: Connection, request: Request) -> None:
        gate.wait(10)
        ok(connection, request)

    async with make_http(httpx.Timeout(10, pool=1), max_connections=2) as http:
        with serving(held) as server:
            for steps in range(12):
                task = asyncio.ensure_future(http.get(server.url()))
                for _ in range(steps):
                    await asyncio.sleep(0)
                task.cancel()
                await asyncio.wait([task])
            gate.set()
            async with anyio.create_task_group() as group:
                for _ in range(2):
                    group.start_soon(http.get, server.url())


async def test_a_connection_that_was_closed_meanwhile_is_not_used(http: httpx.AsyncClient) -> None:
    closed = threading.Event()

    def once(connection: Connection, request: Request) -> None:
        ok(connection, request)
        connection.sock.shutdown(socket.SHUT_RDWR)
        closed.set()
        raise Hangup

    with serving(once) as server:
        for _ in range(3):
            closed.clear()
            assert (await http.get(server.url())).is_success
            assert closed.wait(5)
            pool = http._transport._pool  # type: ignore[attr-defined]
            while any(not connection.has_expired() for connection in pool.connections):
                await asyncio.sleep(0.001)
    assert server.connections == 3


@pytest.mark.parametrize("encrypted", [False, True])
async def test_a_refused_upload_is_not_sent_to_its_end(
    encrypted: bool, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext, tmp_path: Path
) -> None:
    done = threading.Event()

    def refuse(connection: Connection, request: Request) -> None:
        connection.answer("413 Too Large", {"Content-Type": "application/json"}, b'{"message": "too large"}')
        done.wait(20)  # and reads no further, nor closes: only the answer can end this
        raise Hangup

    song = tmp_path / "song.wav"
    with song.open("wb") as file:
        file.truncate(64 << 20)
    async with trusting(client_tls) as http:
        with serving(refuse, tls=server_tls if encrypted else None) as server:
            body = MultipartBody({}, (Part("audiofile", "s.wav", await FileContent.open(song)),))
            response = await http.post(server.url(), content=body, headers=body.headers, extensions=body.extensions)
            done.set()
            assert response.status_code == 413
            assert response.json() == {"message": "too large"}
            assert not body.handed_over
            server.answer = swallow
            assert (await http.post(server.url(), content=b"x")).is_success


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_up_and_down_over_tls(
    backend: str, version: ssl.TLSVersion, authority: Any, client_tls: ssl.SSLContext, tmp_path: Path
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = version
    authority.issue_cert("localhost").configure_cert(context)
    received: list[bytes] = []

    def both(connection: Connection, request: Request) -> None:
        if request.method == "GET":
            FileAnswer(SONG)(connection, request)
        else:
            received.append(connection.read_body(int(request.headers["content-length"])))
            ok(connection, request)

    async def main() -> None:
        async with trusting(client_tls) as http:
            for number in range(2):
                target = tmp_path / f"{number}.wav"
                await fetch(http, server.url(), target, root=tmp_path)
                assert target.read_bytes() == SONG
                body = MultipartBody({}, (Part("a", "b", BytesContent(SONG)),))
                assert (
                    await http.post(server.url(), content=body, headers=body.headers, extensions=body.extensions)
                ).is_success

    with serving(both, tls=context) as server:
        anyio.run(main, backend=backend)
    assert len(received) == 2
    assert all(SONG in body for body in received)
    assert server.connections == 1


async def test_a_stranger_behind_a_certificate_is_not_talked_to(
    http: httpx.AsyncClient, server_tls: ssl.SSLContext
) -> None:
    with serving(ok, tls=server_tls) as server, pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        await http.get(server.url())
    assert server.requests == []


async def test_a_body_cut_without_a_goodbye_is_no_end(server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> None:
    def cut(connection: Connection, request: Request) -> None:
        connection.send(b"HTTP/1.1 200 OK\r\n\r\npart of it")
        raise Hangup

    async with trusting(client_tls) as http:
        with serving(cut, tls=server_tls) as server, pytest.raises(httpx.ReadError):
            await http.get(server.url())


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
