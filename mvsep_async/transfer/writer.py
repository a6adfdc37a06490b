"""Receiving and writing at the same time: batches go to a thread while the next one fills."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import anyio
from anyio import CancelScope, to_thread
from attrs import define, field

from mvsep_async.transfer.part import PartFile

__all__ = ["BATCH", "BatchWriter", "writing"]

BATCH: Final = 1024 * 1024
"""Bytes a batch: a hop into a thread (0.15 to 0.3 ms) is lost in the time that writing them takes."""


@define(eq=False)
class BatchWriter:
    """Two buffers: one fills while the other is being written.

    The bytes are received into them, or copied: memory that is used again at once is neither asked of the system nor
    cleared by it, which keeping the pieces as they come would cost (a quarter of the processor time of a download).
    """

    _part: PartFile
    _filling: bytearray = field(factory=lambda: bytearray(BATCH))
    _filled: int = 0
    _spare: bytearray = field(factory=lambda: bytearray(BATCH))
    _writing: memoryview | None = None
    _failure: OSError | None = None
    _changed: anyio.Event = field(factory=anyio.Event)
    _stopped: bool = False

    def space(self) -> memoryview:
        """Return the memory that the next bytes are to be put into; never empty."""
        return memoryview(self._filling)[self._filled :]

    async def took(self, count: int) -> None:
        """Say that `count` bytes are in that memory now; waits only while both buffers are full.

        Raises the `OSError` of an earlier write.
        """
        self._filled += count
        if self._filled == BATCH:
            await self._hand_over()

    async def put(self, data: bytes) -> None:
        """Take bytes that are elsewhere."""
        view = memoryview(data)
        while view:
            space = self.space()
            count = min(len(space), len(view))
            space[:count], view = view[:count], view[count:]
            await self.took(count)

    async def flush(self) -> None:
        """Return when everything taken is written. Raises the `OSError` of a write."""
        if self._filled:
            await self._hand_over()
        await self._idle()

    async def run(self) -> None:
        """Write what is handed over, until stopped; cancelling does not stop it."""
        with CancelScope(shield=True):
            while True:
                if self._writing is not None:
                    try:
                        await to_thread.run_sync(self._part.write, self._writing)
                    except OSError as error:
                        self._failure = error
                    self._writing = None
                    self._notify()
                elif self._stopped:
                    return
                else:
                    await self._changed.wait()

    def stop(self) -> None:
        self._stopped = True
        self._notify()

    async def _hand_over(self) -> None:
        await self._idle()
        self._writing = memoryview(self._filling)[: self._filled]
        self._filling, self._spare, self._filled = self._spare, self._filling, 0
        self._notify()

    async def _idle(self) -> None:
        while self._writing is not None:
            await self._changed.wait()
        if self._failure is not None:
            failure, self._failure = self._failure, None
            self._filled = 0
            raise failure

    def _notify(self) -> None:
        changed, self._changed = self._changed, anyio.Event()
        changed.set()


@asynccontextmanager
async def writing(part: PartFile) -> AsyncIterator[BatchWriter]:
    """Run a writer for the block. What was received is written on the way out, even when the block is cancelled.

    The writes happen in a task of their own, so that a cancelled block cannot leave a thread writing unattended.
    """
    writer = BatchWriter(part)
    raised: Exception | None = None
    async with anyio.create_task_group() as group:
        group.start_soon(writer.run)
        try:
            yield writer
        except Exception as error:  # noqa: BLE001 raised again below, outside the group that would wrap it
            raised = error
        finally:
            try:
                with CancelScope(shield=True):
                    await writer.flush()
            except OSError as error:
                raised = raised or error
            finally:
                writer.stop()
    if raised is not None:
        raise raised
