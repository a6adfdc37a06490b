"""The HTTP client that is made when the caller gives none, and its transport."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from typing import Any, Final
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
        try:
            response = await pool.handle_async_request(
                httpcore.Request(
                    method=request.method,
                    url=httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
                    headers=request.headers.raw,
                    content=request.stream,
                    extensions=request.extensions,
                )
            )
        except httpcore.PoolTimeout as error:
            raise httpx.PoolTimeout(str(error)) from error
        except httpcore.UnsupportedProtocol as error:
            raise httpx.UnsupportedProtocol(str(error)) from error
        return httpx.Response(
            status_code=response.status,
            headers=response.headers,
            stream=_Body(response.stream),
            extensions=response.extensions,
        )

    async def aclose(self) -> None:
        """Close all connections."""
        pool, self._pool = self._pool, None
        if pool is not None:
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
    """A response's body, of a type that httpx accepts."""

    _stream: Any

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._stream:
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()
