"""Plain and encrypted sockets under any event loop that anyio runs on.

httpcore's own backend uses anyio's streams, which move up to 64 KiB a step through a protocol object and a queue,
and one TLS record (16 KiB) a step where there is TLS. Here a step is up to 256 KiB on a non-blocking socket, tried at
once and waited for only if need be. TLS works on the socket too: through memory, as `asyncio` has it, each byte is
copied three times more, which takes 1.2 times the processor time.
"""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Final, TypeAlias, TypeVar

import anyio
import httpx
from attrs import define, field, frozen

from mvsep_async.transport.addresses import PrivateAddressError
from mvsep_async.transport.fairness import FairStep, fair_step

__all__ = ["RECEIVE", "SocketStream", "mapped", "unsent_for"]

T = TypeVar("T")

_Wait: TypeAlias = Callable[[socket.socket], Awaitable[None]]

RECEIVE: Final = 256 * 1024
"""Bytes a receive asks for: with this many, the system call costs little compared with the copying, and the loop stays
free."""

_SEND: Final = 320 * 1024
"""Most bytes of one send. Encrypting them takes half a millisecond, which is not late for the loop's timers."""

_CHECK_EVERY: Final = 1024 * 1024
"""Bytes sent between two checks for an early answer: each costs what sending 20 KiB does."""

_CHECK_AFTER: Final = 1.0
"""Seconds after which a blocked send checks for an early answer, and a pause between two sends leads to a check: the
server may have closed the connection meanwhile, which the first send after it would not notice."""

_UNSENT: Final = 0.1
"""Seconds of sending that the system keeps beyond what is on its way, so that the line is always busy. By itself it
takes megabytes: on a slow line, songs would seem to be sent that wait. Keeping less on a fast one wakes the loop more
often: 256 KiB made an upload over loopback take 1.5 times the processor time."""

_LEAST_UNSENT: Final = 64 * 1024
_FIRST_UNSENT: Final = 256 * 1024
_MOST_UNSENT: Final = 4 * 1024 * 1024

_ANSWERED: Final = "the server answered before the whole request was sent"

_BLOCKED: Final = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
"""What a non-blocking socket raises where a blocking one would wait."""


@define(eq=False)
class SocketStream:
    """A connected non-blocking socket, plain or an `ssl.SSLSocket`."""

    _sock: socket.socket
    _step: FairStep = field(factory=fair_step)
    _unchecked: int = field(default=0, init=False)
    """Bytes sent since the last check for an early answer."""
    _checked_at: float = field(default=0.0, init=False)
    _sent_at: float = field(default=0.0, init=False)
    """When bytes were last sent."""

    def __attrs_post_init__(self) -> None:
        self._keep_unsent(_FIRST_UNSENT)

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Return up to `max_bytes` of what is there, `b""` at the end; the end of TLS without its close is an error."""
        return await self._receive(lambda: self._sock.recv(max_bytes), timeout)

    async def read_into(self, buffer: memoryview, timeout: float | None = None) -> int:
        """Receive into the buffer and return how much that was, 0 at the end."""
        return await self._receive(lambda: self._recv_into(buffer[:RECEIVE]), timeout)

    async def write(self, buffer: bytes | memoryview, timeout: float | None, answered: Callable[[], bool]) -> None:
        """Send all of it. `timeout` is for each step forward: a slow line may take longer for the whole.

        Raises `WriteError` when `answered()`, called now and then, says that the server needs no more: so a refused
        upload ends at once, not after the whole song.
        """
        with _WRITING:
            view = memoryview(buffer)
            async with self._step:
                self._check(answered)
                self._unchecked += len(view)
                view, wait = self._send(view)
            while view:
                if wait is not None:
                    await self._wait_sendable(wait, timeout, answered)
                async with self._step:
                    view, wait = self._send(view)

    async def wait_sendable(self, timeout: float | None, answered: Callable[[], bool]) -> None:
        """Wait until a little more can be sent at once. Raises what `write` raises."""
        with _WRITING:
            await self._wait_sendable(anyio.wait_writable, timeout, answered)

    async def aclose(self) -> None:
        """Close the socket, TLS without its own close, as HTTP's lengths show what is missing; idempotent."""
        if self._sock.fileno() >= 0:
            anyio.notify_closing(self._sock)
            self._sock.close()

    async def start_tls(self, context: ssl.SSLContext, server_hostname: str, timeout: float | None = None) -> None:
        """Do the TLS handshake: from here on all that is read and written is encrypted."""
        try:
            with mapped(httpx.ConnectTimeout, httpx.ConnectError), anyio.fail_after(timeout):
                self._sock = sock = context.wrap_socket(
                    self._sock,
                    server_hostname=server_hostname,
                    do_handshake_on_connect=False,
                    suppress_ragged_eofs=False,
                )
                await self._finish(sock.do_handshake)
        except BaseException:
            await self.aclose()
            raise

    def is_readable(self) -> bool:
        """Tell whether something has come in: bytes, the end, an error, or a session ticket of TLS."""
        try:
            socket.socket.recv(self._sock, 1, socket.MSG_PEEK)  # of an SSLSocket too: what comes in, still encrypted
        except BlockingIOError:
            return False
        except OSError:
            return True
        return True

    def receive_nowait(self) -> bytes | None:
        """Return what is there, `b""` at the end, `None` if there is nothing yet.

        Called often, and so it asks for one byte first, which takes no memory for all that might have come.
        """
        if not self.is_readable():
            return None
        try:
            return self._sock.recv(RECEIVE)
        except _BLOCKED:
            return None

    async def _receive(self, receive: Callable[[], T], timeout: float | None) -> T:
        """Receive what is there; wait only if there is nothing yet."""
        with _READING:
            async with self._step:
                try:
                    return receive()
                except _BLOCKED as blocked:
                    wait = _wait_for(blocked, anyio.wait_readable)
            with anyio.fail_after(timeout):
                await wait(self._sock)
                return await self._finish(receive)

    async def _finish(self, action: Callable[[], T]) -> T:
        """Call `action` until it does not block, and wait in between until the socket is ready."""
        while True:
            async with self._step:
                try:
                    return action()
                except _BLOCKED as blocked:
                    wait = _wait_for(blocked, anyio.wait_readable)
            await wait(self._sock)

    def _recv_into(self, buffer: memoryview) -> int:
        size = self._sock.recv_into(buffer)
        if isinstance(self._sock, ssl.SSLSocket):  # which gives one record, of 16 KiB at most, at one time
            try:
                while 0 < size < len(buffer) and (count := self._sock.recv_into(buffer[size:])):
                    size += count
            except OSError:
                pass  # no more records, or an error that the next call raises again
        return size

    def _check(self, answered: Callable[[], bool]) -> None:
        """Raise `WriteError` if it is time to check for an early answer and there is one."""
        now = monotonic()
        paused, self._sent_at = now - self._sent_at > _CHECK_AFTER, now
        if self._unchecked < _CHECK_EVERY and not paused:
            return
        if not paused:
            self._keep_unsent(unsent_for(self._unchecked / max(now - self._checked_at, 1e-6)))
        self._unchecked, self._checked_at = 0, now
        if answered():
            raise httpx.WriteError(_ANSWERED)

    def _keep_unsent(self, size: int) -> None:
        if hasattr(socket, "TCP_NOTSENT_LOWAT"):  # Linux and macOS
            self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, size)

    def _send(self, view: memoryview) -> tuple[memoryview, _Wait | None]:
        """Send as much as the system takes at once; return the rest and, if it takes no more yet, how to wait."""
        try:
            return view[self._sock.send(view[:_SEND]) :], None
        except _BLOCKED as blocked:
            return view, _wait_for(blocked, anyio.wait_writable)

    async def _wait_sendable(self, wait: _Wait, timeout: float | None, answered: Callable[[], bool]) -> None:
        left = float("inf") if timeout is None else timeout
        while left > 0:
            with anyio.move_on_after(min(left, _CHECK_AFTER)):
                await wait(self._sock)
                return
            if answered():
                raise httpx.WriteError(_ANSWERED)
            left -= _CHECK_AFTER
        raise TimeoutError("the server takes no more data")


def unsent_for(rate: float) -> int:
    """Return how many bytes the system should keep to send, on a line of `rate` bytes per second."""
    return int(min(max(rate * _UNSENT, _LEAST_UNSENT), _MOST_UNSENT))


def _wait_for(blocked: OSError, usual: _Wait) -> _Wait:
    """Return how to wait until what was blocked may be tried again: TLS may have to read before it can write."""
    if isinstance(blocked, ssl.SSLWantReadError):
        return anyio.wait_readable
    if isinstance(blocked, ssl.SSLWantWriteError):
        return anyio.wait_writable
    return usual


@frozen
class mapped:  # noqa: N801 read as a function
    """Turn what the system raises into what httpx raises."""

    timeout: type[httpx.TimeoutException]
    broken: type[httpx.NetworkError]

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError) and not isinstance(
            error, PrivateAddressError
        ):  # TimeoutError and ssl.SSLError too
            late = isinstance(error, TimeoutError) and error.errno != errno.ETIMEDOUT
            raise (self.timeout if late else self.broken)(str(error)) from error


_READING: Final = mapped(httpx.ReadTimeout, httpx.ReadError)
_WRITING: Final = mapped(httpx.WriteTimeout, httpx.WriteError)
