"""Read a response's body into the caller's buffers, with any transport."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Final, Self

from anyio import CancelScope
from attrs import define, field

if TYPE_CHECKING:
    import httpx

__all__ = ["READ_INTO", "RawBody", "body_reader"]

READ_INTO: Final = "mvsep_async.read_into"
"""The extension by which a response of our transport offers its body. Known inside this folder alone."""

_BUFFERED: Final = 64 * 1024
"""Most bytes that a transport has received and not yet yielded: httpcore receives at most 64 KiB at a time."""


@asynccontextmanager
async def body_reader(response: httpx.Response) -> AsyncIterator[Callable[[memoryview], Awaitable[int]]]:
    """Give `read_into(buffer)`, which reads what comes next of the body and returns how many bytes, 0 at the end.

    The body is as it is on the wire: its content encoding is not undone. By our own transport, bytes go from the socket
    into the buffer; by any other one they are copied. Raises the errors of the response's HTTP library.
    """
    direct: Callable[[memoryview], Awaitable[int]] | None = response.extensions.get(READ_INTO)
    if direct is not None:
        yield direct
        return
    async with aclosing(RawBody.of(response)) as body:
        yield _Pieces(body).read_into


@define(eq=False)
class RawBody:
    """A body as it is on the wire, in pieces of any size. Close it before the response is closed.

    HTTP libraries yield a body through several generators, one inside the other. If those are left in the middle, the
    event loop closes each of them later, in a task that nobody awaits; `aclose` ends them all at once.
    """

    _pieces: AsyncIterator[bytes]
    _suspended: bool = field(default=False, init=False)
    """Whether the generators wait for their next piece to be asked for."""

    @classmethod
    def of(cls, response: httpx.Response) -> Self:
        """Return the body of `response`; one that a hook or a mock transport has already read is one piece."""
        return cls(_read_already(response.content) if response.is_stream_consumed else response.aiter_raw())

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        self._suspended = False
        piece = await anext(self._pieces)
        self._suspended = True
        return piece

    async def aclose(self) -> None:
        """End the reading, wherever it stands."""
        # Only an exception that is raised in the innermost generator ends all of them: a read that is cancelled. What
        # was received before is yielded first.
        left = _BUFFERED
        with CancelScope(shield=True) as scope:
            scope.cancel()
            while self._suspended and left > 0:
                try:
                    left -= len(await anext(self, b"")) or 1
                except Exception:  # noqa: BLE001 -- how the rest of the body fails, with any library, changes nothing
                    break


async def _read_already(content: bytes) -> AsyncIterator[bytes]:
    yield content


@define(eq=False)
class _Pieces:
    """Copies pieces of any size into buffers of any size."""

    _pieces: AsyncIterator[bytes]
    _rest: memoryview = field(default=memoryview(b""), init=False)

    async def read_into(self, buffer: memoryview) -> int:
        while not self._rest:
            try:
                self._rest = memoryview(await anext(self._pieces))
            except StopAsyncIteration:
                return 0
        count = min(len(buffer), len(self._rest))
        buffer[:count], self._rest = self._rest[:count], self._rest[count:]
        return count
