"""The pooled HTTP client that everything goes through."""

from __future__ import annotations

import httpx

from mvsep_async._version import __version__

__all__ = ["make_http"]


def make_http(timeout: httpx.Timeout, *, max_connections: int | None = None) -> httpx.AsyncClient:
    """Return a client for calls and transfers: HTTP/1.1, no redirects followed, proxies taken from the environment.

    HTTP/2 is left out on purpose: for bulk it is three times slower, and a song is bulk.
    """
    return httpx.AsyncClient(
        timeout=timeout,
        limits=httpx.Limits(max_connections=max_connections, max_keepalive_connections=max_connections),
        headers={"User-Agent": f"mvsep-async/{__version__}"},
        follow_redirects=False,
    )
