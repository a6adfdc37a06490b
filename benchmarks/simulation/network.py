"""The network between the client and the service: a transport in virtual time on which things go wrong."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from random import Random
from typing import Final

import httpx
import trio
from attrs import define, field

from .machine import Machine
from .scenario import BEFORE, Scenario
from .service import BASE, FULL, REGIONS, Answer, Service, audio_in
from .story import Story

__all__ = ["Network"]

_STATUSES: Final = (200, 403, 404, 408, 409, 425, 500, 502, 503, 504, 520, 522, 524)
_REDIRECTS: Final = (301, 302, 303, 307, 308)
_REFUSALS: Final = (
    (400, b'{"success": false}'), (400, b'{"message": "Forbidden"}'), (401, b""), (413, b""),
    (422, b'{"error": "Unprocessable"}'), (200, b'{"success": false, "errors": []}'),
)  # fmt: skip
"""Answers without a reason in words of the service."""

_STATED: Final = (400, json.dumps({"success": False, "errors": [FULL]}).encode())
"""The service's words in answer to a create that it has accepted. They are believed if it lists no such job."""

_FILE: Final = 2000
"""Bytes of an answer that is longer than those of calls."""

_JUNK: Final = (b"", b"{", b"[]", b'{"success": tru', b"null", b"OK", b'"done"', b'{"unknown": 1}')


@define(eq=False)
class Network(httpx.AsyncBaseTransport):
    """The transport of one client at a time. `outage`: the fault that every request meets just now."""

    scenario: Scenario
    service: Service
    machine: Machine
    story: Story
    rng: Random
    calm: bool = False
    outage: str | None = None
    activity: trio.Event = field(factory=trio.Event)
    long_outage: bool = False
    """Whether there was an outage as long as the client's patience."""
    on_point: Callable[[str], None] = lambda point: None
    """Called at awkward moments, at which the process may be suspended."""
    injected: dict[str, int] = field(factory=dict)
    """How often each fault happened."""
    _sent: list[float] = field(factory=list)
    _creating: int = 0

    def restart(self) -> None:
        """Begin with a new client."""
        self._sent = []
        self._creating = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path.removeprefix("/api/")
        create = path == "separation/create"
        fault = self._draw()
        if fault:
            self.injected[fault] = self.injected.get(fault, 0) + 1
        await self._wait(self.rng.random() * self.scenario.latency, httpx.ConnectError)
        if fault == "no connection":
            raise httpx.ConnectError("no route to host")
        if fault == "connect timeout":
            await self._wait(30.0, httpx.ConnectError)
            raise httpx.ConnectTimeout("timed out")
        if path.startswith(("separation/", "app/")):
            self._count()
        try:
            if create:
                self._creating += 1
                self._check_slots()
            body = await self._receive(request, fault)
            answer = self._answered(request, body, path, fault)
        finally:
            self._creating -= create
            self._stir()
        return await self._respond(request, answer, fault)

    async def _respond(self, request: httpx.Request, answer: Answer, fault: str | None) -> httpx.Response:
        """Bring the service's answer to the client, unless it is lost on the way."""
        await self._wait(self.rng.random() * self.scenario.latency, httpx.ReadError)
        if fault == "slow":
            await self._wait(25.0 * self.rng.random(), httpx.ReadError)
        if fault == "silent":
            await self._wait(30.0, httpx.ReadError)
            raise httpx.ReadTimeout("timed out")
        if fault == "lost":
            raise httpx.ReadError("connection reset by peer")
        self._stir()
        cut = self.rng.randrange(len(answer.body)) if fault == "cut answer" and answer.body else None
        return httpx.Response(
            answer.status,
            headers={"content-length": str(len(answer.body)), **answer.headers},
            stream=_Body(self, answer.body, cut),
            request=request,
        )

    def _answered(self, request: httpx.Request, body: bytes, path: str, fault: str | None) -> Answer:
        audio = f" of song {audio_in(body)}" if body and audio_in(body) is not None else ""
        if fault and (path != "separation/get" or fault != "slow"):
            self.story.say("network", f"{fault} at {path[:60]}{audio}")
        if fault in BEFORE:
            return self._instead(fault)
        if fault == "moved" and request.method == "GET":
            return self._moved(request)
        answer = self.service.handle(request, body)
        if fault in ("page after", "redirect", "junk after") and answer.status < 400:
            return self._instead(fault)
        if fault == "refused after" and path == "separation/create" and answer.status < 400:
            at_once = self.scenario.listed_after == 0.0
            status, refusal = self.rng.choice((*_REFUSALS, _STATED) if at_once else _REFUSALS)
            self.service.jobs[-1].rejected = status in (413, 422)
            return Answer(status, refusal)
        return answer

    def _moved(self, request: httpx.Request) -> Answer:
        """Redirect to the same path of a host of the service, once in a while to the same one."""
        place = (
            self.rng.choice((BASE, *REGIONS))
            if not self.scenario.regions
            else str(request.url.copy_with(path="/", query=None)).rstrip("/")
        )
        query = "&".join(part for part in request.url.query.decode().split("&") if not part.startswith("api_token"))
        path = request.url.raw_path.decode().partition("?")[0]
        return Answer(self.rng.choice((301, 302, 307, 308)), b"", {"location": f"{place}{path}?{query}".rstrip("?")})

    def _instead(self, fault: str) -> Answer:
        match fault:
            case "page" | "page after":
                status = self.rng.choice(_STATUSES)
                return Answer(status, b"<html><head><title>Just a moment</title></head></html>")
            case "redirect":
                status = self.rng.choice(_REDIRECTS)
                return Answer(status, b"<html></html>", {"location": self.rng.choice(("/", "https://mvsep.com/home"))})
            case "429":
                return Answer(429, b'{"message": "Too Many Attempts."}', {"retry-after": str(self.rng.choice((1, 60)))})
            case "5xx":
                return Answer(self.rng.choice((500, 502, 503, 504, 522)), b'{"message": "Server Error"}')
            case _:
                return Answer(200, self.rng.choice(_JUNK))

    def _draw(self) -> str | None:
        if self.calm:
            return None
        if self.outage is not None:
            return self.outage
        return self.rng.choice(self.scenario.kinds) if self.rng.random() < self.scenario.faults else None

    async def _receive(self, request: httpx.Request, fault: str | None) -> bytes:
        """Read the request's body at the rate of the line; a cut one never reaches the service."""
        body = bytearray()
        length = int(request.headers.get("content-length", 0))
        cut = self.rng.uniform(0, length) if fault == "cut upload" else length - 1 if fault == "cut tail" else None
        assert isinstance(request.stream, httpx.AsyncByteStream)
        pieces = aiter(request.stream)
        try:
            async for piece in pieces:
                await self._wait(len(piece) / self.scenario.rate, httpx.WriteError)
                body += piece
                if cut is not None and len(body) >= cut:
                    raise httpx.WriteError("broken pipe")
        finally:
            if isinstance(pieces, AsyncGenerator):
                with trio.CancelScope(shield=True):
                    await pieces.aclose()
        return bytes(body)

    async def _wait(self, seconds: float, error: type[httpx.TransportError]) -> None:
        with trio.move_on_after(seconds):
            await self.machine.died.wait()
        if self.machine.dead:
            raise error("the machine is off")

    def _count(self) -> None:
        """Check the budget: what this client has sent in the last minute."""
        now = trio.current_time()
        self._sent = [at for at in self._sent if at > now - 60.0]
        self._sent.append(now)
        if len(self._sent) > self.scenario.requests_per_minute:
            self.story.violate("the budget is kept", f"{len(self._sent)} requests in a minute")

    def _check_slots(self) -> None:
        now = trio.current_time()
        jobs = [job for job in self.service.jobs if job.audio is not None and not job.rejected]
        ours = sum(job.unfinished(now) for job in jobs)
        if ours + self._creating > self.service.limit:
            self.story.violate(
                "the limit is kept",
                f"{ours} unfinished jobs and {self._creating} creates for {self.service.limit} slots",
            )

    def _stir(self) -> None:
        self.activity.set()
        self.activity = trio.Event()


class _Body(httpx.AsyncByteStream):
    """A response's body in pieces, which may be cut."""

    def __init__(self, network: Network, body: bytes, cut: int | None) -> None:
        self._network = network
        self._body = body
        self._cut = cut
        self._iteration: AsyncGenerator[bytes] | None = None

    def __aiter__(self) -> AsyncIterator[bytes]:
        self._iteration = self._pieces()
        return self._iteration

    async def aclose(self) -> None:
        if self._iteration is not None:
            await self._iteration.aclose()

    async def _pieces(self) -> AsyncGenerator[bytes]:
        network, size = self._network, max(1000, len(self._body) // 5)
        for first in range(0, len(self._body), size):
            piece = self._body[first : first + size]
            await network._wait(len(piece) / network.scenario.rate, httpx.ReadError)
            if self._cut is not None and first + len(piece) > self._cut:
                yield piece[: self._cut - first]
                raise httpx.RemoteProtocolError("peer closed connection without sending complete message body")
            if first + size >= len(self._body) > _FILE:
                network.on_point("at the end of a download")
            yield piece
