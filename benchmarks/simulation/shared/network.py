"""The network of one of several clients: what was given to the kernel arrives, whatever becomes of the client."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from typing import Final

import httpx
import trio
from attrs import define, field

from benchmarks.simulation.network import Network
from benchmarks.simulation.service import Answer

__all__ = ["SharedNetwork"]

_IDLE: Final = 60.0
"""Seconds after which the service closes a connection on which a body pauses: as nginx and most load balancers do."""

_END: Final = 5000
"""Bytes of a body that are its end, for suspensions: those that wait for a slot, and what follows them."""


@define(eq=False)
class SharedNetwork(Network):
    """The transport of one client. `world`: runs what goes on without the client.

    `before_deed(path, body)` is called when the client can no longer prevent a create or a cancellation.
    """

    world: trio.Nursery = field(kw_only=True)
    before_deed: Callable[[str, bytes], None] = field(kw_only=True)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path.removeprefix("/api/")
        fault = self._draw()
        if fault:
            self.injected[fault] = self.injected.get(fault, 0) + 1
        if path == "separation/create":
            await self._wait(self.rng.random() * self.scenario.latency, httpx.ConnectError)
        if fault == "no connection":
            await self._wait(self.rng.random() * self.scenario.latency, httpx.ConnectError)
            raise httpx.ConnectError("no route to host")
        if fault == "connect timeout":
            await self._wait(30.0, httpx.ConnectError)
            raise httpx.ConnectTimeout("timed out")
        body = await self._receive(request, fault)
        if path in ("separation/create", "separation/cancel"):
            self.before_deed(path, body)
        answers: list[Answer] = []
        arrived = trio.Event()

        async def arrive() -> None:
            """Deliver the request to the service: its last bytes are in the kernel's buffer."""
            await trio.sleep(self.rng.random() * self.scenario.latency)
            answers.append(self._answered(request, body, path, fault))
            arrived.set()

        self.world.start_soon(arrive)
        await arrived.wait()
        if self.machine.dead:
            raise httpx.ReadError("the machine is off")
        return await self._respond(request, answers[0], fault)

    async def _receive(self, request: httpx.Request, fault: str | None) -> bytes:
        """Read the request's body at the rate of the line. The end of it is in the kernel's buffer at once."""
        body = bytearray()
        length = int(request.headers.get("content-length", 0))
        cut = self.rng.uniform(0, length) if fault == "cut upload" else length - 1 if fault == "cut tail" else None
        assert isinstance(request.stream, httpx.AsyncByteStream)
        pieces, since, pointed = aiter(request.stream), trio.current_time(), False
        try:
            async for piece in pieces:
                if self.machine.dead or trio.current_time() - since > _IDLE:
                    raise httpx.WriteError("broken pipe")
                body += piece
                if len(body) < length:
                    await self._wait(len(piece) / self.scenario.rate, httpx.WriteError)
                if cut is not None and len(body) >= cut:
                    raise httpx.WriteError("broken pipe")
                if length > _END and not pointed and length - _END <= len(body) < length:
                    pointed = True
                    self.on_point("at the end of a create's body")
                since = trio.current_time()
        finally:
            if isinstance(pieces, AsyncGenerator):
                with trio.CancelScope(shield=True):
                    await pieces.aclose()
        return bytes(body)
