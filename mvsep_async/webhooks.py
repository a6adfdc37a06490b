"""Hearing from the service that a job changed: an ASGI application that believes nothing it is told."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, MutableMapping
from hmac import compare_digest
from secrets import token_urlsafe
from typing import Any, Final, TypeAlias

from mvsep_async.client import MVSepClient
from mvsep_async.errors import ClientClosedError, ConfigurationError
from mvsep_async.sources import is_url

__all__ = ["MAX_BODY", "WebhookReceiver"]

MAX_BODY: Final = 1024 * 1024
"""Most bytes of a webhook that are read. The service sends a job's whole answer along; only its hash counts."""

_PLAIN: Final = [(b"content-type", b"text/plain; charset=utf-8")]

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]


class WebhookReceiver:
    """An ASGI application for the service's webhooks: mount it in Starlette or FastAPI, or serve it alone.

    Webhooks are not signed, so one only makes the client look soon at the job that it names: a forged, repeated, late
    or unknown one changes nothing and costs at most one look, ever rarer ones if they keep being wrong.

    `public_url`: the address under which this application is reached from outside, the mount's prefix included; with
    it, `client.webhook_url` is set, and every submit carries `url`. Raises `ConfigurationError` if it is no http(s)
    address.
    """

    def __init__(self, client: MVSepClient, public_url: str | None = None) -> None:
        self._client = client
        self.path = f"/mvsep-{token_urlsafe(24)}"
        """The path that is answered; nobody can guess it, anything else is a 404."""
        self.url: str | None = None
        """The whole address, when `public_url` was given."""
        if public_url is not None:
            if not is_url(public_url):
                raise ConfigurationError(f"public_url must be an http(s) address, not {public_url[:120]!r}")
            self.url = client.webhook_url = public_url.rstrip("/") + self.path

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one connection, as ASGI 3 says."""
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
        elif scope["type"] == "http":
            await _answer(send, *await self._handle(scope, receive))
        else:
            await send({"type": "websocket.close", "code": 1000})

    async def _handle(self, scope: Message, receive: Receive) -> tuple[int, str]:
        if not compare_digest(_below_mount(scope).encode(), self.path.encode()):
            return 404, "not found"
        if scope["method"] in ("GET", "HEAD"):
            return 200, "ok"  # the service tries the address before it uses it
        if scope["method"] != "POST":
            return 405, "method not allowed"
        body = await _body(receive)
        if body is None:
            return 413, "too large"
        for hash in _hashes(body):
            try:
                self._client.hasten(hash)
            except ClientClosedError:
                return 503, "closing"
        return 200, "ok"

    def __repr__(self) -> str:
        return f"<WebhookReceiver {'mounted' if self.url is None else 'public'}>"


def _below_mount(scope: Message) -> str:
    """Return the path below where we are mounted; `path` holds the mount's `root_path` or not, as frameworks differ."""
    path, root = str(scope["path"]), str(scope.get("root_path", ""))
    return path.removeprefix(root) if root else path


async def _body(receive: Receive) -> bytes | None:
    """Read a request's body; `None` if it is longer than anything that the service sends."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return b""
        body += message.get("body", b"")
        if len(body) > MAX_BODY:
            return None
        if not message.get("more_body", False):
            return bytes(body)


def _hashes(body: bytes) -> set[str]:
    """Return the hashes that a webhook names: `hash` or `job_hash`, at the top level or in `data`."""
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        return set()
    places = [told, told.get("data")] if isinstance(told, dict) else []
    named = (place.get(key) for place in places if isinstance(place, dict) for key in ("hash", "job_hash"))
    return {hash for hash in named if isinstance(hash, str) and hash}


async def _answer(send: Send, status: int, text: str) -> None:
    await send({"type": "http.response.start", "status": status, "headers": _PLAIN})
    await send({"type": "http.response.body", "body": text.encode()})


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
