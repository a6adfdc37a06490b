"""ASGI applications on a real socket, for tests."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import anyio
import uvicorn

from mvsep_async.sandbox.server.listener import HOST, bind


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # the signals are pytest's


@asynccontextmanager
async def served(app: Any, bound: socket.socket | None = None, **settings: Any) -> AsyncIterator[str]:
    """Serve `app` with uvicorn on a port of 127.0.0.1, in this event loop; gives its address.

    `bound`: a socket from `bind`, for an application that must know its address before.
    """
    bound = bound or bind(0)
    config = uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=1, **settings)
    server = _Server(config)
    with bound:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(server.serve, [bound])
            while not server.started:
                await anyio.sleep(0.002)
            try:
                yield address_of(bound)
            finally:
                server.should_exit = True


def address_of(bound: socket.socket) -> str:
    return f"http://{HOST}:{bound.getsockname()[1]}"
