"""Letting go of songs that came as bytes, in memory or in copies, once their jobs need them no more."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import anyio
from anyio import CancelScope
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from attrs import define, evolve, field

from mvsep_async.concurrency import in_thread
from mvsep_async.jobs.job import Job
from mvsep_async.sources import Data, Spooled

__all__ = ["Cleanup"]


@define(eq=False)
class Cleanup:
    """What jobs leave. Files are removed one after the other, off the loop; what a process leaves, the next removes."""

    _paths: tuple[MemoryObjectSendStream[Path], MemoryObjectReceiveStream[Path]] = field(
        factory=lambda: anyio.create_memory_object_stream[Path](float("inf"))
    )

    def sent(self, job: Job) -> None:
        """Let go of a song in memory, which is not sent again: who keeps the job need not keep its bytes."""
        if isinstance(job.request.source, Data):
            job.request = evolve(job.request, source=job.request.source.emptied())

    def over(self, job: Job, *, goes_on: bool) -> None:
        """Let go of a job's song; its only copy stays where the job `goes_on` in the next process."""
        self.sent(job)
        if isinstance(job.request.source, Spooled) and not goes_on:
            self._paths[0].send_nowait(job.request.source.path)

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
        await in_thread(lambda: path.unlink(missing_ok=True))
