"""Plain and encrypted sockets for httpcore, under any event loop that anyio runs on.

httpcore's own backend stands on anyio's streams, which move up to 64 KiB a step through a protocol object and a queue,
and one TLS record (16 KiB) a step where there is TLS. Here a step is a system call of up to 256 KiB on a non-blocking
socket, tried at once and waited for only if need be, and TLS takes all the records that came with it.
"""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, Self, TypeVar

import anyio
import httpcore
from attrs import define, field, frozen

from mvsep_async.transport.fairness import FairStep, fair_step

__all__ = ["RECEIVE", "SocketStream", "TlsStream", "mapped"]

T = TypeVar("T")

RECEIVE: Final = 256 * 1024
"""Bytes a receive asks for: from here on the system call is lost in the copying, and the loop stays free."""

_RECORD: Final = 16 * 1024
"""Bytes that a TLS record holds at most."""

_LOOK_EVERY: Final = 1024 * 1024
"""Bytes sent between two looks for an early answer: each costs what sending 20 KiB does."""

_GLANCE: Final = 1.0
"""Seconds after which a sender that is held up looks whether it has been answered already."""


@define(eq=False)
class SocketStream(httpcore.AsyncNetworkStream):
    """A connected non-blocking socket."""

    _sock: socket.socket
    _step: FairStep = field(factory=fair_step)
    _unseen: int = field(default=0, init=False)
    """Bytes sent since we last looked for an early answer."""

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Return what is there, up to 256 KiB whatever `max_bytes` says: httpcore takes more than it asks for."""
        return await self._receive(lambda: self._sock.recv(RECEIVE), timeout)

    async def read_into(self, buffer: memoryview, timeout: float | None = None) -> int:
        """Receive into the buffer and return how much that was, 0 at the end."""
        return await self._receive(lambda: self._sock.recv_into(buffer, min(len(buffer), RECEIVE)), timeout)

    async def _receive(self, receive: Callable[[], T], timeout: float | None) -> T:
        """Receive what is there, waiting for it only if that is nothing yet."""
        with mapped(httpcore.ReadTimeout, httpcore.ReadError):
            async with self._step:
                with suppress(BlockingIOError):
                    return receive()
            with anyio.fail_after(timeout):
                while True:
                    await anyio.wait_readable(self._sock)
                    async with self._step:
                        with suppress(BlockingIOError):
                            return receive()

    async def write(self, buffer: bytes | memoryview, timeout: float | None = None) -> None:
        """Send all of it, as `send` does, unless something has come in."""
        with mapped(httpcore.WriteTimeout, httpcore.WriteError):
            await self.send(buffer, timeout, self.is_readable)

    async def send(self, buffer: bytes | memoryview, timeout: float | None, answered: Callable[[], bool]) -> None:
        """Send all of it. `timeout` is for each step forward: a slow line may take its time.

        When the other side has answered or hung up already, there is no point in sending more: that is a `WriteError`,
        on which httpcore goes and reads the answer. So a refused upload ends at once, not after the whole song.
        """
        view = memoryview(buffer)
        async with self._step:
            if self._unseen >= _LOOK_EVERY:
                self._unseen = 0
                if answered():
                    raise httpcore.WriteError(_ANSWERED)
            self._unseen += len(view)
            view = self._send(view)
        while view:
            await self._wait_writable(timeout, answered)
            async with self._step:
                view = self._send(view)

    async def aclose(self) -> None:
        """Close the socket; a second time does nothing."""
        if self._sock.fileno() >= 0:
            anyio.notify_closing(self._sock)
            self._sock.close()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> TlsStream:
        """Shake hands and return the encrypted stream."""
        try:
            with mapped(httpcore.ConnectTimeout, httpcore.ConnectError), anyio.fail_after(timeout):
                return await TlsStream.shake_hands(self, ssl_context, server_hostname)
        except BaseException:
            await self.aclose()
            raise

    def get_extra_info(self, info: str) -> Any:
        match info:
            case "socket":
                return self._sock
            case "client_addr":
                return self._sock.getsockname()
            case "server_addr":
                return self._sock.getpeername()
            case "is_readable":
                return self.is_readable()
        return None

    def is_readable(self) -> bool:
        """Tell whether a read would return at once, be it with the end or an error."""
        try:
            self._sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True
        return True

    def receive_nowait(self) -> bytes | None:
        """Return what is there, `None` if that is nothing yet: asked often, and so for one byte first, which costs no
        memory for all that might have come."""
        return self._sock.recv(RECEIVE) if self.is_readable() else None

    def _send(self, view: memoryview) -> memoryview:
        """Send as much as the system takes, and return the rest."""
        with suppress(BlockingIOError):
            while view:
                view = view[self._sock.send(view) :]
        return view

    async def _wait_writable(self, timeout: float | None, answered: Callable[[], bool]) -> None:
        left = float("inf") if timeout is None else timeout
        while left > 0:
            with anyio.move_on_after(min(left, _GLANCE)):
                await anyio.wait_writable(self._sock)
                return
            if answered():
                raise httpcore.WriteError(_ANSWERED)
            left -= _GLANCE
        raise TimeoutError("the other side takes nothing any more")


@define(eq=False)
class TlsStream(httpcore.AsyncNetworkStream):
    """TLS over a `SocketStream`, the cipher working on memory: as fast as on the socket, and portable."""

    _raw: SocketStream
    _tls: ssl.SSLObject
    _incoming: ssl.MemoryBIO
    _outgoing: ssl.MemoryBIO
    _plain: list[bytes] = field(factory=list, init=False)
    _buffer: memoryview = field(factory=lambda: memoryview(bytearray(RECEIVE + 2 * _RECORD)), init=False)

    @classmethod
    async def shake_hands(cls, raw: SocketStream, context: ssl.SSLContext, hostname: str | None) -> Self:
        """Return the stream after the handshake. Raises `ssl.SSLError`, and httpcore's errors of the socket."""
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self = cls(raw, context.wrap_bio(incoming, outgoing, server_hostname=hostname), incoming, outgoing)
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush(None)
                self._feed(await raw.read(RECEIVE))
            else:
                await self._flush(None)
                return self

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Return all that can be decrypted of what is there; an end without TLS's own goodbye is a `ReadError`."""
        with mapped(httpcore.ReadTimeout, httpcore.ReadError):
            while True:
                if self._plain:
                    return self._plain.pop(0)
                data = self._decrypt()
                if data is not None:
                    return data
                await self._flush(timeout)
                self._feed(await self._raw.read(RECEIVE, timeout))

    async def read_into(self, buffer: memoryview, timeout: float | None = None) -> int:
        """Decrypt into the buffer and return how much that was, 0 at the end."""
        with mapped(httpcore.ReadTimeout, httpcore.ReadError):
            while True:
                if self._plain:
                    data = self._plain.pop(0)
                    count = min(len(data), len(buffer))
                    buffer[:count] = data[:count]
                    if count < len(data):
                        self._plain.insert(0, data[count:])
                    return count
                taken = self._decrypt_into(buffer)
                if taken is not None:
                    return taken
                await self._flush(timeout)
                self._feed(await self._raw.read(RECEIVE, timeout))

    async def write(self, buffer: bytes | memoryview, timeout: float | None = None) -> None:
        """Encrypt and send all of it, as `SocketStream.send` does."""
        with mapped(httpcore.WriteTimeout, httpcore.WriteError):
            view = memoryview(buffer)
            while view:
                try:
                    view = view[self._tls.write(view) :]
                except ssl.SSLWantReadError:  # a renegotiation (TLS 1.2): it wants an answer first
                    await self._flush(timeout)
                    self._feed(await self._raw.read(RECEIVE, timeout))
            await self._flush(timeout)

    async def aclose(self) -> None:
        """Close the socket. What is lost without a goodbye, HTTP's own lengths would show."""
        await self._raw.aclose()

    def get_extra_info(self, info: str) -> Any:
        if info == "ssl_object":
            return self._tls
        if info == "is_readable" and self._plain:
            return True
        return self._raw.get_extra_info(info)

    async def _flush(self, timeout: float | None) -> None:
        if self._outgoing.pending:
            await self._raw.send(self._outgoing.read(), timeout, self._answered)

    def _answered(self) -> bool:
        """Tell whether an answer has come in, not just a session ticket or the like."""
        if self._plain:
            return True
        data = self._raw.receive_nowait()
        if data is None:
            return False
        self._feed(data)
        plain = self._decrypt()
        if plain is not None:
            self._plain.append(plain)
        return plain is not None

    def _feed(self, data: bytes) -> None:
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    def _decrypt(self) -> bytes | None:
        """Return all that is complete of what came in, `b""` at the end, `None` if no record is complete."""
        count = self._decrypt_into(self._buffer)
        return None if count is None else bytes(self._buffer[:count])

    def _decrypt_into(self, buffer: memoryview) -> int | None:
        """Fill the buffer with what is complete of what came in: 0 at the end, `None` if no record is complete."""
        size = 0
        while size < len(buffer):
            try:
                # given a buffer it counts, which typeshed does not say
                count: int = self._tls.read(len(buffer) - size, buffer[size:])  # type: ignore[assignment]
            except ssl.SSLWantReadError:
                return size or None
            except ssl.SSLZeroReturnError:
                break
            except ssl.SSLError:
                if size:
                    break  # first what came before; the next call says it again
                raise
            if not count:
                break
            size += count
        return size


_ANSWERED: Final = "the other side answered before the whole request was sent"


@frozen
class mapped:  # noqa: N801 read as a function
    """FairStep what the system raises into what httpcore raises."""

    timeout: type[httpcore.TimeoutException]
    broken: type[httpcore.NetworkError]

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):  # TimeoutError and ssl.SSLError too
            late = isinstance(error, TimeoutError) and error.errno != errno.ETIMEDOUT
            raise (self.timeout if late else self.broken)(str(error)) from error
