"""Removing the copies of songs that came as bytes, once their jobs need them no more."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import anyio
from anyio import CancelScope
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from attrs import define, field

__all__ = ["Leftovers"]


@define(eq=False)
class Leftovers:
    """Files to be removed, one after the other, off the loop; what a process leaves, the next one removes."""

    _paths: tuple[MemoryObjectSendStream[Path], MemoryObjectReceiveStream[Path]] = field(
        factory=lambda: anyio.create_memory_object_stream[Path](float("inf"))
    )

    def put(self, path: Path) -> None:
        """Have a file removed soon."""
        self._paths[0].send_nowait(path)

    async def run(self) -> None:
        """Remove until cancelled, and then what has come until then."""
        given, taken = self._paths
        with given, taken:
            try:
                async for path in taken:
                    await _remove(path)
            finally:
                for _ in range(taken.statistics().current_buffer_used):
                    await _remove(taken.receive_nowait())


async def _remove(path: Path) -> None:
    with CancelScope(shield=True), suppress(OSError):  # the next process tries again
        await anyio.Path(path).unlink(missing_ok=True)
