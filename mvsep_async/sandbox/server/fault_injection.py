"""Carrying out a fault: what happens to a request that one applies to."""

from __future__ import annotations

import json

import anyio
from attrs import define
from starlette.datastructures import MutableHeaders
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mvsep_async.sandbox.faults import Fault, FaultKind

from .listener import ConnectionBroken, Connections, break_connection, end_connection


@define(eq=False)
class FaultInjector:
    """Runs the application, or answers instead of it, as a fault says."""

    _app: ASGIApp
    _connections: Connections

    async def run(self, fault: Fault, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request with this fault."""
        match fault.kind:
            case FaultKind.DROP:
                self._break(fault, scope)
            case FaultKind.DELAY:
                await anyio.sleep(fault.seconds)
                await self._app(scope, receive, send)
            case FaultKind.REFUSE | FaultKind.HTML | FaultKind.RATE_LIMIT:
                await _drain(receive)
                await _instead(fault)(scope, receive, send)
            case FaultKind.CUT_REQUEST:
                await self._cut_request(fault, scope, receive, send)
            case FaultKind.CUT_RESPONSE | FaultKind.STALL:
                await self._app(scope, receive, self._cutter(fault, scope, send))
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

        await self._app(scope, cut, send)
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
                end_connection(self._connections, scope["client"])
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

        await self._app(scope, receive, collect)
        if fault.kind is FaultKind.LOSE_ANSWER:
            self._break(fault, scope)
        if fault.kind in (FaultKind.HTML_AFTER, FaultKind.REFUSE_AFTER):
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
        break_connection(self._connections, scope["client"], reset=fault.reset)

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
    if fault.kind not in (FaultKind.REFUSE, FaultKind.REFUSE_AFTER):
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
