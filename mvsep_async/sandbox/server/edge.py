"""The outermost ASGI application: the request log, the rate limit, network speed, and injected faults."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from email.utils import formatdate

import anyio
from attrs import define, field
from starlette.datastructures import MutableHeaders, QueryParams
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mvsep_async.sandbox.faults import FaultBoard
from mvsep_async.sandbox.settings import SandboxSettings

from .fault_injection import FaultInjector
from .limits import BodyTimer, Link, RateDecision, RateLimiter
from .listener import ConnectionBroken, Connections, break_connection
from .request_log import RequestLog, RequestRecord

LIMITED_PIECE = 16 * 1024
"""Bytes sent at a time where the speed is limited, so that connections that share the link alternate."""


@define(eq=False)
class Edge:
    """Wraps the application. Requests to `/_sandbox/` are neither changed, limited nor logged."""

    app: ASGIApp
    settings: SandboxSettings
    faults: FaultBoard
    _now: Callable[[], float]
    """The sandbox's clock, for the log; limits and delays use real time."""
    log: RequestLog
    connections: Connections = field(factory=dict, init=False)
    """Open connections; the listener keeps them up to date."""
    _limiter: RateLimiter = field(factory=RateLimiter, init=False)
    _uplink: Link = field(factory=Link, init=False)
    _downlink: Link = field(factory=Link, init=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        if path.startswith("/_sandbox/"):
            await self.app(scope, receive, send)
            return
        arrived = self._now()
        fault = self.faults.trigger(scope["method"], path)
        decision = self._count(scope) if path.startswith("/api/") else None
        exchange = _Exchange(self, scope, receive, send, decision)
        try:
            if decision is not None and not decision.allowed:
                await _too_many(decision)(scope, receive, exchange.send)
            elif fault is None:
                await self.app(scope, exchange.receive, exchange.send)
            else:
                injector = FaultInjector(self.app, self.connections)
                await injector.run(fault, scope, exchange.receive, exchange.send)
        except ConnectionBroken:
            exchange.status = 0
            await _until_disconnected(receive)
        except anyio.get_cancelled_exc_class():
            # The listener is closing and has cancelled this request. Uvicorn would log that as an error.
            if scope["client"] in self.connections:
                raise
        finally:
            exchange.close()
            self.log.add(
                RequestRecord.of(scope, status=exchange.status, at=arrived, fault=fault, sent=exchange.sent)
            )  # fmt: skip

    async def pass_uplink(self, size: int) -> None:
        """Take the time that `size` bytes of a request take; meanwhile TCP makes the client wait."""
        await self._pass(size, self._uplink)

    async def pass_downlink(self, size: int) -> None:
        """Take the time that `size` bytes of an answer take."""
        await self._pass(size, self._downlink)

    async def _pass(self, size: int, link: Link) -> None:
        settings, seconds = self.settings, 0.0
        if settings.bytes_per_second:
            seconds = size / settings.bytes_per_second
        if settings.link_bytes_per_second and size:
            seconds = max(seconds, link.reserve(size, settings.link_bytes_per_second, time.monotonic()))
        if seconds > 0:
            await anyio.sleep(seconds)

    def _count(self, scope: Scope) -> RateDecision:
        settings = self.settings
        key = (scope.get("client") or ("",))[0]
        if settings.rate_scope == "token":
            # A token in a form cannot be read here; those requests count for their address.
            key = QueryParams(scope["query_string"]).get("api_token", key)
        return self._limiter.hit(
            key, time.monotonic(), limit=settings.requests_per_minute, window=settings.rate_window,
            kind=settings.rate_kind,
        )  # fmt: skip


@define(eq=False)
class _Exchange:
    """One request and its answer on their way through the edge."""

    _edge: Edge
    _scope: Scope
    _receive: Receive
    _send: Send
    _decision: RateDecision | None
    status: int = field(default=0, init=False)
    sent: int = field(default=0, init=False)
    _timer: BodyTimer = field(init=False)
    _body_ended: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self._timer = BodyTimer(self._receive, self._edge.settings.body_read_timeout, self._cut)

    async def receive(self) -> Message:
        """Receive a piece of the request's body, in time and at the speed of the link."""
        if self._body_ended:
            return await self._receive()
        message = await self._timer.receive()
        self._body_ended = not message.get("more_body", False)
        await self._edge.pass_uplink(len(message.get("body", b"")))
        return message

    async def send(self, message: Message) -> None:
        """Send a part of the answer, with the headers of the edge and at the speed of the link."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers["Date"] = formatdate(usegmt=True)
            if self._decision is not None:
                headers.setdefault("X-RateLimit-Limit", str(self._decision.limit))
                headers.setdefault("X-RateLimit-Remaining", str(self._decision.remaining))
        for piece in self._pieces(message):
            if self._scope["client"] not in self._edge.connections:
                raise ConnectionBroken  # uvicorn would silently accept the rest of a large answer
            size = len(piece.get("body", b""))
            await self._edge.pass_downlink(size)
            self.sent += size
            await self._send(piece)

    def close(self) -> None:
        """Stop the timer."""
        self._timer.stop()

    def _pieces(self, message: Message) -> Iterator[Message]:
        """Split the body of an answer into small pieces where the speed is limited."""
        settings, body = self._edge.settings, message.get("body", b"")
        if len(body) <= LIMITED_PIECE or not (settings.bytes_per_second or settings.link_bytes_per_second):
            yield message
            return
        for start in range(0, len(body), LIMITED_PIECE):
            more = start + LIMITED_PIECE < len(body) or message.get("more_body", False)
            yield {**message, "body": body[start : start + LIMITED_PIECE], "more_body": more}

    def _cut(self) -> None:
        break_connection(self._edge.connections, self._scope["client"], reset=False)


def _too_many(decision: RateDecision) -> Response:
    headers = {
        "Retry-After": str(decision.retry_after),
        "X-RateLimit-Reset": str(int(time.time() + decision.wait) + 1),
    }
    return JSONResponse({"message": "Too Many Attempts."}, 429, headers)


async def _until_disconnected(receive: Receive) -> None:
    # Uvicorn logs an error for a request that ends without an answer while its connection is open.
    while (await receive())["type"] != "http.disconnect":
        pass
