"""One HTTP/1.1 connection for httpcore's pool, which receives downloads directly into the caller's buffers.

h11 speaks the protocol: heads, chunked bodies, keep-alive. It moves every byte of a body through its own buffer, with
three copies each, so a body of known length can also be read past it: over loopback that takes 1.0 times as long as
curl, where httpcore's own connection takes 1.7 times on these sockets and 2.7 times on its own.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import contextmanager
from enum import Enum, auto
from typing import Any, Final

import h11
import httpcore
import httpx
from anyio import CancelScope
from anyio.lowlevel import checkpoint_if_cancelled
from attrs import define, field

from mvsep_async.transport.addresses import PUBLIC_ONLY
from mvsep_async.transport.connect import connect_tcp
from mvsep_async.transport.reading import READ_INTO
from mvsep_async.transport.streams import RECEIVE, SocketStream

__all__ = ["Connection", "Pool"]

_HEAD_LIMIT: Final = 100 * 1024
"""Most bytes of a response's head; as many as httpcore allows."""

_HEADS: Final = (h11.InformationalResponse, h11.Response)


class Pool(httpcore.AsyncConnectionPool):
    """httpcore's pool, made of our connections."""

    def __init__(
        self,
        ssl_context: ssl.SSLContext,
        *,
        max_connections: int | None,
        max_keepalive_connections: int | None,
        keepalive_expiry: float | None,
    ) -> None:
        super().__init__(
            ssl_context, max_connections=max_connections, max_keepalive_connections=max_keepalive_connections
        )
        ssl_context.set_alpn_protocols(["http/1.1"])
        self._context = ssl_context
        self._expiry = keepalive_expiry

    def create_connection(self, origin: httpcore.Origin) -> httpcore.AsyncConnectionInterface:
        return Connection(origin, self._context, self._expiry)


class _State(Enum):
    FRESH = auto()
    BUSY = auto()
    IDLE = auto()
    CLOSED = auto()


@define(eq=False)
class Connection(httpcore.AsyncConnectionInterface):
    """A connection to one origin, opened by its first request, for one request at a time."""

    _origin: httpcore.Origin
    _ssl_context: ssl.SSLContext
    _keepalive_expiry: float | None
    _state: _State = field(default=_State.FRESH, init=False)
    _stream: SocketStream | None = field(default=None, init=False)
    _expires: float | None = field(default=None, init=False)

    async def handle_async_request(self, request: httpcore.Request) -> httpcore.Response:
        """Send the request and return the response, its body still to be read."""
        if not self.is_available():
            raise httpcore.ConnectionNotAvailable
        self._state = _State.BUSY
        try:
            if self._stream is None:
                self._stream = await self._connect(request)
            exchange = _Exchange(self, self._stream, request)
            await exchange.send()
            return await exchange.receive()
        except BaseException:
            with CancelScope(shield=True):
                await self.aclose()
            raise

    async def release(self, *, reusable: bool) -> None:
        """End the exchange: keep a reusable connection for the next request, close any other."""
        if self._state is not _State.BUSY:
            return
        if reusable:
            self._state = _State.IDLE
            self._expires = None if self._keepalive_expiry is None else time.monotonic() + self._keepalive_expiry
        else:
            await self.aclose()

    async def aclose(self) -> None:
        self._state = _State.CLOSED
        if self._stream is not None:
            await self._stream.aclose()

    def can_handle_request(self, origin: httpcore.Origin) -> bool:
        return origin == self._origin

    def is_available(self) -> bool:
        return self.is_idle()

    def is_idle(self) -> bool:
        """Tell whether no request uses it; true of a fresh one, whose first request may have been cancelled."""
        return self._state in (_State.FRESH, _State.IDLE)

    def is_closed(self) -> bool:
        return self._state is _State.CLOSED

    def has_expired(self) -> bool:
        if self._state is not _State.IDLE or self._stream is None:
            return False
        expired = self._expires is not None and time.monotonic() > self._expires
        return expired or self._stream.is_readable()  # an idle server has nothing to send but the end

    def info(self) -> str:
        return f"{str(self._origin)!r}, HTTP/1.1, {self._state.name}"

    async def _connect(self, request: httpcore.Request) -> SocketStream:
        host = self._origin.host.decode("ascii")
        timeout = _timeout(request, "connect")
        public_only = PUBLIC_ONLY in request.extensions
        stream = await connect_tcp(host, self._origin.port, timeout, public_only=public_only)
        if self._origin.scheme == b"https":
            await stream.start_tls(self._ssl_context, request.extensions.get("sni_hostname") or host, timeout)
        return stream


@define(eq=False, repr=False)  # URL and headers may hold the token
class _Exchange:
    """One request and its response on a connection."""

    _connection: Connection
    _stream: SocketStream
    _request: httpcore.Request
    _h11: h11.Connection = field(
        factory=lambda: h11.Connection(our_role=h11.CLIENT, max_incomplete_event_size=_HEAD_LIMIT), init=False
    )
    _head: h11.Response | None = field(default=None, init=False)

    async def send(self) -> None:
        """Send head and body; stop when the server answers before it has the whole body.

        An empty chunk of the body stands for waiting until the connection takes more.
        """
        request = self._request
        try:
            await self._write(h11.Request(method=request.method, target=request.url.target, headers=request.headers))
            await self._send_body(aiter(request.stream))  # type: ignore[arg-type]
            await self._write(h11.EndOfMessage())
        except httpx.WriteError:
            pass  # the answer, or its absence, says why

    async def _send_body(self, chunks: AsyncIterator[bytes]) -> None:
        try:
            async for chunk in chunks:
                if chunk:
                    await self._write(h11.Data(data=chunk))
                else:
                    await self._stream.wait_sendable(_timeout(self._request, "write"), self._answered)
        finally:
            # A generator that is left in the middle would be closed by the event loop, in a task of its own.
            if isinstance(chunks, AsyncGenerator):
                await chunks.aclose()

    async def receive(self) -> httpcore.Response:
        """Read the head of the response."""
        while self._head is None:
            self._note(await self.next_event())
        extensions: dict[str, Any] = {
            "http_version": b"HTTP/" + self._head.http_version,
            "reason_phrase": self._head.reason,
        }
        body = _Body(self, self._announced(self._head))
        if body.length is not None:
            extensions[READ_INTO] = body.read_into
        return httpcore.Response(
            status=self._head.status_code, headers=self._head.headers.raw_items(), content=body, extensions=extensions
        )

    async def next_event(self) -> Any:
        """Return h11's next event of the response."""
        while True:
            with _protocol():
                event = self._h11.next_event()
            if event is h11.PAUSED:
                raise httpx.RemoteProtocolError("the server switched to another protocol")
            if event is not h11.NEED_DATA:
                return event
            data = await self._stream.read(RECEIVE, _timeout(self._request, "read"))
            if not data and self._h11.their_state is h11.SEND_RESPONSE:
                raise httpx.RemoteProtocolError("Server disconnected without sending a response.")
            self._feed(data)

    def buffered(self) -> bytes:
        """Return the bytes of the body that came along with the head."""
        return self._h11.trailing_data[0]

    async def read_into(self, buffer: memoryview) -> int:
        """Read what comes next, past h11."""
        return await self._stream.read_into(buffer, _timeout(self._request, "read"))

    async def end(self, *, whole: bool) -> None:
        """Free the connection, for the next request if this one is complete and neither side wants to close."""
        whole = whole or (self._h11.their_state is h11.DONE and not self.buffered())
        await self._connection.release(reusable=whole and self._h11.our_state is h11.DONE)

    async def _write(self, event: h11.Event) -> None:
        with _protocol():
            pieces = self._h11.send_with_data_passthrough(event)
        for piece in pieces or ():
            if piece:
                await self._stream.write(piece, _timeout(self._request, "write"), self._answered)

    def _answered(self) -> bool:
        """Tell whether the server has sent its final answer, or has closed; pass over informational ones."""
        while not self._head and (data := self._stream.receive_nowait()) is not None:
            if not data:
                return True
            self._feed(data)
            with _protocol():
                while not self._head and isinstance(event := self._h11.next_event(), _HEADS):
                    self._note(event)
        return self._head is not None

    def _note(self, event: Any) -> None:
        if isinstance(event, h11.Response):
            self._head = event

    def _feed(self, data: bytes) -> None:
        with _protocol():
            self._h11.receive_data(data)

    def _announced(self, head: h11.Response) -> int | None:
        """Return the length of the body if the head says it, and the body is all of that length."""
        headers = dict(head.headers)
        bodiless = head.status_code in (204, 304) or self._request.method in (b"HEAD", b"CONNECT")
        if bodiless or b"transfer-encoding" in headers or b"content-length" not in headers:
            return None
        return int(headers[b"content-length"])


@define(eq=False, repr=False)
class _Body:
    """The body of a response: iterate over it, or read it into buffers. Closing it frees the connection."""

    _exchange: _Exchange
    length: int | None
    """Bytes that the head announced, `None` where only h11 can find the end."""
    _left: int | None = field(default=None, init=False)
    """Bytes still to come, once `read_into` was called."""
    _early: bytes = field(default=b"", init=False)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            await checkpoint_if_cancelled()  # what has come in already is read without a pause
            event = await self._exchange.next_event()
            if isinstance(event, h11.EndOfMessage):
                return
            yield bytes(event.data)

    async def read_into(self, buffer: memoryview) -> int:
        """Read into `buffer` and return how many bytes, 0 at the end. Use it for all of a body, or for none of it."""
        if self._left is None:
            self._left = self.length or 0
            self._early = self._exchange.buffered()
            if len(self._early) > self._left:
                raise httpx.RemoteProtocolError("the server sent more than it announced")
        if not self._left:
            return 0
        if self._early:
            count = min(len(self._early), len(buffer))
            buffer[:count], self._early = self._early[:count], self._early[count:]
        else:
            count = await self._exchange.read_into(buffer[: self._left])
        if not count:
            raise httpx.RemoteProtocolError(f"the server closed the connection {self._left} bytes before the end")
        self._left -= count
        return count

    async def aclose(self) -> None:
        with CancelScope(shield=True):
            await self._exchange.end(whole=self._left == 0)


def _timeout(request: httpcore.Request, operation: str) -> float | None:
    timeout: float | None = request.extensions.get("timeout", {}).get(operation)
    return timeout


@contextmanager
def _protocol() -> Iterator[None]:
    """Turn h11's errors into httpx's."""
    try:
        yield
    except h11.LocalProtocolError as error:
        raise httpx.LocalProtocolError(str(error)) from error
    except h11.RemoteProtocolError as error:
        raise httpx.RemoteProtocolError(str(error)) from error
