"""The options of a new connection."""

from __future__ import annotations

import socket
import sys
import threading

import pytest

from mvsep_async.transport.connect import connect_tcp
from mvsep_async.transport.streams import unsent_for


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the limit is a hint, or missing")
async def test_the_system_takes_few_bytes_that_it_cannot_send_yet() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)  # as on a slow line
        stream = await connect_tcp("127.0.0.1", listener.getsockname()[1], 5)
        try:
            view, taken = memoryview(bytes(64 * 1024)), 0
            while len(stream._send(view)[0]) < len(view) and taken < 100:
                taken += 1
            assert taken <= 16  # a megabyte, where the system alone takes several
        finally:
            await stream.aclose()


def test_the_system_keeps_what_the_line_sends_in_a_tenth_of_a_second() -> None:
    assert unsent_for(2_000_000) == 200_000
    assert unsent_for(1000) == 64 * 1024  # less would leave the line idle while the loop is busy
    assert unsent_for(1e9) == 4 * 1024 * 1024


@pytest.mark.skipif(not hasattr(socket, "TCP_NOTSENT_LOWAT"), reason="the system has no such limit")
async def test_a_fast_line_gets_more_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        stream = await connect_tcp("127.0.0.1", listener.getsockname()[1], 5)
        peer, _ = listener.accept()
        with peer:
            drain = threading.Thread(target=_drain, args=[peer])
            drain.start()
            before = stream._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT)
            for _ in range(32):
                await stream.write(bytes(256 * 1024), 10, lambda: False)
            after = stream._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT)
            await stream.aclose()
            drain.join()
    assert after != before


def _drain(peer: socket.socket) -> None:
    while peer.recv(1024 * 1024):
        pass
