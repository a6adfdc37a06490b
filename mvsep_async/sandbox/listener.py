"""The socket: uvicorn's HTTP protocol on a port of 127.0.0.1, with its connections within reach."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import struct
from collections.abc import MutableMapping
from typing import Any

from starlette.types import ASGIApp
from uvicorn import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

HOST = "127.0.0.1"
_STOP_SECONDS = 0.25
"""How long requests may take to notice that their connection is gone before they are cancelled."""

Connections = MutableMapping[tuple[str, int], asyncio.Transport]
"""Open connections by the client's address, which is what a request's scope says of its own."""


def bind(port: int) -> socket.socket:
    """A socket for that port (0: any that is free). `OSError` if it is taken."""
    # With the protocol named, asyncio sets TCP_NODELAY on what it accepts; without, every answer is 40 ms late.
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name == "posix":
            # Elsewhere this would let two servers share a port; here it lets one come back to its own.
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((HOST, port))
    except BaseException:
        bound.close()
        raise
    return bound


class Listener:
    """One open port. Uvicorn's own `Server` is not used: it takes a tenth of a second to notice that it should stop."""

    def __init__(self, app: ASGIApp, connections: Connections, *, tls: ssl.SSLContext | None) -> None:
        self._app = app
        self._connections = connections
        self._tls = tls
        self._state = ServerState()
        self._server: asyncio.Server | None = None

    async def open(self, bound: socket.socket) -> None:
        """Listen on a socket from `bind`."""
        loop = asyncio.get_running_loop()
        config = Config(
            self._app, lifespan="off", ws="none", log_config=None, access_log=False, timeout_keep_alive=75,
            server_header=False, date_header=False,
        )  # fmt: skip
        config.load()
        connections, state = self._connections, self._state

        class Protocol(H11Protocol):
            """Makes its transport findable, and never says a word on a log."""

            def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
                super().connection_made(transport)
                if self.client is not None:
                    connections[self.client] = transport

            def connection_lost(self, exc: Exception | None) -> None:
                super().connection_lost(exc)
                if self.client is not None:
                    connections.pop(self.client, None)

        self._server = await loop.create_server(
            lambda: Protocol(config=config, server_state=state, app_state={}, _loop=loop),
            sock=bound, backlog=1024, ssl=self._tls,
        )  # fmt: skip

    async def close(self) -> None:
        """Stop listening and break every connection."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for transport in list(self._connections.values()):
            transport.abort()
        while self._connections:  # noqa: ASYNC110 - one turn, not a poll
            await asyncio.sleep(0)  # a socket is closed in the turn of the loop after its abort
        if self._state.tasks:
            _, late = await asyncio.wait(set(self._state.tasks), timeout=_STOP_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)


def break_connection(connections: Connections, client: Any, *, reset: bool) -> None:
    """Break the connection of the client at that address, with a TCP RST if `reset`, without sending what waits."""
    transport = connections.get(tuple(client or ()))
    if transport is None:
        return
    if reset:
        # A linger of zero seconds makes close() send RST instead of FIN.
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


def end_connection(connections: Connections, client: Any) -> None:
    """Close the connection after what was written to it."""
    transport = connections.get(tuple(client or ()))
    if transport is not None:
        transport.close()
