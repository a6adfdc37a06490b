"""Request a file over HTTP, following redirects, and read its body into given memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from math import inf
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import anyio
from anyio import CancelScope
from attrs import define, frozen

from mvsep_async.errors import MVSepError
from mvsep_async.transport.addresses import PUBLIC_ONLY, PrivateAddressError, require_public
from mvsep_async.transport.bandwidth import Bandwidth, MinimumRate
from mvsep_async.transport.compat import error_names, library_of, tls_error
from mvsep_async.transport.reading import body_reader

if TYPE_CHECKING:
    import httpx

__all__ = ["FileResponse", "RequestError", "request_file", "shown"]

_HEAD: Final = 30.0
"""Seconds, at least, until the head of a response must be there."""

_REDIRECTS: Final = 5
_REDIRECT_STATUSES: Final = frozenset({301, 302, 303, 307, 308})


class RequestError(Exception):
    """A request without a usable response. `temporary`: another attempt may succeed. `slow`: bytes came too slowly."""

    def __init__(self, reason: str, *, temporary: bool, slow: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.temporary = temporary
        self.slow = slow


@frozen
class FileResponse:
    """The head of a response. `await read_into(buffer)` returns how many bytes of the body it wrote, 0 at its end."""

    status: int
    headers: Mapping[str, str]
    read_into: Callable[[memoryview], Awaitable[int]]


@asynccontextmanager
async def request_file(
    http: httpx.AsyncClient,
    url: str,
    headers: dict[str, str],
    *,
    may_be_private: Callable[[str], bool] = lambda url: True,
    bandwidth: Bandwidth | None = None,
    minimum_rate: MinimumRate | None = None,
) -> AsyncIterator[FileResponse]:
    """Send a GET without the client's cookies, authorization or own headers, and follow redirects.

    `may_be_private(url)`: whether a host may have a private address. `bandwidth`: the fastest rate at which the body
    is read; `minimum_rate`: the slowest rate that does not fail. Raises `RequestError` for every failure of the
    network, the link or the caller's HTTP client, also while the block reads the body.
    """
    try:
        async with _follow(http, url, headers, may_be_private) as response, body_reader(response) as read_into:
            reader = _Reader(read_into, bandwidth, minimum_rate or MinimumRate())
            yield FileResponse(response.status_code, response.headers, reader.read_into)
    except Exception as error:
        if not error_names(error) & {"TransportError", "StreamError"}:
            raise
        # Without the request's URL, which the exception itself holds.
        detail = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        raise RequestError(f"the connection failed ({detail})", temporary=True) from None


@asynccontextmanager
async def _follow(
    http: httpx.AsyncClient, link: str, headers: dict[str, str], may_be_private: Callable[[str], bool]
) -> AsyncIterator[httpx.Response]:
    library = library_of(http)
    headers = headers | {"User-Agent": http.headers.get("user-agent", "mvsep-async")}
    timeout = http.timeout.as_dict()
    limit = max(_HEAD, timeout["connect"] or inf, timeout["read"] or inf)
    url = _parse(library, link)
    for _ in range(_REDIRECTS + 1):
        extensions: dict[str, Any] = {"timeout": timeout}
        try:
            with anyio.fail_after(limit):
                if not may_be_private(str(url)):
                    await require_public(url.host, url.port or 0, limit)
                    extensions[PUBLIC_ONLY] = True
                response = await _send(http, library.Request("GET", url, headers=headers, extensions=extensions))
        except PrivateAddressError as error:
            raise RequestError(
                f"the link leads to a private network, which the service has no reason to name: {error}. To allow "
                "it, set MVSEP_ALLOW_PRIVATE_DOWNLOADS=1",
                temporary=False,
            ) from None
        except TimeoutError:
            raise RequestError(f"the server did not answer within {limit:g} s", temporary=True) from None
        try:
            location = response.headers.get("location")
            if response.status_code not in _REDIRECT_STATUSES or location is None:
                yield response
                return
            url = _parse(library, location, base=url)
        finally:
            with CancelScope(shield=True):
                await response.aclose()
    raise RequestError(f"the server redirected more than {_REDIRECTS} times", temporary=False)


async def _send(http: httpx.AsyncClient, request: httpx.Request) -> httpx.Response:
    try:
        return await http.send(request, stream=True, auth=None, follow_redirects=False)
    except PrivateAddressError:
        raise
    except Exception as error:
        names = error_names(error)
        if "HTTPStatusError" in names:  # from an event hook of the caller's that calls `raise_for_status`
            response: httpx.Response = error.response  # type: ignore[attr-defined]
            return response
        if (why := tls_error(error)) is not None:
            raise RequestError(f"the certificate of the server is not trusted: {why}", temporary=False) from None
        if "TransportError" in names:
            raise
        if isinstance(error, MVSepError):
            raise RequestError(str(error), temporary=False) from None
        if http.is_closed:
            raise RequestError("the HTTP client given to this client is closed", temporary=False) from None
        raise RequestError(f"the HTTP client failed with {type(error).__name__}", temporary=True) from None


def _parse(library: Any, link: str, *, base: httpx.URL | None = None) -> httpx.URL:
    try:
        urlsplit(link)  # refuses some host names that httpx would try to resolve
        url: httpx.URL = library.URL(link) if base is None else base.join(link)
        host = url.host
    except (library.InvalidURL, ValueError):
        raise RequestError("the link is not a URL", temporary=False) from None
    if url.scheme not in ("http", "https") or not host:
        raise RequestError(
            f"the link leads to {url.scheme or 'no'}://, only http and https are followed", temporary=False
        )
    return url.copy_with(username=None, password=None, fragment=None)


@define(eq=False)
class _Reader:
    """Reads a body at most as fast as the limit, and fails if it arrives slower than the minimum rate."""

    _read_into: Callable[[memoryview], Awaitable[int]]
    _limit: Bandwidth | None
    _minimum: MinimumRate

    async def read_into(self, buffer: memoryview) -> int:
        if self._limit is not None:
            buffer = buffer[: self._limit.piece]
        began = anyio.current_time()
        count = await self._read_into(buffer)
        if count and not self._minimum.count(count, anyio.current_time() - began):
            raise RequestError(
                f"the server sent less than {self._minimum.rate / 1024:g} KiB per second for "
                f"{self._minimum.window:g} s",
                temporary=True,
                slow=True,
            )
        if self._limit is not None:
            await self._limit.after_receiving(count)
        return count


def shown(url: str) -> str:
    """Return the URL without the parts that may be secret: user name, query and fragment."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "a broken link"
    return f"{parts.scheme}://{parts.netloc.rsplit('@', 1)[-1]}{parts.path}"
