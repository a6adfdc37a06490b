"""Sending one call: the token, redirects within the service, and errors."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

import anyio
import anyio.lowlevel
import httpx
import pytest
import respx
from attrs import define, evolve, field

from mvsep_async.errors import (
    AuthenticationError,
    ConfigurationError,
    InvalidRequestError,
    JournalError,
    MVSepError,
    ProtocolError,
    RateLimitedError,
    ServiceUnavailableError,
    TransportError,
)
from mvsep_async.http.budget import Budget
from mvsep_async.http.call import Auth, Call, Priority
from mvsep_async.http.content import BytesContent
from mvsep_async.http.gate import Gate
from mvsep_async.http.hosts import Host
from mvsep_async.http.multipart import Part
from mvsep_async.http.response import MAX_BODY
from mvsep_async.http.retry import PatientCaller
from mvsep_async.http.token import Token
from mvsep_async.http.wire import Wire
from mvsep_async.transport.client import make_http
from tests.transport.servers import Connection, Hangup, Request, serving

BASE = Host.parse("https://mvsep.com")
TOKEN = "secret-token-1"
USER = Call(method="GET", path="app/user", auth=Auth.REQUIRED)
LOOK = Call(method="GET", path="separation/get", query={"hash": "a b/ü"})
POST = Call(method="POST", path="app/enable_premium", form={}, auth=Auth.REQUIRED)
SONG = Part("audiofile", "song.wav", BytesContent(b"RIFF" * 10))
CREATE = Call(
    method="POST", path="separation/create", form={"sep_type": 40}, files=(SONG,), multipart=True, auth=Auth.REQUIRED,
    repeatable=False,
)  # fmt: skip


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient() as http:
        yield http


@pytest.fixture
def wire(http: httpx.AsyncClient) -> Wire:
    return Wire(http, BASE, Token(TOKEN), Gate(Budget(fixed=10_000)))


@respx.mock
async def test_the_token_goes_where_it_is_needed(wire: Wire) -> None:
    respx.route().respond(json={"success": True})
    for call in (USER, LOOK, POST, CREATE):
        await wire.call(call)
    user, look, post, create = [sent.request for sent in respx.calls]
    assert user.url.params["api_token"] == TOKEN
    assert dict(look.url.params) == {"hash": "a b/ü"}
    assert post.content == f"api_token={TOKEN}".encode()
    assert create.content.count(TOKEN.encode()) == 1
    assert not {post, create} & {sent.request for sent in respx.calls if TOKEN in str(sent.request.url)}
    assert int(create.headers["content-length"]) == len(create.content)


@respx.mock
async def test_without_a_token(http: httpx.AsyncClient) -> None:
    respx.route().respond(json={})
    wire = Wire(http, BASE, None, Gate(Budget()))
    with pytest.raises(ConfigurationError, match="MVSEP_API_TOKEN"):
        await wire.call(USER)
    await wire.call(LOOK)
    await wire.call(Call(method="GET", path="app/queue", auth=Auth.OPTIONAL))
    assert [dict(sent.request.url.params) for sent in respx.calls] == [{"hash": "a b/ü"}, {}]


@respx.mock
async def test_another_host_is_not_asked(wire: Wire) -> None:
    with pytest.raises(ConfigurationError, match="not a host of the service"):  # which is not tried again
        await wire.call(Call(method="GET", path="separation/get", host=Host.parse("https://evil.org")))
    assert not respx.calls


@respx.mock
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_get_follows_a_redirect_to_a_sibling(wire: Wire, status: int) -> None:
    location = f"https://de.mvsep.com/api/app/user?api_token={TOKEN}&api_token=other"
    respx.get(host="mvsep.com").respond(status, headers={"Location": location})
    target = respx.get(host="de.mvsep.com").respond(json={"ok": 1})
    assert await wire.call(USER) == {"ok": 1}
    assert str(target.calls[0].request.url) == f"https://de.mvsep.com/api/app/user?api_token={TOKEN}"


@respx.mock
@pytest.mark.parametrize(
    "location",
    ["https://evil.org/api/app/user", "http://mvsep.com/api/app/user", "//evil.org/api/app/user", "https://mvsep.com/login",
     "/login", "", "https://mvsep.com@evil.org/api/app/user", "javascript:alert(1)", "https://mvsep.com:444/api/app/user",
     "https://[::1/api/app/user", "//[", "https://mvsep.com:99999/api/app/user", "https://mvsep.com.evil.org/api/app/user"],
)  # fmt: skip
async def test_no_redirect_leads_elsewhere(wire: Wire, location: str) -> None:
    respx.get(host="mvsep.com").respond(302, headers={"Location": location})
    with pytest.raises((ProtocolError, TransportError)) as caught:
        await wire.call(USER)
    assert len(respx.calls) == 1
    assert TOKEN not in str(caught.value)


@respx.mock
@pytest.mark.parametrize("call", [POST, CREATE])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_post_is_never_redirected(wire: Wire, call: Call, status: int) -> None:
    respx.post(host="mvsep.com").respond(status, headers={"Location": "https://de.mvsep.com/api/app/user"})
    with pytest.raises(ProtocolError, match="redirects") as caught:
        await wire.call(call)
    assert caught.value.status == status
    assert len(respx.calls) == 1


@respx.mock
async def test_redirects_in_circles_end(wire: Wire) -> None:
    respx.get().respond(302, headers={"Location": "/api/app/user"})
    with pytest.raises(ProtocolError, match="more than 3 times"):
        await wire.call(USER)
    assert len(respx.calls) == 4


@respx.mock
async def test_a_host_redirects_within_itself(wire: Wire) -> None:
    respx.get("https://de.mvsep.com/api/old").respond(302, headers={"Location": "/api/new?a=1"})
    respx.get("https://de.mvsep.com/api/new").respond(json={"ok": 1})
    await wire.call(Call(method="GET", path="old", host=Host.parse("https://de.mvsep.com")))
    assert str(respx.calls[-1].request.url) == "https://de.mvsep.com/api/new?a=1"


@define
class Withheld:
    """An allowance without requests until `grant` is called."""

    share: float = 1.0
    granted: bool = False
    asked: anyio.Event = field(factory=anyio.Event)
    _wake: Callable[[], None] = lambda: None

    def connect(self, wake: Callable[[], None]) -> None:
        self._wake = wake

    def take(self, priority: Priority) -> bool:
        self.asked.set()
        return self.granted

    def grant(self) -> None:
        self.granted = True
        self._wake()

    def learned(self, limit: int) -> None:
        return


@respx.mock
@pytest.mark.parametrize("call", [POST, CREATE])
async def test_before_last_is_awaited_after_the_wait_for_the_budget(http: httpx.AsyncClient, call: Call) -> None:
    route = respx.post().respond(json={})
    allowance, confirmed = Withheld(), list[bool]()

    async def confirm() -> None:
        confirmed.append(allowance.granted)

    wire = Wire(http, BASE, Token(TOKEN), Gate(Budget(), allowance=allowance))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wire.call, evolve(call, before_last=confirm))
        await allowance.asked.wait()
        allowance.grant()
    assert confirmed == [True]
    assert route.call_count == 1


@respx.mock
async def test_a_form_is_the_same_with_and_without_a_check(wire: Wire) -> None:
    respx.post().respond(json={})
    call = evolve(POST, form={"hash": "a b&ü=+", "n": 1})
    await wire.call(call)
    await wire.call(evolve(call, before_last=anyio.lowlevel.checkpoint))
    plain, checked = [sent.request for sent in respx.calls]
    assert checked.content == plain.content
    assert sorted(checked.headers.items()) == sorted(plain.headers.items())


@pytest.mark.parametrize("call", [POST, CREATE])
async def test_each_attempt_is_checked_and_an_error_keeps_it_incomplete(call: Call) -> None:
    taken = JournalError("job 1 was taken over by another process")
    checks: list[Exception | None] = [None, None, taken]
    answers = ["429 Too Many Requests", "502 Bad Gateway", "200 OK"]
    statuses = iter(answers)

    async def confirm() -> None:
        if (error := checks.pop(0)) is not None:
            raise error

    def answer(connection: Connection, request: Request) -> None:
        size = int(request.headers["content-length"])
        if len(connection.read_body(size)) < size:
            raise Hangup
        connection.answer(next(statuses), {"Retry-After": 0}, b"{}")

    with serving(answer) as server:
        async with make_http(30.0) as http:
            wire = Wire(http, Host.parse(server.url("")), Token(TOKEN), Gate(Budget(fixed=10_000)))
            with pytest.raises(JournalError) as caught:
                await PatientCaller(wire, time_scale=0.0).call(evolve(call, before_last=confirm, repeatable=True))
    assert caught.value is taken
    assert not checks
    assert list(statuses) == answers[2:]


@respx.mock
async def test_a_get_that_costs_credits_is_checked_when_it_may_be_sent(wire: Wire) -> None:
    """It may have waited for the budget of requests since it was called."""
    taken = JournalError("job 1 was taken over by another process")
    route = respx.route().mock(return_value=httpx.Response(200, json=1))
    checks: list[Exception | None] = [None, taken]

    async def confirm() -> None:
        assert wire.gate.budget.spare(anyio.current_time()) < before
        if (error := checks.pop(0)) is not None:
            raise error

    before = wire.gate.budget.spare(anyio.current_time())
    call = evolve(LOOK, before_last=confirm)
    assert await wire.call(call) == 1
    with pytest.raises(JournalError):
        await wire.call(call)
    assert len(route.calls) == 1
    assert wire.gate.budget.spare(anyio.current_time()) == before - 1  # what was not sent does not count


@respx.mock
@pytest.mark.parametrize("call", [USER, CREATE])
async def test_429_is_waited_out_whatever_the_call(wire: Wire, call: Call) -> None:
    waits: list[float | None] = []
    rate_limited: list[int] = []
    call = evolve(call, on_rate_limited=lambda: rate_limited.append(1))

    class Patient(Budget):
        def rate_limited(self, now: float, retry_after: float | None) -> None:
            waits.append(retry_after)

    wire.gate.budget = Patient(fixed=10_000)
    respx.route().mock(
        side_effect=[*[httpx.Response(429, headers={"Retry-After": "7"})] * 3, httpx.Response(200, json=1)]
    )
    assert await wire.call(call) == 1
    assert waits == [7.0] * 3
    assert rate_limited == [1] * 3


@respx.mock
@pytest.mark.parametrize("reads", [False, True])
async def test_a_hook_of_the_callers_that_raises_for_a_status_changes_nothing_of_what_it_means(
    wire: Wire, http: httpx.AsyncClient, reads: bool
) -> None:
    async def look(response: httpx.Response) -> None:
        if reads:
            await response.aread()
        response.raise_for_status()

    http.event_hooks = {"response": [look]}
    route = respx.route().mock(
        side_effect=[
            httpx.Response(429, headers={"Retry-After": "0"}, stream=httpx.ByteStream(b"")),
            httpx.Response(200, json=1),
            httpx.Response(401, stream=httpx.ByteStream(b'{"message": "no"}')),
            httpx.Response(502, stream=httpx.ByteStream(b"<html>")),
            httpx.Response(400, stream=httpx.ByteStream(b'{"message": "no such thing"}')),
        ]
    )
    assert await wire.call(CREATE) == 1
    assert route.call_count == 2
    for kind in (AuthenticationError, ServiceUnavailableError, InvalidRequestError if reads else ProtocolError):
        with pytest.raises(kind):
            await wire.call(CREATE)


@respx.mock
async def test_endless_429_fails_in_the_end(wire: Wire) -> None:
    class Patient(Budget):
        def rate_limited(self, now: float, retry_after: float | None) -> None:
            pass

    wire.gate.budget = Patient(fixed=10_000)
    respx.route().respond(429)
    with pytest.raises(RateLimitedError, match="another program"):
        await wire.call(USER)
    assert len(respx.calls) == 10


def failing(kind: type[httpx.TransportError]) -> Callable[[httpx.Request], httpx.Response]:
    def fail(request: httpx.Request) -> httpx.Response:
        raise kind(f"cannot {request.url}", request=request)

    return fail


FAILURES = [
    httpx.ConnectError, httpx.ConnectTimeout, httpx.ReadError, httpx.ReadTimeout, httpx.WriteError, httpx.WriteTimeout,
    httpx.PoolTimeout, httpx.ProxyError, httpx.RemoteProtocolError, httpx.LocalProtocolError, httpx.UnsupportedProtocol,
    httpx.CloseError,
]  # fmt: skip


@respx.mock
@pytest.mark.parametrize("kind", FAILURES)
async def test_what_breaks_on_the_way_is_a_transport_error(wire: Wire, kind: type[httpx.TransportError]) -> None:
    respx.route().mock(side_effect=failing(kind))
    with pytest.raises(TransportError) as caught:
        await wire.call(USER)
    assert TOKEN not in str(caught.value)
    assert caught.value.__cause__ is caught.value.__context__ is None
    # A request that never left is not counted as one that the service may have seen.
    never_left = kind in (
        httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError, httpx.UnsupportedProtocol
    )  # fmt: skip
    assert wire.gate.budget.spare(wire.gate.clock()) == 10_000 - 2 - (not never_left)


class Pieces(httpx.AsyncByteStream):
    def __init__(self, count: int, piece: bytes) -> None:
        self.count, self.piece, self.given, self.closed = count, piece, 0, False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for _ in range(self.count):
            self.given += len(self.piece)
            yield self.piece

    async def aclose(self) -> None:
        self.closed = True


@respx.mock
async def test_no_more_than_the_cap_is_read(wire: Wire) -> None:
    endless = Pieces(10_000, b" " * 65_536)
    respx.route().respond(stream=endless)  # type: ignore[arg-type]
    with pytest.raises(ProtocolError, match=str(MAX_BODY)):
        await wire.call(USER)
    assert endless.given <= MAX_BODY + 2 * 65_536
    assert endless.closed


@respx.mock
async def test_compressed_nonsense(wire: Wire) -> None:
    respx.route().respond(headers={"Content-Encoding": "gzip"}, stream=Pieces(1, b"no gzip"))  # type: ignore[arg-type]
    with pytest.raises(ProtocolError, match="compression"):
        await wire.call(USER)


@respx.mock
@pytest.mark.parametrize("depth", [100, 500, 900, 990, 100_000])
async def test_nesting_of_any_depth_is_an_answer_or_our_error(wire: Wire, depth: int) -> None:
    for wrap in ('{{"success": false, "message": {}}}', '{{"data": {}}}'):
        respx.route().respond(content=wrap.format("[" * depth + "]" * depth))
        with suppress(MVSepError):
            assert await wire.call(USER)


@respx.mock
@pytest.mark.parametrize("call", [evolve(LOOK, query={"hash": "\udcff"}), evolve(POST, form={"email": "\ud800"})])
async def test_what_cannot_be_sent_is_the_callers_mistake(wire: Wire, call: Call) -> None:
    with pytest.raises(InvalidRequestError, match="cannot be sent"):
        await wire.call(call)
    assert not respx.calls
    assert wire.gate.budget.wait(call.priority, wire.gate.clock()) == 0


@respx.mock
async def test_what_goes_wrong_in_an_answer_leaves_the_wire_usable(wire: Wire) -> None:
    answers: list[Any] = [b"", b"{", b"<html>", json.dumps({"success": False}).encode()]
    for body in answers:
        respx.route().respond(content=body)
        with pytest.raises(MVSepError):
            await wire.call(USER)
    respx.route().respond(json={"ok": 1})
    assert await wire.call(USER) == {"ok": 1}
    assert wire.gate.budget.wait(USER.priority, wire.gate.clock()) == 0


async def test_a_closed_client_of_the_callers_is_their_mistake(wire: Wire) -> None:
    await wire.http.aclose()
    with pytest.raises(ConfigurationError, match="closed"):
        await wire.call(USER)
