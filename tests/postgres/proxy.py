"""A proxy in front of the database that can cut connections, swallow everything, or lose the answer to a COMMIT."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import parse_qs, urlsplit

import anyio
from anyio.abc import AnyByteStream, Listener, SocketStream, TaskGroup
from attrs import define, field


@define(eq=False)
class Proxy:
    """Forwards connections to the database at `url`.

    `down`: connections are refused. `silent`: nothing is forwarded any more. `lose_commits`: the numbers of the COMMITs
    whose answers are lost, counted over all connections.
    """

    target: str
    down: bool = False
    silent: bool = False
    lose_commits: set[int] = field(factory=set)
    commits: int = 0
    url: str = ""
    _scopes: set[anyio.CancelScope] = field(factory=set)

    def cut(self) -> None:
        """Close all connections and accept none."""
        self.down = True
        for scope in self._scopes:
            scope.cancel()

    async def serve(self, tasks: TaskGroup) -> None:
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        parts = urlsplit(self.target)
        self.url = parts._replace(netloc=f"{parts.username or 'postgres'}@127.0.0.1:{port}", query="").geturl()
        tasks.start_soon(self._listen, listener)

    async def _listen(self, listener: Listener[SocketStream]) -> None:
        async with listener:
            await listener.serve(self._handle)

    async def _handle(self, client: SocketStream) -> None:
        async with client:
            if self.down:
                return
            with anyio.CancelScope() as scope:
                self._scopes.add(scope)
                try:
                    async with await self._connect() as server, anyio.create_task_group() as tasks:
                        tasks.start_soon(self._forward, client, server, True, tasks)
                        tasks.start_soon(self._forward, server, client, False, tasks)
                except* (OSError, anyio.BrokenResourceError, anyio.ClosedResourceError):
                    pass
                finally:
                    self._scopes.discard(scope)

    async def _connect(self) -> AnyByteStream:
        parts = urlsplit(self.target)
        folder = parse_qs(parts.query).get("host")
        if folder:
            return await anyio.connect_unix(f"{folder[0]}/.s.PGSQL.{parts.port or 5432}")
        return await anyio.connect_tcp(parts.hostname or "127.0.0.1", parts.port or 5432)

    async def _forward(self, source: AnyByteStream, target: AnyByteStream, from_client: bool, tasks: TaskGroup) -> None:
        lost = False
        try:
            async for data in source:
                if self.silent:
                    await anyio.sleep_forever()
                if from_client and b"COMMIT" in data:
                    self.commits += 1
                    lost = self.commits in self.lose_commits
                await target.send(data)
                if lost:
                    await anyio.sleep(0.05)  # the database carries it out
                    break
        finally:
            tasks.cancel_scope.cancel()


@asynccontextmanager
async def proxy(target: str) -> AsyncIterator[Proxy]:
    """Provide a proxy to a database."""
    made = Proxy(target)
    async with anyio.create_task_group() as tasks:
        await made.serve(tasks)
        yield made
        tasks.cancel_scope.cancel()
