"""Read a response's body into the caller's buffers, with any transport."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Final

from attrs import define, field

if TYPE_CHECKING:
    import httpx

__all__ = ["READ_INTO", "body_reader", "raw_body"]

READ_INTO: Final = "mvsep_async.read_into"
"""The extension by which a response of our transport offers its body. Known inside this folder alone."""


def body_reader(response: httpx.Response) -> Callable[[memoryview], Awaitable[int]]:
    """Return `read_into(buffer)`, which reads what comes next of the body and returns how many bytes, 0 at the end.

    The body is as it is on the wire: its content encoding is not undone. By our own transport, bytes go from the socket
    into the buffer; by any other one they are copied. Raises the errors of the response's HTTP library.
    """
    direct: Callable[[memoryview], Awaitable[int]] | None = response.extensions.get(READ_INTO)
    return direct or _Pieces(raw_body(response)).read_into


async def raw_body(response: httpx.Response) -> AsyncIterator[bytes]:
    """Yield a body as it arrives; one that a hook or a mock transport has already read is yielded in one piece."""
    if response.is_stream_consumed:
        yield response.content
        return
    async for piece in response.aiter_raw():
        yield piece


@define(eq=False)
class _Pieces:
    """A body that arrives in pieces of any size."""

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
