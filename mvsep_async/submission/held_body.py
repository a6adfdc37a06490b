"""Request bodies sent ahead of a slot: all but their last bytes, which wait for the slot.

A request with an incomplete body is not processed, so the service cannot have the job before the last bytes are sent.
Cancelling before that costs bandwidth but no credits.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Final

from attrs import frozen

from mvsep_async.http.content import Content

__all__ = ["RESERVED", "TRICKLE", "HeldContent"]

RESERVED: Final = 4 * 1024
"""Bytes of a song that wait for the slot. They fit into about three packets, so a free slot is filled at once."""

TRICKLE: Final = 16
"""Bytes sent from time to time while the body waits. All of them together are a small part of `RESERVED`."""


@frozen
class HeldContent:
    """The content of a song whose last bytes are sent when `wait()` has ended.

    `wait` yields whenever a few bytes should be sent to keep the connection open.
    """

    content: Content
    wait: Callable[[], AsyncGenerator[None]]

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
        # The song has been read to its end and checked, and its file is closed: it may change while the body waits.
        async with aclosing(self.wait()) as waiting:
            async for _ in waiting:
                if len(rest) > TRICKLE:  # else nothing is left to send; a closed connection costs only bandwidth
                    piece = bytes(rest[:TRICKLE])
                    del rest[:TRICKLE]
                    yield piece
        yield bytes(rest)
