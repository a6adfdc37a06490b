"""The server: the tools under their names, served over standard input and output."""

from __future__ import annotations

import io
import os
import sys
import threading
from collections.abc import Iterable
from contextlib import suppress
from inspect import getdoc
from os import PathLike
from typing import Final

import anyio
from mcp.server.mcpserver import MCPServer
from mcp.types import ToolAnnotations

from mvsep_async._version import __version__
from mvsep_async.client import MVSepClient
from mvsep_async.errors import ConfigurationError
from mvsep_async.mcp.folders import AllowedFolders
from mvsep_async.mcp.spending import CreditLimit
from mvsep_async.mcp.tools import Tools

__all__ = ["create_server", "serve"]

_INSTRUCTIONS: Final = """\
Separates songs into stems (vocals, drums, bass, ...) with the MVSEP service. Call estimate before separate when the
person has not said that credits may be spent. A song is never paid twice for the same settings. Only files below these
folders can be used: {folders}. This server may spend {limit} credits in all."""

_PIECE: Final = 1 << 16

_READS: Final = ToolAnnotations(read_only_hint=True, open_world_hint=True)
_WRITES: Final = ToolAnnotations(
    read_only_hint=False, destructive_hint=False, idempotent_hint=True, open_world_hint=True
)


def create_server(client: MVSepClient, folders: Iterable[str | PathLike[str]], *, max_credits: int) -> MCPServer[None]:
    """Return a server whose tools use an open client. It blocks for a moment to check the folders.

    `folders`: the only ones whose songs are read and in which stems are written. `max_credits`: all that may be spent
    over the life of the server. Raises `InvalidRequestError` for a folder that does not exist, and `ConfigurationError`
    without folders or for a negative limit.
    """
    allowed = AllowedFolders.of(folders)
    if not allowed.folders:
        raise ConfigurationError("no folder is given that the server may use: give at least one")
    if max_credits < 0:
        raise ConfigurationError(f"max_credits must be 0 or more, not {max_credits}")
    tools = Tools(client, allowed, CreditLimit(max_credits))
    server: MCPServer[None] = MCPServer(
        "mvsep-async",
        title="MVSEP",
        version=__version__,
        instructions=_INSTRUCTIONS.format(folders=", ".join(map(str, allowed.folders)), limit=max_credits),
        log_level="WARNING",
    )
    for reading in (tools.list_songs, tools.search_algorithms, tools.describe_algorithm, tools.estimate, tools.status):
        server.add_tool(reading, description=getdoc(reading), annotations=_READS)
    for writing in (tools.separate, tools.download, tools.cancel):
        server.add_tool(writing, description=getdoc(writing), annotations=_WRITES)
    return server


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
