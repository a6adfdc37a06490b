"""Uploads and downloads on every transport: ours, httpx's own, and httpx2's."""

from __future__ import annotations

import asyncio
import gc
import socket
import ssl
import sys
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeAlias

import anyio
import anyio.lowlevel
import httpx
import httpx2
import pytest

from mvsep_async.concurrency import Yielder
from mvsep_async.http.body import read_body
from mvsep_async.http.content import BytesContent
from mvsep_async.http.multipart import MultipartBody, Part
from mvsep_async.transport.client import FastTransport
from mvsep_async.transport.reading import body_reader
from tests.transport.conftest import audio
from tests.transport.servers import Answer, Connection, FileAnswer, Hangup, Request, Server, serving

SONG = audio(2_000_000)

NewHTTP: TypeAlias = Callable[..., Any]


def ours(*, tls: ssl.SSLContext | None = None, timeout: Any = 60, **limits: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=FastTransport(httpx.Limits(**limits), tls), timeout=timeout)


def stock(library: Any, *, tls: ssl.SSLContext | None = None, timeout: Any = 60, **limits: Any) -> Any:
    if isinstance(timeout, httpx.Timeout):
        timeout = library.Timeout(**timeout.as_dict())
    verify = {} if tls is None else {"verify": tls}
    return library.AsyncClient(timeout=timeout, limits=library.Limits(**limits), trust_env=False, **verify)


TRANSPORTS: dict[str, tuple[NewHTTP, Any]] = {
    "ours": (ours, httpx),
    "httpx": (partial(stock, httpx), httpx),
    "httpx2": (partial(stock, httpx2), httpx2),
}


@pytest.fixture(params=TRANSPORTS)
def transport(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def new_http(transport: str) -> NewHTTP:
    return TRANSPORTS[transport][0]


@pytest.fixture
def errors(transport: str) -> Any:
    """The library whose errors the transport raises."""
    return TRANSPORTS[transport][1]


@pytest.fixture(params=["plain", "TLS"])
def tls(request: pytest.FixtureRequest, server_tls: ssl.SSLContext) -> ssl.SSLContext | None:
    return server_tls if request.param == "TLS" else None


@pytest.fixture
def never() -> Iterator[threading.Event]:
    """An event for which a server waits until the test is over."""
    over = threading.Event()
    yield over
    over.set()


@contextmanager
def closed_port() -> Iterator[int]:
    """Give a port on which connections are refused, and which no other process gets meanwhile."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield int(bound.getsockname()[1])


def ok(connection: Connection, request: Request) -> None:
    connection.read_body(int(request.headers.get("content-length", 0)))
    connection.answer("200 OK", {"Content-Type": "application/json"}, b'{"ok": true}')


async def download(http: Any, url: str) -> bytes:
    """Read a body as a download does."""
    async with http.stream("GET", url) as response, body_reader(response) as read_into:
        body, buffer = bytearray(), memoryview(bytearray(100_000))
        while count := await read_into(buffer):
            body += buffer[:count]
        return bytes(body)


async def upload(http: Any, url: str, *, data: bytes = SONG) -> tuple[Any, MultipartBody]:
    body = MultipartBody({"k": "v"}, (Part("audiofile", "song.wav", BytesContent(data)),))
    try:
        return await http.post(url, content=body, headers=body.headers), body
    finally:
        await body.aclose()


async def test_one_connection_serves_request_after_request(
    new_http: NewHTTP, tls: ssl.SSLContext | None, client_tls: ssl.SSLContext
) -> None:
    def both(connection: Connection, request: Request) -> None:
        (FileAnswer(SONG) if request.target == "/song" else ok)(connection, request)

    async with new_http(tls=client_tls) as http:
        with serving(both, tls=tls) as server:
            for _ in range(2):
                assert await download(http, server.url("/song")) == SONG
                response, body = await upload(http, server.url())
                assert response.json() == {"ok": True}
                assert body.handed_over
                assert (await http.get(server.url("/song"))).content == SONG
            assert (await http.head(server.url())).status_code == 200
    assert server.connections == 1


def framed(connection: Connection, request: Request) -> None:
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
        case "/continue":
            connection.send(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n")
            connection.answer("200 OK", {}, b"after")
        case "/close":
            connection.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + SONG)
            raise Hangup


FRAMED = {"/length": SONG, "/none": b"", "/empty": b"", "/chunked": b"hello!", "/continue": b"after", "/close": SONG}


async def test_bodies_of_every_framing(new_http: NewHTTP) -> None:
    async with new_http() as http:
        with serving(framed) as server:
            for path, body in [*FRAMED.items(), *FRAMED.items()]:
                assert (await http.get(server.url(path))).content == body, path
                assert await download(http, server.url(path)) == body, path


async def test_the_answer_to_a_head_has_no_body(new_http: NewHTTP) -> None:
    def head(connection: Connection, request: Request) -> None:
        status = b"200 OK" if request.method == "HEAD" else b"304 Not Modified"
        connection.send(b"HTTP/1.1 " + status + b"\r\nContent-Length: 500\r\n\r\n")

    async with new_http() as http:
        with serving(head) as server:
            assert (await http.head(server.url())).content == b""
            assert (await http.get(server.url())).content == b""


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"HTTP/1.1 2",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n123",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n123",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000,
    ],
)
async def test_a_broken_answer_is_a_protocol_error(new_http: NewHTTP, errors: Any, raw: bytes) -> None:
    def broken(connection: Connection, request: Request) -> None:
        connection.send(raw)
        raise Hangup

    async with new_http() as http:
        with serving(broken) as server:
            for ask in (http.get, partial(download, http)):
                with pytest.raises(errors.RemoteProtocolError):
                    await ask(server.url())
            server.answer = ok
            assert (await http.get(server.url())).is_success, "the pool still works"


async def test_a_body_cut_by_a_reset_is_a_network_error(new_http: NewHTTP, errors: Any) -> None:
    cut = FileAnswer(SONG, cut=1_000_000, hard=True)
    async with new_http() as http:
        with serving(cut) as server, pytest.raises(errors.TransportError):
            await download(http, server.url())


async def test_a_tls_stream_that_ends_without_close_is_no_end_of_a_body(
    new_http: NewHTTP, errors: Any, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    def cut(connection: Connection, request: Request) -> None:
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart of it")
        raise Hangup

    async with new_http(tls=client_tls) as http:
        with serving(cut, tls=server_tls) as server, pytest.raises(errors.TransportError):
            await download(http, server.url())


async def test_an_unknown_authority_is_a_connect_error(
    new_http: NewHTTP, errors: Any, server_tls: ssl.SSLContext
) -> None:
    async with new_http() as http:
        with (
            serving(ok, tls=server_tls) as server,
            pytest.raises(errors.ConnectError, match="CERTIFICATE_VERIFY_FAILED"),
        ):
            await http.get(server.url())
    assert server.requests == []


async def test_timeouts_and_refused_connections(new_http: NewHTTP, errors: Any, never: threading.Event) -> None:
    def reset(connection: Connection, request: Request) -> None:
        raise Hangup(hard=True)

    async with new_http(timeout=httpx.Timeout(60, read=0.05)) as http:
        with serving(reset) as server, pytest.raises(errors.ReadError):
            await http.get(server.url())
        with serving(lambda connection, _: never.wait(120) and None) as server, pytest.raises(errors.ReadTimeout):
            await http.get(server.url())
        with closed_port() as port, pytest.raises(errors.ConnectError):
            await http.get(f"http://127.0.0.1:{port}/")
        with pytest.raises(errors.UnsupportedProtocol):
            await http.get("gopher://127.0.0.1/")


async def test_a_body_that_stalls_times_out(new_http: NewHTTP, errors: Any, never: threading.Event) -> None:
    def stall(connection: Connection, request: Request) -> None:
        connection.answer("200 OK", {"Content-Length": 10}, b"123")
        never.wait(120)

    async with new_http(timeout=httpx.Timeout(60, read=0.05)) as http:
        with serving(stall) as server:
            for ask in (http.get, partial(download, http)):
                with pytest.raises(errors.ReadTimeout):
                    await ask(server.url())


async def test_an_upload_that_is_not_read_times_out(new_http: NewHTTP, errors: Any, never: threading.Event) -> None:
    async with new_http(timeout=httpx.Timeout(60, write=0.1, read=0.1)) as http:
        with serving(lambda connection, _: never.wait(120) and None) as server, pytest.raises(errors.TimeoutException):
            await upload(http, server.url(), data=bytes(64 << 20))


async def test_a_full_pool_times_out_and_recovers(new_http: NewHTTP, errors: Any) -> None:
    gate = threading.Event()

    def held(connection: Connection, request: Request) -> None:
        gate.wait(120)
        ok(connection, request)

    async with new_http(timeout=httpx.Timeout(60, pool=0.05), max_connections=1) as http:
        with serving(held) as server:
            async with anyio.create_task_group() as group:
                group.start_soon(http.get, server.url())
                while not server.requests:
                    await anyio.sleep(0.001)
                with pytest.raises(errors.PoolTimeout):
                    await http.get(server.url())
                gate.set()
            assert (await http.get(server.url())).is_success


async def test_an_answer_that_comes_before_the_whole_upload_is_returned(
    new_http: NewHTTP, tls: ssl.SSLContext | None, client_tls: ssl.SSLContext
) -> None:
    def early(connection: Connection, request: Request) -> None:
        connection.answer("413 Too Large", {"Connection": "close"}, b'{"success": false}')
        while connection.sock.recv(1 << 20):  # else closing would reset the connection, and the answer be lost
            pass
        raise Hangup

    async with new_http(tls=client_tls) as http:
        with serving(early, tls=tls) as server:
            response, _ = await upload(http, server.url(), data=bytes(64 << 20))
            assert response.status_code == 413
            assert response.json() == {"success": False}
            server.answer = ok
            assert (await http.get(server.url())).is_success


async def test_informational_answers_during_an_upload_do_not_stop_it(
    new_http: NewHTTP, tls: ssl.SSLContext | None, client_tls: ssl.SSLContext
) -> None:
    received: list[bytes] = []

    def hinting(connection: Connection, request: Request) -> None:
        connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        left = int(request.headers["content-length"])
        body = b""
        while left > len(body):
            body += connection.read_body(min(left - len(body), 4 << 20))
            connection.send(b"HTTP/1.1 102 Processing\r\n\r\n")
        received.append(body)
        connection.answer("200 OK", {}, b"{}")

    async with new_http(tls=client_tls) as http:
        with serving(hinting, tls=tls) as server:
            response, body = await upload(http, server.url(), data=SONG * 12)
    assert response.status_code == 200
    assert body.handed_over
    assert SONG * 12 in received[0]


async def test_informational_answers_without_end_can_be_cancelled(new_http: NewHTTP) -> None:
    def endless(connection: Connection, request: Request) -> None:
        while True:
            connection.send(b"HTTP/1.1 102 Processing\r\n\r\n")

    async with new_http() as http:
        with serving(endless) as server:
            with anyio.move_on_after(0.1) as scope:
                await http.get(server.url())
            assert scope.cancelled_caught
            server.answer = ok
            assert (await http.get(server.url())).is_success


async def test_cancelled_requests_leave_no_connection_taken(new_http: NewHTTP) -> None:
    gate = threading.Event()

    def held(connection: Connection, request: Request) -> None:
        gate.wait(120)
        ok(connection, request)

    async with new_http(timeout=httpx.Timeout(60, pool=60), max_connections=2) as http:
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


@pytest.mark.parametrize("answer", [FileAnswer(SONG), framed], ids=["length", "close"])
async def test_a_cancelled_download_closes_its_connection(new_http: NewHTTP, answer: Answer) -> None:
    async with new_http(max_connections=1) as http:
        with serving(answer) as server:
            for _ in range(3):
                async with http.stream("GET", server.url("/close")) as response, body_reader(response) as read_into:
                    await read_into(memoryview(bytearray(10)))
            server.answer = ok
            assert (await http.get(server.url())).is_success


@contextmanager
def abandoned_generators() -> Iterator[list[str]]:
    """Collect the names of asynchronous generators that are left for the event loop to close."""
    names: list[str] = []
    hooks = sys.get_asyncgen_hooks()

    def finalizer(generator: AsyncGenerator[Any, Any]) -> None:
        names.append(generator.__qualname__)
        assert hooks.finalizer is not None
        hooks.finalizer(generator)

    sys.set_asyncgen_hooks(hooks.firstiter, finalizer)
    try:
        yield names
        gc.collect()
    finally:
        sys.set_asyncgen_hooks(*hooks)


def chunks(connection: Connection, request: Request) -> None:
    connection.answer("200 OK", {"Transfer-Encoding": "chunked"})
    connection.send(b"5\r\nhello\r\n" * 1000 + b"0\r\n\r\n")


@pytest.mark.parametrize("answer", [FileAnswer(SONG), framed, chunks], ids=["length", "close", "chunked"])
@pytest.mark.parametrize("size", [2, 7, 100])
async def test_a_body_that_is_not_read_to_its_end_leaves_no_generator_open(
    new_http: NewHTTP, answer: Answer, size: int
) -> None:
    async with new_http() as http:
        with serving(answer) as server, abandoned_generators() as abandoned:
            async with http.stream("GET", server.url("/close")) as response, body_reader(response) as read_into:
                await read_into(memoryview(bytearray(size)))
        assert abandoned == []


@pytest.mark.parametrize("cap", [3, 60_000])
@pytest.mark.parametrize("answer", [FileAnswer(SONG), framed, chunks], ids=["length", "close", "chunked"])
async def test_an_overlong_answer_leaves_no_generator_open(new_http: NewHTTP, answer: Answer, cap: int) -> None:
    async with new_http() as http:
        with serving(answer) as server, abandoned_generators() as abandoned:
            async with http.stream("GET", server.url("/close")) as response:
                await read_body(response, "app/user", cap)
        assert abandoned == []


@pytest.mark.parametrize("answer", [FileAnswer(SONG), framed, chunks], ids=["length", "close", "chunked"])
async def test_a_read_cancelled_between_two_pieces_leaves_no_generator_open(
    new_http: NewHTTP, answer: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def cancelled(self: Yielder) -> bool:
        scope.cancel()
        await anyio.lowlevel.checkpoint()
        return True

    monkeypatch.setattr(Yielder, "maybe_yield", cancelled)
    async with new_http() as http:
        with serving(answer) as server, abandoned_generators() as abandoned, anyio.CancelScope() as scope:
            async with http.stream("GET", server.url("/close")) as response:
                await read_body(response, "app/user", 1 << 30)
        assert scope.cancelled_caught
        assert abandoned == []


async def test_a_connection_that_the_server_closed_is_not_used_again(new_http: NewHTTP) -> None:
    closed = threading.Event()

    def once(connection: Connection, request: Request) -> None:
        ok(connection, request)
        connection.sock.shutdown(2)
        closed.set()
        raise Hangup

    async with new_http() as http:
        with serving(once) as server:
            for _ in range(3):
                closed.clear()
                assert (await http.get(server.url())).is_success
                assert closed.wait(60)
                pool = http._transport._pool
                while any(not connection.has_expired() for connection in pool.connections):
                    await asyncio.sleep(0.001)
    assert server.connections == 3


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_up_and_down_over_tls(
    new_http: NewHTTP, backend: str, version: ssl.TLSVersion, authority: Any, client_tls: ssl.SSLContext
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = version
    authority.issue_cert("localhost").configure_cert(context)

    def both(connection: Connection, request: Request) -> None:
        (FileAnswer(SONG) if request.method == "GET" else ok)(connection, request)

    async def main(server: Server) -> None:
        async with new_http(tls=client_tls) as http:
            for _ in range(2):
                assert await download(http, server.url()) == SONG
                assert (await upload(http, server.url()))[0].is_success

    with serving(both, tls=context) as server:
        anyio.run(main, server, backend=backend)
    assert server.connections == 1
