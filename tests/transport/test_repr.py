"""Objects of the transport do not show URLs or headers, which may hold the token."""

from __future__ import annotations

import gc

import httpx

from mvsep_async.transport.client import make_http
from tests.transport.servers import Connection, Request, serving


def redirect(connection: Connection, request: Request) -> None:
    connection.answer("302 Found", {"Location": "/?api_token=secret", "Content-Length": 0})


async def test_no_object_of_the_transport_shows_the_url_or_a_header() -> None:
    with serving(redirect) as server:
        url = server.url("/?api_token=secret")
        async with make_http(httpx.Timeout(10)) as http, http.stream("GET", url) as response:
            assert response.status_code == 302
            ours = [it for it in gc.get_objects() if str(type(it).__module__).startswith("mvsep_async.transport")]
            assert any(type(it).__name__ == "_Exchange" for it in ours)
            assert not [type(it) for it in ours if "secret" in repr(it)]
