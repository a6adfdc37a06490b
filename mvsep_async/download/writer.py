"""Receiving and writing at the same time: a thread writes full buffers while the next ones fill."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from queue import Empty, SimpleQueue
from typing import Final

import anyio
from anyio import CancelScope, to_thread
from attrs import define, field

from mvsep_async.concurrency import loop_caller, thread_limiter
from mvsep_async.download.part_file import PartFile

__all__ = ["BufferedWriter", "writing"]

_BUFFER: Final = 256 * 1024
"""Bytes of a buffer: as many as one receive brings, and few enough that they are written out of the processor's cache.
Buffers of 1 MiB took twice as long."""

_BUFFERS: Final = 8
"""The most there are. Twice as many are hardly faster."""

_BATCH: Final = 4
"""Full buffers for which a thread is sent, and empty ones for which a receiver without any is woken: a hop from one to
the other takes as long as writing or receiving them."""

_LINGER: Final = 0.005
"""Seconds that the thread waits for more before it goes: on a fast line it stays for the whole file, on a slow one no
thread is kept from others."""


@define(eq=False)
class BufferedWriter:
    """A few buffers that go round: filled here, written by a thread.

    The bytes are received into them, or copied: memory that is used again at once is neither asked of the system nor
    cleared by it, which keeping the pieces as they come would cost (a quarter of the processor time of a download).
    """

    _part: PartFile
    _filling: memoryview = field(factory=lambda: memoryview(bytearray(_BUFFER)), init=False)
    _filled: int = field(default=0, init=False)
    _made: int = field(default=1, init=False)
    _full: SimpleQueue[memoryview | None] = field(factory=SimpleQueue, init=False)
    """What the thread has to write; `None` sends it back."""
    _free: deque[memoryview] = field(factory=deque, init=False)
    _failure: OSError | None = field(default=None, init=False)
    _writing: bool = field(default=False, init=False)
    _starved: bool = field(default=False, init=False)
    """Whether the receiver waits for a buffer."""
    _ending: bool = field(default=False, init=False)
    _tell: Callable[..., object] = field(factory=loop_caller, init=False)
    _changed: anyio.Event = field(factory=anyio.Event, init=False)
    _over: anyio.Event = field(factory=anyio.Event, init=False)

    def space(self) -> memoryview:
        """Return the memory that the next bytes are to be put into; never empty."""
        return self._filling[self._filled :]

    async def took(self, count: int) -> None:
        """Say that `count` bytes are in that memory now; waits only while all buffers are full.

        Raises the `OSError` of an earlier write.
        """
        self._filled += count
        if self._filled < _BUFFER:
            return
        self._full.put(self._filling)
        self._filled = 0
        if not self._writing and self._due():
            self._notify()
        self._filling = await self._empty()

    async def put(self, data: bytes) -> None:
        """Take bytes that are elsewhere."""
        view = memoryview(data)
        while view:
            space = self.space()
            count = min(len(space), len(view))
            space[:count], view = view[:count], view[count:]
            await self.took(count)

    async def end(self) -> None:
        """Return when everything taken is written; nothing more is taken. Raises the `OSError` of a write."""
        if self._filled:
            self._full.put(self._filling[: self._filled])
        self._full.put(None)
        self._ending = True
        self._notify()
        await self._over.wait()
        if self._failure is not None:
            raise self._failure

    async def run(self) -> None:
        """Send the thread whenever there is enough to write, until the end; cancelling does not stop it."""
        try:
            with CancelScope(shield=True):
                while self._due() or not self._ending:
                    if self._due():
                        await self._send_thread()
                    else:
                        await self._changed.wait()
        finally:
            self._over.set()

    async def _send_thread(self) -> None:
        self._writing = True
        try:
            await to_thread.run_sync(self._write, limiter=thread_limiter())
        except OSError as error:
            self._failure = error
        self._writing = False
        self._notify()

    def _due(self) -> bool:
        """Tell whether there is enough to write for sending the thread."""
        return self._failure is None and self._full.qsize() >= (1 if self._ending else _BATCH)

    async def _empty(self) -> memoryview:
        """Return a buffer to fill."""
        if not self._free and self._made < _BUFFERS:
            self._made += 1
            return memoryview(bytearray(_BUFFER))
        while True:
            self._starved = True  # before looking: the thread looks at this after giving a buffer back
            if self._failure is not None:
                raise self._failure
            if self._free:
                self._starved = False
                return self._free.popleft()
            await self._changed.wait()

    def _write(self) -> None:
        """Write what there is, and what comes meanwhile. Runs in the thread."""
        while True:
            try:
                buffer = self._full.get(timeout=_LINGER)
            except Empty:
                return
            if buffer is None:
                return
            self._part.write(buffer)
            self._free.append(buffer)
            if self._starved and len(self._free) >= _BATCH:
                self._starved = False
                with suppress(RuntimeError):  # the event loop is over
                    self._tell(self._notify)

    def _notify(self) -> None:
        changed, self._changed = self._changed, anyio.Event()
        changed.set()


@asynccontextmanager
async def writing(part: PartFile) -> AsyncIterator[BufferedWriter]:
    """Run a writer for the block. What was received is written on the way out, even when the block is cancelled.

    The writes happen in a task of their own, so that a cancelled block cannot leave a thread writing unattended.
    """
    writer = BufferedWriter(part)
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
                    await writer.end()
            except OSError as error:
                raised = raised or error
    if raised is not None:
        raise raised
