"""The shared link, the patience with slow bodies, and the use of uvicorn's internals."""

import importlib.metadata
import inspect
import socket
import time

import anyio
import httpx
import pytest
import uvicorn
from hypothesis import given
from hypothesis import strategies as st
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from mvsep_async.sandbox.server.limits import BURST_SECONDS, Link

from .conftest import Open


@given(st.lists(st.tuples(st.floats(0, 10), st.integers(1, 100_000)), min_size=1, max_size=30), st.floats(1, 1e6))
def test_a_link_never_carries_more_than_its_rate(sends: list[tuple[float, int]], rate: float) -> None:
    link, now, passed = Link(), 0.0, []
    for pause, size in sends:
        now += pause
        passed.append((now, size, now + link.reserve(size, rate, now)))
    for first in range(len(passed)):
        for last in range(first, len(passed)):
            total = sum(size for _, size, _ in passed[first : last + 1])
            seconds = passed[last][2] - passed[first][0] + BURST_SECONDS
            assert total / rate <= seconds * (1 + 1e-9) + 1e-6
    busy = sum(size for _, size in sends) / rate
    assert passed[-1][2] <= now + busy + 1e-6


def test_an_idle_link_makes_up_for_a_moment_only() -> None:
    link = Link()
    assert link.reserve(100, 100, 0.0) == 1 - BURST_SECONDS
    assert link.reserve(100, 100, 50.0) == pytest.approx(1 - BURST_SECONDS)
    assert link.reserve(100, 100, 50.0) == pytest.approx(2 - BURST_SECONDS)


async def test_all_connections_share_the_link(open_sandbox: Open) -> None:
    api = await open_sandbox(link_bytes_per_second=1_000_000)
    content = b"x" * 250_000

    async def seconds(count: int) -> float:
        started = time.monotonic()
        async with anyio.create_task_group() as tasks:
            for _ in range(count):
                tasks.start_soon(api.create, content)
        return time.monotonic() - started

    assert await seconds(1) >= 0.25 - BURST_SECONDS
    assert await seconds(4) >= 1.0 - BURST_SECONDS
    hash_ = api.sandbox.jobs[0].hash
    api.sandbox.finish(hash_)
    url = (await api.status(hash_))["data"]["files"][0]["url"]
    started = time.monotonic()
    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(api.http.get, url)
    assert time.monotonic() - started >= 0.75 - BURST_SECONDS


async def test_uploads_do_not_slow_downloads(open_sandbox: Open) -> None:
    api = await open_sandbox(link_bytes_per_second=1e6)
    hash_ = await api.made(b"x" * 100_000)
    api.sandbox.finish(hash_)
    url = (await api.status(hash_))["data"]["files"][0]["url"]
    api.sandbox._server.edge._uplink.reserve(10**9, 1.0, time.monotonic())  # busy for thirty years
    with anyio.fail_after(60):
        assert len((await api.http.get(url)).content) == 100_000


async def test_a_body_that_stops_is_cut(open_sandbox: Open) -> None:
    api = await open_sandbox(body_read_timeout=0.1)
    head = (
        f"POST /api/separation/create HTTP/1.1\r\nHost: {api.sandbox.domain}\r\nContent-Length: 1000\r\n"
        "Content-Type: multipart/form-data; boundary=b\r\n\r\n"
    )
    async with await anyio.connect_tcp("127.0.0.1", api.sandbox.port) as stream:
        await stream.send(head.encode() + b"--b\r\n")
        with anyio.fail_after(60), pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
            await stream.receive()
    (record,) = api.sandbox.requests
    assert (record.path, record.status) == ("/api/separation/create", 0)
    assert api.sandbox.jobs == []
    assert (await api.create()).status_code == 200


async def test_a_body_that_drips_is_read(open_sandbox: Open) -> None:
    api = await open_sandbox(body_read_timeout=5)
    request = api.http.build_request("POST", "app/login", data={"email": "a", "password": "b"})
    body = request.read()

    async def drip() -> object:
        for byte in body:
            yield bytes([byte])
            await anyio.lowlevel.checkpoint()

    answer = await api.http.post("app/login", content=drip(), headers={"content-type": request.headers["content-type"]})  # type: ignore[call-overload]
    assert answer.status_code == 400


async def test_a_slow_answer_is_not_cut(open_sandbox: Open) -> None:
    api = await open_sandbox(body_read_timeout=0.05)
    api.sandbox.faults.add(kind="delay", path="app/queue", seconds=0.3)
    assert (await api.get("app/queue")).status_code == 200
    api.sandbox.faults.add(kind="stall", path="app/queue", after_bytes=3, seconds=0.3)
    assert (await api.get("app/queue")).status_code == 200


@pytest.mark.parametrize("limit", [{"link_bytes_per_second": 1e6}, {"bytes_per_second": 1e6}, {}])
async def test_a_limited_link_has_small_buffers(open_sandbox: Open, limit: dict[str, float]) -> None:
    api = await open_sandbox(**limit)
    await api.get("app/queue")
    (transport,) = api.sandbox._server.edge.connections.values()
    accepted = transport.get_extra_info("socket")
    sizes = [accepted.getsockopt(socket.SOL_SOCKET, option) for option in (socket.SO_RCVBUF, socket.SO_SNDBUF)]
    assert (max(sizes) <= 2 * 64 * 1024) == bool(limit)  # Linux reports twice what was set


def test_the_parts_of_uvicorn_that_the_listener_uses() -> None:
    version = f"uvicorn {importlib.metadata.version('uvicorn')}: see `Listener.open` in sandbox/server/listener.py"
    parameters = inspect.signature(H11Protocol.__init__).parameters
    assert {"config", "server_state", "app_state", "_loop"} <= set(parameters), version
    assert isinstance(ServerState().tasks, set), version
    assert {"connection_made", "connection_lost"} <= set(dir(H11Protocol)), version
    assert {"lifespan", "ws", "server_header", "date_header"} <= set(inspect.signature(uvicorn.Config).parameters), (
        version
    )


async def test_a_connection_is_known_while_it_is_open(open_sandbox: Open) -> None:
    api = await open_sandbox()
    assert api.sandbox._server.edge.connections == {}
    async with httpx.AsyncClient() as http:
        await http.get(f"{api.sandbox.url}/api/app/queue")
        assert len(api.sandbox._server.edge.connections) == 1
    while api.sandbox._server.edge.connections:
        await anyio.sleep(0.005)
