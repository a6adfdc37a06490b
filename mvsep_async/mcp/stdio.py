"""Serve MCP over standard input and output."""

from __future__ import annotations

import io
import os
import sys
import threading
from contextlib import suppress
from typing import Final

import anyio
from mcp.server.mcpserver import MCPServer

__all__ = ["serve"]

_PIECE: Final = 1 << 16


async def serve(server: MCPServer[None]) -> None:
    """Serve on standard input and output until the input ends or this is cancelled.

    The SDK reads standard input in a thread that a cancellation waits for, and such a read ends only with the input. So
    it reads from a pipe instead, which is fed by a daemon thread and closed when this is cancelled.
    """
    read_end, write_end = os.pipe()
    feed = io.FileIO(write_end, "wb")
    stdin = sys.stdin
    threading.Thread(target=_copy, args=(stdin.fileno(), feed), daemon=True).start()
    sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(read_end, "rb")))
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_close_when_cancelled, feed)
            await server.run_stdio_async()
            tasks.cancel_scope.cancel()
    finally:
        sys.stdin = stdin


async def _close_when_cancelled(feed: io.FileIO) -> None:
    try:
        await anyio.sleep_forever()
    finally:
        feed.close()


def _copy(source: int, feed: io.FileIO) -> None:
    # ValueError: the pipe was closed here; OSError: at its other end, or standard input was.
    with suppress(ValueError, OSError):
        while piece := os.read(source, _PIECE):
            while piece:
                piece = piece[feed.write(piece) :]
    feed.close()
