"""The HTTP client that is made when the caller gives none, and its transport."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Final
from urllib.request import getproxies

import anyio
import httpcore
import httpx
from attrs import define, field

from mvsep_async._version import __version__
from mvsep_async.concurrency import in_thread
from mvsep_async.transport.compat import Timeouts
from mvsep_async.transport.connection import Pool
from mvsep_async.transport.environment import LOOPBACK, certificates_checked, proxies_checked
from mvsep_async.transport.reading import READ_INTO

__all__ = ["FastTransport", "make_http"]

_KEEPALIVE: Final = 30.0
"""Seconds an idle connection is kept: longer than two polls are apart, shorter than servers keep it (60 to 75)."""


def make_http(timeout: float | Timeouts | httpx.Timeout, *, max_connections: int | None = None) -> httpx.AsyncClient:
    """Return a client for calls and transfers: HTTP/1.1, pooled, without redirects. Creating it reads no file.

    HTTP/2 is left out: transfers over it are three times slower. Where the environment names proxies, httpx's own
    transports are used, but not for this machine; `SSL_CERT_FILE` counts in either case. Raises `ConfigurationError`
    for proxies that cannot be used.
    """
    limits = httpx.Limits(
        max_connections=max_connections, max_keepalive_connections=max_connections, keepalive_expiry=_KEEPALIVE
    )
    proxied = any(getproxies().get(scheme) for scheme in ("http", "https", "all"))
    direct = FastTransport(limits)
    with proxies_checked(), certificates_checked():
        return httpx.AsyncClient(
            transport=None if proxied else direct,
            mounts=dict.fromkeys(LOOPBACK, direct) if proxied else None,
            limits=limits,
            timeout=httpx.Timeout(**Timeouts.of(timeout).as_dict()),
            headers={"User-Agent": f"mvsep-async/{__version__}"},
            follow_redirects=False,
        )


@define(eq=False)
class FastTransport(httpx.AsyncBaseTransport):
    """httpx over httpcore's connection pool, as `httpx.AsyncHTTPTransport`, but with connections of our own.

    `ssl_context` defaults to httpx's, created in a thread at the first request: reading the certificates of all
    authorities takes 20 to 100 ms.
    """

    _limits: httpx.Limits
    _ssl_context: ssl.SSLContext | None = None
    _pool: Pool | None = field(default=None, init=False)
    _opening: anyio.Lock = field(factory=anyio.Lock, init=False)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request and return the response, its body still to be read. Raises httpx's errors."""
        pool = self._pool or await self._open()
        url = request.url
        with _mapped():
            response = await pool.handle_async_request(
                httpcore.Request(
                    method=request.method,
                    url=httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
                    headers=request.headers.raw,
                    content=request.stream,
                    extensions=request.extensions,
                )
            )
        assert isinstance(response.stream, AsyncIterable)
        extensions = dict(response.extensions)
        if READ_INTO in extensions:
            extensions[READ_INTO] = _mapping(extensions[READ_INTO])
        return httpx.Response(
            status_code=response.status,
            headers=response.headers,
            stream=_Body(response.stream),
            extensions=extensions,
        )

    async def aclose(self) -> None:
        """Close all connections."""
        pool, self._pool = self._pool, None
        if pool is not None:
            with _mapped():
                await pool.aclose()

    async def _open(self) -> Pool:
        async with self._opening:
            if self._pool is None:
                context = self._ssl_context
                if context is None:
                    with certificates_checked():
                        context = await in_thread(httpx.create_ssl_context)
                self._pool = Pool(
                    context,
                    max_connections=self._limits.max_connections,
                    max_keepalive_connections=self._limits.max_keepalive_connections,
                    keepalive_expiry=self._limits.keepalive_expiry,
                )
            return self._pool


@define(eq=False)
class _Body(httpx.AsyncByteStream):
    """A response's body, with httpx's errors."""

    _stream: AsyncIterable[bytes]

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _mapped():
            async for chunk in self._stream:
                yield chunk

    async def aclose(self) -> None:
        close = getattr(self._stream, "aclose", None)
        if close is not None:
            with _mapped():
                await close()


_ERRORS: Final[dict[type[Exception], type[httpx.TransportError]]] = {
    getattr(httpcore, name): getattr(httpx, name)
    for name in (
        "TimeoutException",
        "ConnectTimeout",
        "ReadTimeout",
        "WriteTimeout",
        "PoolTimeout",
        "NetworkError",
        "ConnectError",
        "ReadError",
        "WriteError",
        "ProxyError",
        "UnsupportedProtocol",
        "ProtocolError",
        "LocalProtocolError",
        "RemoteProtocolError",
    )
}


@contextmanager
def _mapped() -> Iterator[None]:
    """Turn httpcore's errors into httpx's of the same name."""
    try:
        yield
    except tuple(_ERRORS) as error:
        kind = next(_ERRORS[base] for base in type(error).__mro__ if base in _ERRORS)
        raise kind(str(error)) from error


def _mapping(read_into: Callable[[memoryview], Awaitable[int]]) -> Callable[[memoryview], Awaitable[int]]:
    async def read(buffer: memoryview) -> int:
        with _mapped():
            return await read_into(buffer)

    return read
