"""The socket: uvicorn's HTTP protocol on a port of 127.0.0.1, with access to its connections.

`uvicorn.Server` is not used: it notices only every 100 ms that it should stop, and until then accepts connections.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import struct
from collections.abc import Callable, MutableMapping
from contextlib import suppress
from typing import Any

from attrs import define, field
from starlette.types import ASGIApp
from uvicorn import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

HOST = "127.0.0.1"
_STOP_SECONDS = 0.25
"""How long requests may take to notice that their connection is closed before they are cancelled."""
_KEEP_ALIVE_SECONDS = 75

Connections = MutableMapping[tuple[str, int], asyncio.Transport]
"""Open connections by the client's address, which is in the scope of each request."""


class ConnectionBroken(BaseException):
    """The connection is closed, so the rest of its request is skipped.

    Not an error: like a cancellation, it must pass through the error handling of the application.
    """


def bind(port: int) -> socket.socket:
    """Return a socket bound to that port (0: any that is free). `OSError` if it is in use."""
    # With the protocol named, asyncio sets TCP_NODELAY on what it accepts; without, every answer is 40 ms late.
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name == "posix":
            # Elsewhere this would let two servers share a port; here it lets one reopen its own.
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((HOST, port))
    except BaseException:
        bound.close()
        raise
    return bound


@define(eq=False)
class Listener:
    """One open port."""

    _app: ASGIApp
    _connections: Connections
    _tls: ssl.SSLContext | None = field(kw_only=True, alias="tls")
    _socket_buffer: Callable[[], int | None] = field(kw_only=True, default=lambda: None, alias="socket_buffer")
    """The size of a new connection's socket buffers; None: the system's choice."""
    _state: ServerState = field(factory=ServerState, init=False)
    _server: asyncio.Server | None = field(default=None, init=False)

    @property
    def is_open(self) -> bool:
        return self._server is not None

    async def open(self, bound: socket.socket) -> None:
        """Listen on a socket from `bind`.

        Here, uvicorn's undocumented parts are used: `H11Protocol` and its constructor, and `ServerState`.
        """
        config = Config(
            self._app, lifespan="off", ws="none", log_config=None, access_log=False,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS, server_header=False, date_header=False,
        )  # fmt: skip
        config.load()
        loop, listener = asyncio.get_running_loop(), self

        class Protocol(H11Protocol):
            def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
                super().connection_made(transport)
                if self.client is not None:
                    listener._connected(self.client, transport)

            def connection_lost(self, exc: Exception | None) -> None:
                super().connection_lost(exc)
                if self.client is not None:
                    listener._connections.pop(self.client, None)

        def protocol() -> Protocol:
            return Protocol(config=config, server_state=self._state, app_state={}, _loop=loop)

        self._server = await loop.create_server(protocol, sock=bound, backlog=1024, ssl=self._tls)

    async def close(self) -> None:
        """Stop listening and break every connection."""
        if self._server is not None:
            await _stop_accepting(self._server)
            self._server = None
        for transport in list(self._connections.values()):
            transport.abort()
        while self._connections:  # noqa: ASYNC110 - one iteration of the loop, not polling
            await asyncio.sleep(0)  # asyncio closes a socket in the iteration after its abort
        if self._state.tasks:
            _, late = await asyncio.wait(set(self._state.tasks), timeout=_STOP_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def _connected(self, client: tuple[str, int], transport: asyncio.Transport) -> None:
        size = self._socket_buffer()
        if size is not None:
            accepted = transport.get_extra_info("socket")
            accepted.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)
            accepted.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, size)
        self._connections[client] = transport


async def _stop_accepting(server: asyncio.Server) -> None:
    """Close the port, after each accepted connection has its transport: asyncio leaves its socket open otherwise."""
    loop = asyncio.get_running_loop()
    for listening in server.sockets:
        with suppress(NotImplementedError):  # by the proactor of Windows
            loop.remove_reader(listening)
    for _ in range(3):  # a task makes the transport; the protocol is notified one iteration later
        await asyncio.sleep(0)
    server.close()


def break_connection(connections: Connections, client: Any, *, reset: bool) -> None:
    """Break the connection of the client at that address, without sending what is buffered; with a RST if `reset`."""
    transport = connections.get(client)
    if transport is None:
        return
    if reset:
        # A linger of zero seconds makes close() send RST instead of FIN.
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


def end_connection(connections: Connections, client: Any) -> None:
    """Close the connection after what was written to it has been sent."""
    transport = connections.get(client)
    if transport is not None:
        transport.close()
