"""No frame of a traceback that leaves a call holds the token: not even one of a cancellation."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import anyio
import httpx
import httpx2
import pytest
from attrs import evolve

from mvsep_async.endpoints.account import AccountAPI
from mvsep_async.endpoints.separations import SeparationsAPI
from mvsep_async.errors import MVSepError
from mvsep_async.http.budget import Budget
from mvsep_async.http.call import Auth, Call
from mvsep_async.http.content import BytesContent
from mvsep_async.http.gate import Gate
from mvsep_async.http.hosts import Host
from mvsep_async.http.multipart import Part
from mvsep_async.http.redaction import protect
from mvsep_async.http.retry import PatientCaller
from mvsep_async.http.token import Token
from mvsep_async.http.wire import Wire
from mvsep_async.transport.client import make_http
from tests.transport.servers import Connection, Hangup, Request, serving

TOKEN = "tok-3141592653"
CREATE = Call(
    method="POST",
    path="separation/create",
    form={"sep_type": 40},
    files=(Part("audiofile", "song.wav", BytesContent(bytes(32_000_000))),),
    multipart=True,
    auth=Auth.REQUIRED,
    repeatable=False,
)
NEW: dict[str, Callable[[], Any]] = {
    "ours": lambda: make_http(30.0),
    "httpx": lambda: httpx.AsyncClient(trust_env=False),
    "httpx2": lambda: httpx2.AsyncClient(trust_env=False),
}


@pytest.fixture
def over() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def chain_of(error: BaseException) -> Iterator[BaseException]:
    yield error
    for other in (error.__cause__, error.__context__, *getattr(error, "exceptions", ())):
        if other is not None:
            yield from chain_of(other)


def check(error: BaseException) -> None:
    """Fail if the token is in a variable of any frame that the error, or one behind it, came through."""
    seen = 0
    for each in chain_of(error):
        assert TOKEN not in f"{each!r} {each.args!r} {each.__dict__!r}"
        trace = each.__traceback__
        while trace is not None:
            frame = trace.tb_frame
            seen += 1
            module = frame.f_globals.get("__name__", "")
            assert not module.startswith(("httpx", "httpcore", "h11", "mvsep_async.transport")), module
            if not module.startswith("tests."):
                assert TOKEN not in repr(frame.f_locals), frame.f_code
            trace = trace.tb_next
    assert seen


def hang(over: threading.Event, reads: bool, answer: bytes) -> Callable[[Connection, Request], None]:
    def serve(connection: Connection, request: Request) -> None:
        if reads:
            connection.read_body(int(request.headers.get("content-length", 0)))
        connection.send(answer)
        over.wait(120)
        raise Hangup

    return serve


PHASES = {
    "upload": (CREATE, False, b""),
    "create": (CREATE, True, b""),
    "head": (Call(method="GET", path="app/user", auth=Auth.REQUIRED), True, b"HTTP/1.1 2"),
    "body": (
        Call(method="GET", path="app/user", auth=Auth.REQUIRED),
        True,
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n",
    ),
    "form": (Call(method="POST", path="app/enable_premium", form={}, auth=Auth.REQUIRED), True, b""),
}


async def asyncio_timeout(wire: Wire, call: Call) -> None:
    async with asyncio.timeout(0.1):
        await PatientCaller(wire).call(call)


async def task_cancel(wire: Wire, call: Call) -> None:
    task = asyncio.ensure_future(wire.call(call))
    await asyncio.sleep(0.1)
    task.cancel()
    await task


async def scope(wire: Wire, call: Call) -> None:
    with anyio.fail_after(0.1):
        await wire.call(call)


async def swallowing_scope(wire: Wire, call: Call) -> None:
    """Raise the cancellation itself, as an application may see it in an `except` clause."""
    found: list[BaseException] = []
    with anyio.move_on_after(0.1):
        try:
            await wire.call(call)
        except BaseException as error:
            found.append(error)
            raise
    raise RuntimeError("cancelled") from found[0]


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("transport", NEW)
@pytest.mark.parametrize("how", [asyncio_timeout, task_cancel, scope, swallowing_scope])
async def test_cancelled_calls(transport: str, phase: str, how: Callable[..., Any], over: threading.Event) -> None:
    call, reads, answer = PHASES[phase]
    with serving(hang(over, reads, answer)) as server:
        async with NEW[transport]() as http:
            wire = Wire(http, Host.parse(server.url("")), Token(TOKEN), Gate(Budget(fixed=10_000)))
            with pytest.raises((TimeoutError, asyncio.CancelledError, RuntimeError)) as caught:
                await how(wire, call)
            check(caught.value)
            if phase != "upload":
                with pytest.raises(MVSepError) as failed:
                    await wire.call(evolve(call, answer_within=0.1))
                check(failed.value)
            over.set()


@pytest.mark.parametrize("transport", NEW)
def test_cancelled_on_trio(transport: str, over: threading.Event) -> None:
    async def main(url: str) -> None:
        async with NEW[transport]() as http:
            wire = Wire(http, Host.parse(url), Token(TOKEN), Gate(Budget(fixed=10_000)))
            for how in (scope, swallowing_scope):
                with pytest.raises((TimeoutError, RuntimeError)) as caught:
                    await how(wire, PHASES["body"][0])
                check(caught.value)

    with serving(hang(over, True, PHASES["body"][2])) as server:
        anyio.run(main, server.url(""), backend="trio")
        over.set()


async def test_cancelled_while_a_large_answer_that_holds_the_token_is_decoded() -> None:
    text = b'{"data": {"api_token": "%b", "name": "x", "peaks": [%b1]}}' % (TOKEN.encode(), b"0.25, " * 300_000)

    def answer(connection: Connection, request: Request) -> None:
        connection.answer("200 OK", {}, text)

    with serving(answer) as server:
        async with make_http(30.0) as http:
            wire = Wire(http, Host.parse(server.url("")), Token(TOKEN), Gate(Budget(fixed=10_000)))
            for delay in (0.01, 0.02, 0.04, 0.08):
                try:
                    async with asyncio.timeout(delay):
                        await AccountAPI(wire).user()
                except TimeoutError as error:
                    check(error)


@pytest.mark.parametrize("fails", [True, False])
async def test_a_password_is_in_no_frame_of_a_login_or_registration(fails: bool, over: threading.Event) -> None:
    def refuse(connection: Connection, request: Request) -> None:
        connection.answer("400 Bad Request", {}, b'{"success": false, "message": {"password": ["wrong"]}}')

    with serving(refuse if fails else hang(over, True, b"")) as server:
        async with make_http(30.0) as http:
            account = AccountAPI(Wire(http, Host.parse(server.url("")), None, Gate(Budget(fixed=10_000))))
            for call in (
                lambda: account.login("a@b.test", TOKEN),
                lambda: account.register("a", "a@b.test", TOKEN, TOKEN),
            ):
                with pytest.raises((MVSepError, TimeoutError)) as caught:
                    async with asyncio.timeout(30.0 if fails else 0.1):
                        await call()
                check(caught.value)
            over.set()


@pytest.mark.parametrize("status", ["200 OK", "400 Bad Request", "404 Not Found"])
@pytest.mark.parametrize(
    "body", [b'{"errors": {"x": ["%b"]}}', b'{"status": "done", "data": {"%b": 1}}', b'["%b"]', b'{"%b'], ids=repr
)
async def test_a_token_that_the_service_repeats_is_in_no_frame_and_no_message(status: str, body: bytes) -> None:
    def answer(connection: Connection, request: Request) -> None:
        connection.answer(status, {}, body % TOKEN.encode())

    token = Token(TOKEN)
    protect(token)
    with serving(answer) as server:
        async with make_http(30.0) as http:
            separations = SeparationsAPI(Wire(http, Host.parse(server.url("")), token, Gate(Budget(fixed=10_000))))
            for call in (separations.get, separations.get_remote, separations.cancel):
                try:
                    found = await call("h")
                except MVSepError as error:
                    check(error)
                else:
                    assert TOKEN not in repr(found)
