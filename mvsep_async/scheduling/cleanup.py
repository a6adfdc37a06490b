"""Removing the copies of songs that arrived as bytes, once their jobs do not need them."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from pathlib import Path

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from attrs import define, field

from mvsep_async.concurrency import in_thread
from mvsep_async.jobs.lifecycle import AT_SERVICE
from mvsep_async.jobs.registry import Change, JobRegistry, resumes_later
from mvsep_async.sources import Spooled

__all__ = ["Cleanup"]


@define(eq=False)
class Cleanup:
    """Drops songs from memory when the service has them, and removes spooled files, one after the other, in a thread.

    A file that a killed process leaves is removed by the next one.
    """

    registry: JobRegistry
    _paths: tuple[MemoryObjectSendStream[Path], MemoryObjectReceiveStream[Path]] = field(
        factory=lambda: anyio.create_memory_object_stream[Path](float("inf"))
    )

    def on_change(self, change: Change) -> None:
        """Drop the song of a job that needs it no longer; keep the file of one that the next process resumes."""
        job = change.job
        if change.after not in AT_SERVICE and not job.done():
            return
        self.registry.drop_data(job)
        resumes = self.registry.journal.spool is not None and resumes_later(job.facts.error)
        if job.done() and isinstance(job.request.source, Spooled) and not resumes:
            self._paths[0].send_nowait(job.request.source.path)

    async def run(self) -> None:
        """Remove files until cancelled, and then those that are left."""
        sender, receiver = self._paths
        with sender, receiver:
            try:
                async for path in receiver:
                    await _remove(path)
            finally:
                for _ in range(receiver.statistics().current_buffer_used):
                    await _remove(receiver.receive_nowait())


async def _remove(path: Path) -> None:
    with suppress(OSError):  # the next process tries again
        await in_thread(partial(path.unlink, missing_ok=True))
