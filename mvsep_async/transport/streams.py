"""Plain and encrypted sockets under any event loop that anyio runs on.

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
from time import monotonic
from typing import Final, Self, TypeVar

import anyio
import httpcore
from attrs import define, field, frozen

from mvsep_async.transport.addresses import PrivateAddressError
from mvsep_async.transport.fairness import FairStep, fair_step

__all__ = ["RECEIVE", "SocketStream", "TlsStream", "mapped"]

T = TypeVar("T")

RECEIVE: Final = 256 * 1024
"""Bytes a receive asks for: from here on the system call costs little beside the copying, and the loop stays free."""

_RECORD: Final = 16 * 1024
"""Most bytes of a TLS record."""

_CHECK_EVERY: Final = 1024 * 1024
"""Bytes sent between two checks for an early answer: each costs what sending 20 KiB does."""

_CHECK_AFTER: Final = 1.0
"""Seconds after which a blocked send checks for an early answer, and a pause between two sends leads to a check: the
server may have closed the connection meanwhile, which the first send after it would not notice."""

_ANSWERED: Final = "the server answered before the whole request was sent"


@define(eq=False)
class SocketStream:
    """A connected non-blocking socket."""

    _sock: socket.socket
    _step: FairStep = field(factory=fair_step)
    _unchecked: int = field(default=0, init=False)
    """Bytes sent since the last check for an early answer."""
    _sent_at: float = field(default=0.0, init=False)
    """When bytes were last sent."""

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Return up to `max_bytes` of what is there, `b""` at the end."""
        return await self._receive(lambda: self._sock.recv(max_bytes), timeout)

    async def read_into(self, buffer: memoryview, timeout: float | None = None) -> int:
        """Receive into the buffer and return how much that was, 0 at the end."""
        return await self._receive(lambda: self._sock.recv_into(buffer, min(len(buffer), RECEIVE)), timeout)

    async def _receive(self, receive: Callable[[], T], timeout: float | None) -> T:
        """Receive what is there; wait only if there is nothing yet."""
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

    async def write(self, buffer: bytes | memoryview, timeout: float | None, answered: Callable[[], bool]) -> None:
        """Send all of it. `timeout` is for each step forward: a slow line may take longer for the whole.

        Raises `WriteError` when `answered()`, called now and then, says that the server needs no more: so a refused
        upload ends at once, not after the whole song.
        """
        with mapped(httpcore.WriteTimeout, httpcore.WriteError):
            view = memoryview(buffer)
            async with self._step:
                paused, self._sent_at = monotonic() - self._sent_at > _CHECK_AFTER, monotonic()
                if self._unchecked >= _CHECK_EVERY or paused:
                    self._unchecked = 0
                    if answered():
                        raise httpcore.WriteError(_ANSWERED)
                self._unchecked += len(view)
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
        """Do the TLS handshake and return the encrypted stream."""
        try:
            with mapped(httpcore.ConnectTimeout, httpcore.ConnectError), anyio.fail_after(timeout):
                return await TlsStream.shake_hands(self, ssl_context, server_hostname)
        except BaseException:
            await self.aclose()
            raise

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
        """Return what is there, `b""` at the end, `None` if there is nothing yet.

        Called often, and so it asks for one byte first, which takes no memory for all that might have come.
        """
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
            with anyio.move_on_after(min(left, _CHECK_AFTER)):
                await anyio.wait_writable(self._sock)
                return
            if answered():
                raise httpcore.WriteError(_ANSWERED)
            left -= _CHECK_AFTER
        raise TimeoutError("the server takes no more data")


@define(eq=False)
class TlsStream:
    """TLS over a `SocketStream`, the cipher working on memory: as fast as on the socket, and portable."""

    _raw: SocketStream
    _tls: ssl.SSLObject
    _incoming: ssl.MemoryBIO
    _outgoing: ssl.MemoryBIO
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
        """Return what can be decrypted of what is there, `b""` at the end; an end without TLS's close is an error."""
        with mapped(httpcore.ReadTimeout, httpcore.ReadError):
            while True:
                data = self._decrypt()
                if data is not None:
                    return data
                await self._flush(timeout)
                self._feed(await self._raw.read(RECEIVE, timeout))

    async def read_into(self, buffer: memoryview, timeout: float | None = None) -> int:
        """Decrypt into the buffer and return how much that was, 0 at the end."""
        with mapped(httpcore.ReadTimeout, httpcore.ReadError):
            while True:
                count = self._decrypt_into(buffer)
                if count is not None:
                    return count
                await self._flush(timeout)
                self._feed(await self._raw.read(RECEIVE, timeout))

    async def write(self, buffer: bytes | memoryview, timeout: float | None, answered: Callable[[], bool]) -> None:
        """Encrypt and send all of it, as `SocketStream.write` does."""
        with mapped(httpcore.WriteTimeout, httpcore.WriteError):
            view = memoryview(buffer)
            while view:
                try:
                    view = view[self._tls.write(view) :]
                except ssl.SSLWantReadError:  # a renegotiation (TLS 1.2): it wants an answer first
                    await self._flush(timeout, answered)
                    self._feed(await self._raw.read(RECEIVE, timeout))
            await self._flush(timeout, answered)

    async def aclose(self) -> None:
        """Close the socket without TLS's own close: HTTP's lengths show what is missing."""
        await self._raw.aclose()

    def is_readable(self) -> bool:
        """Tell whether a read would return at once, if only to find a session ticket."""
        return self._raw.is_readable()

    def receive_nowait(self) -> bytes | None:
        """Return what can be decrypted of what is there, `b""` at the end, `None` if there is nothing yet."""
        data = self._raw.receive_nowait()
        if data is None:
            return None
        self._feed(data)
        return self._decrypt()

    async def _flush(self, timeout: float | None, answered: Callable[[], bool] = lambda: False) -> None:
        if self._outgoing.pending:
            await self._raw.write(self._outgoing.read(), timeout, answered)

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
                    break  # first what came before; the next call raises it again
                raise
            if not count:
                break
            size += count
        return size


@frozen
class mapped:  # noqa: N801 read as a function
    """Turn what the system raises into what httpcore raises."""

    timeout: type[httpcore.TimeoutException]
    broken: type[httpcore.NetworkError]

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError) and not isinstance(
            error, PrivateAddressError
        ):  # TimeoutError and ssl.SSLError too
            late = isinstance(error, TimeoutError) and error.errno != errno.ETIMEDOUT
            raise (self.timeout if late else self.broken)(str(error)) from error
