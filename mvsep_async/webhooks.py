"""An ASGI application for the service's webhooks, which are only hints that a job changed."""

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
"""Most bytes of a webhook that are read. The service sends the whole status of the job; only its hash is used."""

_NAMED: Final = re.compile(rb'"(?:job_)?hash"\s*:\s*("(?:[^"\\]|\\.){1,600}")')
"""A hash in the JSON of a webhook. Searching takes a fortieth of the time of parsing, which would block the event loop
for tens of milliseconds if there are waveforms in it; and nothing else in it is used."""

_MOST_NAMES: Final = 8
"""Most hashes of one webhook that are looked up: the service names the same job once or twice."""

_PLAIN: Final = [(b"content-type", b"text/plain; charset=utf-8")]

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]


class WebhookReceiver:
    """An ASGI application for the service's webhooks: mount it in Starlette or FastAPI, or serve it alone.

    Webhooks are not signed, so each one only makes the client poll the job that it names soon: a forged, repeated, late
    or unknown one changes nothing and costs at most one request, less and less often if they keep being wrong. While
    the client is not open the answer is 503, and the job is polled as usual later.

    `public_url`: the public address of this application, including the prefix of its mount. With it,
    `client.webhook_url` is set, and every submit carries `url`. Serve the application on the client's event loop.
    Raises `ConfigurationError` if it is not an http(s) URL.
    """

    def __init__(self, client: MVSepClient, public_url: str | None = None) -> None:
        self._client = client
        self.path = f"/mvsep-{token_urlsafe(24)}"
        """The path that is answered, below the mount. It cannot be guessed; any other path is a 404."""
        self.url: str | None = None
        """The complete address, if `public_url` was given."""
        if public_url is not None:
            if not is_url(public_url):
                raise ConfigurationError(f"public_url must be an http(s) URL, not {public_url[:120]!r}")
            self.url = client.webhook_url = public_url.rstrip("/") + self.path

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Handle one connection (ASGI 3)."""
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
        elif scope["type"] == "http":
            await _answer(send, *await self._handle(scope, receive))
        else:
            await send({"type": "websocket.close", "code": 1000})

    async def _handle(self, scope: Message, receive: Receive) -> tuple[int, str]:
        # Frameworks and proxies differ in whether `path` has the mount's prefix; the secret is the last part.
        last = "/" + str(scope["path"]).rpartition("/")[2]
        if not compare_digest(last.encode(errors="replace"), self.path.encode()):
            return 404, "not found"
        if scope["method"] in ("GET", "HEAD"):
            return 200, "ok"  # the service tests the address before it uses it
        if scope["method"] != "POST":
            return 405, "method not allowed"
        body = await _body(receive)
        if body is None:
            return 413, "too large"
        try:
            # One webhook is about one job, so it causes one poll, however many hashes it has.
            any(self._client.poll_soon(hash) for hash in islice(_hashes(body), _MOST_NAMES))
        except ClientClosedError:
            return 503, "not open"
        return 200, "ok"  # for unknown hashes too: the answer must not reveal which jobs exist

    def __repr__(self) -> str:
        return f"<WebhookReceiver {'mounted' if self.url is None else 'public'}>"


async def _body(receive: Receive) -> bytes | None:
    """Read the body of a request; `None` if it is longer than `MAX_BODY`."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return b""  # an incomplete webhook is ignored
        body += message.get("body", b"")
        if len(body) > MAX_BODY:
            return None
        if not message.get("more_body", False):
            return bytes(body)


def _hashes(body: bytes) -> Iterator[str]:
    """Yield the hashes in a webhook: `hash` or `job_hash`, at any level."""
    for found in _NAMED.finditer(body):
        try:
            yield json.loads(found[1])
        except ValueError:
            continue  # not a valid JSON string


async def _answer(send: Send, status: int, text: str) -> None:
    await send({"type": "http.response.start", "status": status, "headers": _PLAIN})
    await send({"type": "http.response.body", "body": text.encode()})


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
