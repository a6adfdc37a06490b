"""The socket of the sandbox, at moments that are rare in tests of whole requests."""

from __future__ import annotations

import asyncio
import gc
import socket
import warnings
from contextlib import suppress
from typing import Any

import pytest

from mvsep_async.sandbox.server.listener import Connections, Listener, bind


async def no_application(scope: Any, receive: Any, send: Any) -> None:
    raise AssertionError("nothing is requested")


@pytest.mark.parametrize("iterations", range(6))
async def test_a_connection_accepted_while_it_closes_is_closed(iterations: int) -> None:
    connections: Connections = {}
    listener = Listener(no_application, connections, tls=None)
    bound = bind(0)
    await listener.open(bound)
    with socket.create_connection(bound.getsockname()) as client, warnings.catch_warnings(record=True) as told:
        for _ in range(iterations):
            await asyncio.sleep(0)
        await listener.close()
        assert connections == {}
        client.settimeout(5.0)
        with suppress(ConnectionResetError):
            assert await asyncio.to_thread(client.recv, 1) == b""
        gc.collect()
        assert [str(warning.message) for warning in told] == []
