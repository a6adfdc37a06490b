"""The options of a new connection."""

from __future__ import annotations

import socket
import sys

import pytest

from mvsep_async.transport.connect import connect_tcp


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the limit is a hint, or missing")
async def test_the_system_takes_few_bytes_that_it_cannot_send_yet() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)  # as on a slow line
        stream = await connect_tcp("127.0.0.1", listener.getsockname()[1], 5)
        try:
            view, taken = memoryview(bytes(64 * 1024)), 0
            while len(stream._send(view)) < len(view) and taken < 100:
                taken += 1
            assert taken <= 16  # a megabyte, where the system alone takes several
        finally:
            await stream.aclose()
