"""A call ends within its limit, whatever arrives, and never blocks the event loop."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator

import anyio
import httpx
import httpx2
import pytest
from attrs import evolve

from mvsep_async.errors import ProtocolError, TransportError
from mvsep_async.http.budget import Budget
from mvsep_async.http.call import Auth, Call
from mvsep_async.http.content import BytesContent
from mvsep_async.http.gate import Gate
from mvsep_async.http.hosts import Host
from mvsep_async.http.multipart import Part
from mvsep_async.http.response import MAX_BODY
from mvsep_async.http.retry import PatientCaller
from mvsep_async.http.token import Token
from mvsep_async.http.wire import Wire
from mvsep_async.transport.client import make_http
from mvsep_async.transport.compat import Timeouts
from tests.transport.servers import Answer, Connection, Request, serving

USER = Call(method="GET", path="app/user", auth=Auth.REQUIRED, answer_within=0.2)
CREATE = Call(
    method="POST",
    path="separation/create",
    form={},
    files=(Part("audiofile", "song.wav", BytesContent(bytes(1_000_000))),),
    multipart=True,
    auth=Auth.REQUIRED,
    repeatable=False,
    answer_within=0.2,
)


@pytest.fixture(params=["ours", "httpx", "httpx2"])
async def http(request: pytest.FixtureRequest) -> AsyncIterator[httpx.AsyncClient]:
    new: Callable[[], httpx.AsyncClient] = {  # type: ignore[assignment]
        "ours": lambda: make_http(30.0),
        "httpx": lambda: httpx.AsyncClient(trust_env=False),
        "httpx2": lambda: httpx2.AsyncClient(trust_env=False),
    }[request.param]
    async with new() as client:
        yield client


@pytest.fixture
def over() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def wire_to(http: httpx.AsyncClient, url: str) -> Wire:
    return Wire(http, Host.parse(url), Token("dripping-4711"), Gate(Budget(fixed=10_000)), Timeouts.of(30.0))


def dripping(over: threading.Event, before: bytes, drop: bytes) -> Answer:
    def answer(connection: Connection, request: Request) -> None:
        connection.read_body(int(request.headers.get("content-length", 0)))
        connection.send(before)
        while not over.wait(0.01):
            connection.send(drop)

    return answer


DRIPS = {
    "body": (b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", b" "),
    "chunks": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    "head": (b"HTTP/1.1 200 OK\r\nX: ", b"x"),
    "1xx": (b"", b"HTTP/1.1 102 Processing\r\n\r\n"),
}


@pytest.mark.parametrize("drip", DRIPS)
@pytest.mark.parametrize("call", [USER, CREATE], ids=["get", "create"])
async def test_an_answer_that_never_ends_is_cut(
    http: httpx.AsyncClient, over: threading.Event, drip: str, call: Call
) -> None:
    with serving(dripping(over, *DRIPS[drip])) as server:
        with pytest.raises(TransportError, match=r"complete its answer within 0.2 s"):
            await wire_to(http, server.url("")).call(call)
        over.set()


async def test_a_slow_upload_is_not_cut(http: httpx.AsyncClient) -> None:
    def sip(connection: Connection, request: Request) -> None:
        left = int(request.headers["content-length"])
        for _ in range(20):  # two seconds, in which not all the rest fits into the buffers of the system
            threading.Event().wait(0.1)
            left -= len(connection.read_body(200_000))
        connection.read_body(left)
        connection.answer("200 OK", {}, b'{"success": true}')

    song = Part("audiofile", "song.wav", BytesContent(bytes(40_000_000)))
    with serving(sip) as server:
        assert await wire_to(http, server.url("")).call(evolve(CREATE, files=(song,), answer_within=1.5)) == {
            "success": True
        }


async def test_all_attempts_of_an_endpoint_call_share_its_patience(over: threading.Event) -> None:
    with serving(dripping(over, *DRIPS["body"])) as server:
        async with make_http(30.0) as http:
            caller = PatientCaller(wire_to(http, server.url("")), patience=0.3)
            with pytest.raises(TransportError, match="complete its answer within 1 s"):
                await caller.call(evolve(USER, answer_within=None))
        over.set()
    assert len(server.requests) == 1


async def test_a_gzip_bomb_is_cut_at_the_cap(http: httpx.AsyncClient) -> None:
    bomb = gzip.compress(bytes(200 << 20), 1)

    def answer(connection: Connection, request: Request) -> None:
        assert request.headers["accept-encoding"] == "gzip"
        connection.answer("200 OK", {"Content-Encoding": "gzip"}, bomb)

    with serving(answer) as server, pytest.raises(ProtocolError, match=f"longer than {MAX_BODY}"):
        await wire_to(http, server.url("")).call(evolve(USER, answer_within=20.0))


async def test_the_loop_runs_on_while_a_large_answer_of_tiny_chunks_is_read_and_decoded(
    http: httpx.AsyncClient,
) -> None:
    text = json.dumps({"data": {"peaks": [0.25] * 100_000}}).encode()
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in text[:50_000]) + b"%x\r\n%b\r\n0\r\n\r\n" % (
        len(text) - 50_000,
        text[50_000:],
    )

    def answer(connection: Connection, request: Request) -> None:
        connection.answer("200 OK", {"Transfer-Encoding": "chunked"}, chunks)

    passes = 0

    async def count() -> None:
        nonlocal passes
        while True:
            await anyio.sleep(0)
            passes += 1

    with serving(answer) as server:
        async with anyio.create_task_group() as group:
            group.start_soon(count)
            data = await wire_to(http, server.url("")).call(evolve(USER, answer_within=60.0))
            group.cancel_scope.cancel()
    assert data == json.loads(text)
    assert passes > 50
