"""Hearing from the service that a job changed: an ASGI application that believes nothing it is told."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from hmac import compare_digest
from itertools import islice
from secrets import token_urlsafe
from typing import Any, Final, TypeAlias

from mvsep_async.client import MVSepClient
from mvsep_async.errors import ClientClosedError, ConfigurationError
from mvsep_async.sources import is_url

__all__ = ["MAX_BODY", "WebhookReceiver"]

MAX_BODY: Final = 1024 * 1024
"""Most bytes of a webhook that are read. The service sends a job's whole answer along; only its hash counts."""

_NAMED: Final = re.compile(rb'"(?:job_)?hash"\s*:\s*("(?:[^"\\]|\\.){1,600}")')
"""A hash in the JSON of a webhook. Searching for it takes a fortieth of the time of parsing, which for the waveforms
that an answer may hold would be tens of milliseconds on the event loop, and nothing else in there is believed."""

_MOST_NAMES: Final = 8
"""Hashes looked up of one webhook: the service names the same job once or twice."""

_PLAIN: Final = [(b"content-type", b"text/plain; charset=utf-8")]

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]


class WebhookReceiver:
    """An ASGI application for the service's webhooks: mount it in Starlette or FastAPI, or serve it alone.

    Webhooks are not signed, so one only makes the client look soon at the job that it names: a forged, repeated, late
    or unknown one changes nothing and costs at most one look, ever rarer ones if they keep being wrong. While the
    client is not open they are answered 503; what they would have said is found out when it looks.

    `public_url`: the address under which this application is reached from outside, the mount's prefix included; with
    it, `client.webhook_url` is set, and every submit carries `url`. Serve it on the event loop of the client. Raises
    `ConfigurationError` if it is no http(s) address.
    """

    def __init__(self, client: MVSepClient, public_url: str | None = None) -> None:
        self._client = client
        self.path = f"/mvsep-{token_urlsafe(24)}"
        """The path that is answered, below wherever this is mounted; nobody can guess it, anything else is a 404."""
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
        # Frameworks and proxies differ in whether `path` holds the mount's prefix; what is secret is the last part.
        last = "/" + str(scope["path"]).rpartition("/")[2]
        if not compare_digest(last.encode(errors="replace"), self.path.encode()):
            return 404, "not found"
        if scope["method"] in ("GET", "HEAD"):
            return 200, "ok"  # the service tries the address before it uses it
        if scope["method"] != "POST":
            return 405, "method not allowed"
        body = await _body(receive)
        if body is None:
            return 413, "too large"
        try:
            # One webhook is about one job, so it is good for one look, however many it names.
            any(self._client.poll_soon(hash) for hash in islice(_hashes(body), _MOST_NAMES))
        except ClientClosedError:
            return 503, "not open"
        return 200, "ok"  # also where nothing came of it: who does not know our jobs learns nothing about them

    def __repr__(self) -> str:
        return f"<WebhookReceiver {'mounted' if self.url is None else 'public'}>"


async def _body(receive: Receive) -> bytes | None:
    """Read a request's body; `None` if it is longer than anything that the service sends."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return b""  # half a webhook names nobody for sure
        body += message.get("body", b"")
        if len(body) > MAX_BODY:
            return None
        if not message.get("more_body", False):
            return bytes(body)


def _hashes(body: bytes) -> Iterator[str]:
    """Give the hashes that a webhook names: `hash` or `job_hash`, wherever they stand."""
    for found in _NAMED.finditer(body):
        try:
            yield json.loads(found[1])
        except ValueError:
            continue  # no text, whatever it is


async def _answer(send: Send, status: int, text: str) -> None:
    await send({"type": "http.response.start", "status": status, "headers": _PLAIN})
    await send({"type": "http.response.body", "body": text.encode()})


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
