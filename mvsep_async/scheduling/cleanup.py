"""Remove the copies of songs that were passed as bytes or streams, once their jobs do not need them."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from functools import partial
from pathlib import Path

import anyio
from attrs import define, field

from mvsep_async.concurrency import in_thread
from mvsep_async.jobs.failures import resumes_later
from mvsep_async.jobs.lifecycle import AT_SERVICE
from mvsep_async.jobs.registry import Change, JobRegistry
from mvsep_async.sources import Spooled

__all__ = ["Cleanup"]


@define(eq=False)
class Cleanup:
    """Frees songs in memory when the service has them, and removes spooled files in a thread, one after the other.

    Files left by a killed process are removed when the journal is opened again.
    """

    registry: JobRegistry
    _paths: deque[Path] = field(factory=deque)
    _queued: anyio.Semaphore = field(factory=lambda: anyio.Semaphore(0))

    def on_change(self, change: Change) -> None:
        """Free the song of a job that does not need it; keep the spooled file of a job that will be resumed."""
        job = change.job
        if change.after not in AT_SERVICE and not job.done():
            return
        self.registry.drop_data(job)
        resumes = self.registry.journal.spool is not None and resumes_later(job.facts.error)
        if job.done() and isinstance(job.request.source, Spooled) and not resumes:
            self._paths.append(job.request.source.path)
            self._queued.release()

    async def run(self) -> None:
        """Remove files until cancelled, then the remaining ones."""
        try:
            while True:
                await self._queued.acquire()
                await _remove(self._paths.popleft())
        finally:
            while self._paths:
                await _remove(self._paths.popleft())


async def _remove(path: Path) -> None:
    with suppress(OSError):  # the next process tries again
        await in_thread(partial(path.unlink, missing_ok=True))
