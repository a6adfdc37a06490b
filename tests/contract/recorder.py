"""A transport that records what a client sends and what the service answers, and can send a request once more."""

from __future__ import annotations

import json
from collections.abc import Mapping
from email import message_from_bytes
from email.policy import HTTP
from typing import Any
from urllib.parse import parse_qsl

import httpx
from attrs import frozen

__all__ = ["Exchange", "Recorder", "repeat"]


@frozen
class Exchange:
    """One request, its parameters by name, and the JSON of the answer. A file's value is its name and its bytes."""

    method: str
    url: str
    path: str
    parameters: Mapping[str, str | tuple[str, bytes]]
    status: int
    answer: Any

    @property
    def refused(self) -> bool:
        """Whether the answer is a refusal."""
        success = self.answer.get("success", True) if isinstance(self.answer, dict) else True
        return self.status >= 400 or success in (False, "false")


class Recorder(httpx.AsyncBaseTransport):
    """Passes requests on and records each exchange."""

    def __init__(self) -> None:
        self.exchanges: list[Exchange] = []
        self._inner = httpx.AsyncHTTPTransport()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        body = await request.aread()
        passed = httpx.Request(request.method, request.url, headers=request.headers, content=body)
        response = await self._inner.handle_async_request(passed)
        content = await response.aread()
        if "/api/" in request.url.path:
            self.exchanges.append(
                Exchange(
                    request.method,
                    str(request.url.copy_with(query=None)),
                    request.url.path.partition("/api/")[2],
                    dict(parse_qsl(request.url.query.decode(), keep_blank_values=True))
                    | _form(request.headers.get("content-type", ""), body),
                    response.status_code,
                    json.loads(content),
                )
            )
        headers = [(name, value) for name, value in response.headers.items() if name != "content-encoding"]
        return httpx.Response(response.status_code, headers=headers, content=content)

    async def aclose(self) -> None:
        await self._inner.aclose()


async def repeat(exchange: Exchange, changes: Mapping[str, str | None]) -> Exchange:
    """Send a recorded request once more with some parameters changed, or left out where the value is `None`."""
    changed = {**exchange.parameters, **changes}
    texts = {name: value for name, value in changed.items() if isinstance(value, str)}
    files = {name: value for name, value in changed.items() if isinstance(value, tuple)}
    async with httpx.AsyncClient() as client:
        if exchange.method == "GET":
            response = await client.get(exchange.url, params=texts)
        else:
            response = await client.post(exchange.url, data=texts, files=files or None)
    return Exchange(exchange.method, exchange.url, exchange.path, changed, response.status_code, response.json())


def _form(content_type: str, body: bytes) -> dict[str, str | tuple[str, bytes]]:
    if content_type.startswith("application/x-www-form-urlencoded"):
        return dict(parse_qsl(body.decode(), keep_blank_values=True))
    if not content_type.startswith("multipart/form-data"):
        return {}
    message = message_from_bytes(f"Content-Type: {content_type}\r\n\r\n".encode() + body, policy=HTTP)
    found: dict[str, str | tuple[str, bytes]] = {}
    for part in message.iter_parts():
        name = str(part.get_param("name", header="content-disposition"))
        data = part.get_payload(decode=True)
        assert isinstance(data, bytes)
        filename = part.get_filename()
        found[name] = data.decode() if filename is None else (filename, data)
    return found
