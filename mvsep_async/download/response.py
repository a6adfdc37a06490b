"""Request a file over HTTP, following redirects, and read its body into given memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import urlsplit

import httpx
from anyio import CancelScope
from attrs import frozen

from mvsep_async.transport.reading import body_reader

__all__ = ["FileResponse", "RequestError", "request_file", "shown"]

_REDIRECTS: Final = 5
_REDIRECT_STATUSES: Final = frozenset({301, 302, 303, 307, 308})


class RequestError(Exception):
    """A request without a usable response. `temporary`: a later attempt may succeed."""

    def __init__(self, reason: str, *, temporary: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.temporary = temporary


@frozen
class FileResponse:
    """The head of a response. `await read_into(buffer)` returns how many bytes of the body it wrote, 0 at its end."""

    status: int
    headers: Mapping[str, str]
    read_into: Callable[[memoryview], Awaitable[int]]


@asynccontextmanager
async def request_file(http: httpx.AsyncClient, url: str, headers: dict[str, str]) -> AsyncIterator[FileResponse]:
    """Send a GET without the client's cookies, authorization or own headers, and follow redirects.

    Raises `RequestError` for everything that goes wrong with the network, the link or the caller's HTTP client, also
    while the block reads the body.
    """
    try:
        async with _follow(http, url, headers) as response:
            yield FileResponse(response.status_code, response.headers, body_reader(response))
    except (httpx.TransportError, httpx.StreamError) as error:
        # Without the request's URL, which the exception itself holds.
        detail = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        raise RequestError(f"the connection failed ({detail})", temporary=True) from None


@asynccontextmanager
async def _follow(http: httpx.AsyncClient, link: str, headers: dict[str, str]) -> AsyncIterator[httpx.Response]:
    url = _parse(link)
    for _ in range(_REDIRECTS + 1):
        request = httpx.Request(
            "GET",
            url,
            headers=headers | {"User-Agent": http.headers.get("user-agent", "mvsep-async")},
            extensions={"timeout": http.timeout.as_dict()},
        )
        response = await _send(http, request)
        try:
            location = response.headers.get("location")
            if response.status_code not in _REDIRECT_STATUSES or location is None:
                yield response
                return
            url = _parse(location, base=url)
        finally:
            with CancelScope(shield=True):
                await response.aclose()
    raise RequestError(f"the server redirected more than {_REDIRECTS} times", temporary=False)


async def _send(http: httpx.AsyncClient, request: httpx.Request) -> httpx.Response:
    try:
        return await http.send(request, stream=True, auth=None, follow_redirects=False)
    except httpx.TransportError:
        raise
    except httpx.HTTPStatusError as error:
        return error.response  # from an event hook of the caller's that calls `raise_for_status`
    except Exception as error:  # noqa: BLE001 -- a hook or a transport of the caller's may raise anything
        if http.is_closed:
            raise RequestError("the HTTP client given to this client is closed", temporary=False) from None
        raise RequestError(f"the HTTP client failed with {type(error).__name__}", temporary=True) from None


def _parse(link: str, *, base: httpx.URL | None = None) -> httpx.URL:
    try:
        urlsplit(link)  # refuses some host names that httpx would try to resolve
        url = httpx.URL(link) if base is None else base.join(link)
        host = url.host
    except (httpx.InvalidURL, ValueError):
        raise RequestError("the link is not a URL", temporary=False) from None
    if url.scheme not in ("http", "https") or not host:
        raise RequestError(
            f"the link leads to {url.scheme or 'no'}://, only http and https are followed", temporary=False
        )
    return url.copy_with(username=None, password=None, fragment=None)


def shown(url: str) -> str:
    """Return the URL without what may be a secret: user name, query and fragment."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "a broken link"
    return f"{parts.scheme}://{parts.netloc.rsplit('@', 1)[-1]}{parts.path}"
