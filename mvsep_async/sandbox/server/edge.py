"""The outermost ASGI application: the request log, the rate limit, network speed, and injected faults."""

from __future__ import annotations

import json
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from email.utils import formatdate
from urllib.parse import parse_qsl, urlencode

import anyio
from attrs import define, field, frozen
from starlette.datastructures import Headers, MutableHeaders, QueryParams
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mvsep_async.sandbox.faults import Fault, FaultBoard, FaultKind
from mvsep_async.sandbox.settings import SandboxSettings

from .body_timer import BodyTimer
from .link import Link
from .listener import Connections, break_connection, end_connection
from .rate_limit import RateDecision, RateLimiter

LOG_LENGTH = 100_000
"""How many requests the log holds; the oldest are dropped first."""
LIMITED_PIECE = 16 * 1024
"""Bytes sent at a time where the speed is limited, so that connections that share the link alternate."""


@frozen
class RequestRecord:
    """One request and its answer (status 0: the connection broke). `at`: sandbox's clock; the token is redacted.

    `sent`: bytes of the answer's body that were handed to the network.
    """

    method: str
    path: str
    query: str
    status: int
    at: float
    host: str
    fault: str | None
    sent: int = 0


@define
class RequestLog:
    """The last requests, and counts of all."""

    entries: deque[RequestRecord] = field(factory=lambda: deque(maxlen=LOG_LENGTH))
    by_path: Counter[str] = field(factory=Counter)
    by_status: Counter[int] = field(factory=Counter)

    def add(self, record: RequestRecord) -> None:
        self.entries.append(record)
        self.by_path[f"{record.method} {record.path}" if record.path.startswith("/api") else "storage"] += 1
        self.by_status[record.status] += 1


class ConnectionBroken(BaseException):
    """The connection is closed, so the rest of this request is skipped.

    Not an error: like a cancellation, it must pass through the error handling of the application.
    """


@define(eq=False)
class Edge:
    """Wraps the application. Requests to `/_sandbox/` are neither changed, limited nor logged."""

    app: ASGIApp
    settings: SandboxSettings
    faults: FaultBoard
    connections: Connections
    now: Callable[[], float]
    """The sandbox's clock, for the log; limits and delays use real time."""
    log: RequestLog = field(factory=RequestLog)
    limiter: RateLimiter = field(factory=RateLimiter)
    _uplink: Link = field(factory=Link)
    _downlink: Link = field(factory=Link)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        if path.startswith("/_sandbox/"):
            await self.app(scope, receive, send)
            return
        arrived = self.now()
        fault = self.faults.trigger(scope["method"], path)
        decision = self._count(scope, fault) if path.startswith("/api/") else None
        status = sent = 0
        more = True

        def cut() -> None:
            break_connection(self.connections, scope["client"], reset=False)

        timer = BodyTimer(receive, self.settings.body_read_timeout, cut)

        async def answer(message: Message) -> None:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["Date"] = formatdate(usegmt=True)
                if decision is not None:
                    headers.setdefault("X-RateLimit-Limit", str(decision.limit))
                    headers.setdefault("X-RateLimit-Remaining", str(decision.remaining))
            for piece in self._pieces(message):
                if scope["client"] not in self.connections:
                    raise ConnectionBroken  # uvicorn would silently accept the rest of a large answer
                size = len(piece.get("body", b""))
                await self._pass_link(size, self._downlink)
                sent += size
                await send(piece)

        async def ask() -> Message:
            nonlocal more
            if not more:
                return await receive()
            message = await timer.receive()
            more = message.get("more_body", False)
            await self._pass_link(len(message.get("body", b"")), self._uplink)
            return message

        try:
            if decision is not None and not decision.allowed:
                await self._refuse_rate(decision)(scope, receive, answer)
            elif fault is None:
                await self.app(scope, ask, answer)
            else:
                await self._inject(fault, scope, ask, answer)
        except ConnectionBroken:
            status = 0
            await _until_disconnected(receive)
        except anyio.get_cancelled_exc_class():
            # The listener is closing and has cancelled this request. Uvicorn would log that as an error.
            if scope["client"] in self.connections:
                raise
        finally:
            timer.stop()
            self.log.add(_record(scope, status, arrived, fault, sent))

    def _pieces(self, message: Message) -> Iterator[Message]:
        """Split the body of an answer into small pieces where the speed is limited."""
        body = message.get("body", b"")
        if len(body) <= LIMITED_PIECE or not (self.settings.bytes_per_second or self.settings.link_bytes_per_second):
            yield message
            return
        for start in range(0, len(body), LIMITED_PIECE):
            more = start + LIMITED_PIECE < len(body) or message.get("more_body", False)
            yield {**message, "body": body[start : start + LIMITED_PIECE], "more_body": more}

    async def _pass_link(self, size: int, link: Link) -> None:
        """Take the time that `size` bytes take at the configured speeds; meanwhile TCP makes the client wait."""
        settings, seconds = self.settings, 0.0
        if settings.bytes_per_second:
            seconds = size / settings.bytes_per_second
        if settings.link_bytes_per_second and size:
            seconds = max(seconds, link.reserve(size, settings.link_bytes_per_second, time.monotonic()))
        if seconds > 0:
            await anyio.sleep(seconds)

    def _count(self, scope: Scope, fault: Fault | None) -> RateDecision:
        settings = self.settings
        key = (scope.get("client") or ("",))[0]
        if settings.rate_scope == "token":
            # A token in a form cannot be read here; those requests count for their address.
            key = QueryParams(scope["query_string"]).get("api_token", key)
        return self.limiter.hit(
            key, time.monotonic(), limit=settings.requests_per_minute, window=settings.rate_window,
            kind=settings.rate_kind,
        )  # fmt: skip

    def _refuse_rate(self, decision: RateDecision) -> Response:
        headers = {
            "Retry-After": str(decision.retry_after),
            "X-RateLimit-Reset": str(int(time.time() + decision.wait) + 1),
        }
        return JSONResponse({"message": "Too Many Attempts."}, 429, headers)

    async def _inject(self, fault: Fault, scope: Scope, receive: Receive, send: Send) -> None:
        match fault.kind:
            case FaultKind.DROP:
                self._break(fault, scope)
            case FaultKind.DELAY:
                await anyio.sleep(fault.seconds)
                await self.app(scope, receive, send)
            case FaultKind.REFUSE | FaultKind.HTML | FaultKind.RATE_LIMIT:
                await _drain(receive)
                await _instead(fault)(scope, receive, send)
            case FaultKind.CUT_REQUEST:
                await self._cut_request(fault, scope, receive, send)
            case FaultKind.CUT_RESPONSE | FaultKind.STALL:
                await self.app(scope, receive, self._cutter(fault, scope, send))
            case _:
                await self._after(fault, scope, receive, send)

    async def _cut_request(self, fault: Fault, scope: Scope, receive: Receive, send: Send) -> None:
        seen = 0

        async def cut() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen >= fault.after_bytes:
                self._abort(fault, scope)
                return {"type": "http.disconnect"}
            return message

        await self.app(scope, cut, send)
        if seen >= fault.after_bytes:
            raise ConnectionBroken

    def _cutter(self, fault: Fault, scope: Scope, send: Send) -> Send:
        sent = 0
        stalled = False

        async def cut(message: Message) -> None:
            nonlocal sent, stalled
            body = message.get("body", b"")
            if message["type"] != "http.response.body" or stalled or sent + len(body) < fault.after_bytes:
                sent += len(body)
                await send(message)
                return
            head, tail = body[: fault.after_bytes - sent], body[fault.after_bytes - sent :]
            if fault.kind is FaultKind.CUT_RESPONSE and not tail and not message.get("more_body"):
                await send(message)  # the whole body is shorter than the cut
                return
            if head:
                await send({**message, "body": head, "more_body": True})
            if fault.kind is FaultKind.CUT_RESPONSE:
                if fault.reset:
                    self._break(fault, scope)
                end_connection(self.connections, scope["client"])
                raise ConnectionBroken
            stalled = True
            await anyio.sleep(fault.seconds)
            await send({**message, "body": tail})

        return cut

    async def _after(self, fault: Fault, scope: Scope, receive: Receive, send: Send) -> None:
        start: Message = {}
        body = bytearray()

        async def collect(message: Message) -> None:
            if message["type"] == "http.response.start":
                start.update(message)
            else:
                body.extend(message.get("body", b""))

        await self.app(scope, receive, collect)
        if fault.kind is FaultKind.LOSE_ANSWER:
            self._break(fault, scope)
        if fault.kind is FaultKind.HTML_AFTER:
            await _instead(fault)(scope, receive, send)
            return
        changed = {
            FaultKind.GARBLE: b"\x00<" + bytes(reversed(body[: max(0, len(body) - 2)])),
            FaultKind.TRUNCATE: bytes(body[: len(body) // 2]),
            FaultKind.EMPTY: b"",
        }[fault.kind]
        MutableHeaders(scope=start)["Content-Length"] = str(len(changed))
        await send(start)
        await send({"type": "http.response.body", "body": changed})

    def _abort(self, fault: Fault, scope: Scope) -> None:
        break_connection(self.connections, scope["client"], reset=fault.reset)

    def _break(self, fault: Fault, scope: Scope) -> None:
        self._abort(fault, scope)
        raise ConnectionBroken


def edge_page(status: int) -> str:
    """Return the error page of the edge in front of the service."""
    return (
        f"<!DOCTYPE html><html><head><title>mvsep.com | {status}</title></head><body><h1>Error {status}</h1>"
        "<p>The web server reported an error. Please try again in a few minutes.</p></body></html>"
    )


def _instead(fault: Fault) -> Response:
    headers = dict(fault.headers)
    if fault.kind is FaultKind.RATE_LIMIT:
        if fault.retry_after is not None:
            headers["Retry-After"] = str(fault.retry_after)
        headers.setdefault("X-RateLimit-Remaining", "0")
        return JSONResponse({"message": "Too Many Attempts."}, fault.status or 429, headers)
    if fault.kind is not FaultKind.REFUSE:
        status = fault.status or 502
        return HTMLResponse(fault.body if isinstance(fault.body, str) else edge_page(status), status, headers)
    if isinstance(fault.body, str):
        return Response(fault.body, fault.status or 400, headers)
    body = {"success": False} if fault.body is None else fault.body
    return Response(json.dumps(body), fault.status or 400, headers, "application/json")


async def _drain(receive: Receive) -> None:
    while True:
        message = await receive()
        if message["type"] == "http.disconnect" or not message.get("more_body"):
            return


async def _until_disconnected(receive: Receive) -> None:
    # Uvicorn logs an error for a request that ends without an answer while its connection is open.
    while (await receive())["type"] != "http.disconnect":
        pass


def _record(scope: Scope, status: int, arrived: float, fault: Fault | None, sent: int) -> RequestRecord:
    pairs = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    query = urlencode([(name, "***" if "token" in name or "password" in name else value) for name, value in pairs])
    host = Headers(scope=scope).get("host", "")
    return RequestRecord(
        scope["method"], scope["path"], query, status, arrived, host, str(fault.kind) if fault else None, sent
    )
