"""Song bodies that are sent ahead of their slots: all but the last bytes, which wait for the slot.

A request whose body is incomplete is not a request, so the service cannot have the job before the last bytes go out.
Stopping until then costs bandwidth and never money.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final, Protocol

from attrs import frozen

from mvsep_async.http.content import Content

__all__ = ["RESERVED", "TRICKLE", "BodyEnd", "HeldContent"]

RESERVED: Final = 4 * 1024
"""Bytes of a song that wait for the slot. They take one packet or three, so that a free slot is filled at once."""

TRICKLE: Final = 16
"""Bytes sent now and then while the body waits. Those of a whole hold are a small part of `RESERVED`."""


class BodyEnd(Protocol):
    """What decides when the last bytes of a body may go out."""

    def wait(self) -> AsyncGenerator[None]:
        """Yield whenever a few bytes should keep the connection open; end when all the rest may go out."""
        ...


@frozen
class HeldContent:
    """A song whose last bytes are sent when `end` says so, the others before."""

    content: Content
    end: BodyEnd

    @property
    def size(self) -> int:
        return self.content.size

    async def chunks(self) -> AsyncGenerator[bytes]:
        read, rest = 0, bytearray()
        async with aclosing(self.content.chunks()) as chunks:
            async for chunk in chunks:
                read += len(chunk)
                kept = min(len(chunk), max(0, RESERVED - (self.size - read)))
                rest += chunk[len(chunk) - kept :]
                if kept < len(chunk):
                    yield chunk[: len(chunk) - kept] if kept else chunk
        # The song is read to its end and checked, and its file closed: it may change while the body waits.
        async with aclosing(self.end.wait()) as waiting:
            async for _ in waiting:
                if len(rest) > TRICKLE:  # else the server may close the connection, which costs only bandwidth
                    piece = bytes(rest[:TRICKLE])
                    del rest[:TRICKLE]
                    yield piece
        yield bytes(rest)
