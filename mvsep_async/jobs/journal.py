"""The journal of a client: how its jobs are recorded. The base class records nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from attrs import frozen

from mvsep_async.jobs.facts import Facts
from mvsep_async.jobs.lifecycle import JobState
from mvsep_async.jobs.request import JobRequest

__all__ = ["JobDuration", "Journal", "Record"]


@frozen
class Record:
    """One job as a journal holds it."""

    request: JobRequest
    state: JobState
    facts: Facts


@frozen
class JobDuration:
    """How long one finished job took at the service: `waiting` seconds in its queue, and `processing` seconds.

    `waiting` is `None` if it is unknown, and so is `size`, the bytes of the song.
    """

    algorithm: int | None
    size: int | None
    waiting: float | None
    processing: float


class Journal:
    """Records jobs, so that they survive the process. This base class records nothing: jobs are lost with the process.

    `add`, `amend`, `update`, `forget` and `learn` record a change and return at once; `flush` returns when all recorded
    changes are on disk. `run` writes recorded changes in order, after a short delay.
    """

    spool: Path | None = None
    """The folder for songs that arrive as bytes; `None` if they need not survive the process."""
    durations: Sequence[JobDuration] = ()
    """The durations of recent jobs, the oldest first, as read when the journal was opened."""

    async def run(self) -> None:
        """Write recorded changes, for as long as the client is open."""

    def add(self, request: JobRequest) -> None:
        """Record a new queued job. Raises `JournalError` for a request that cannot be stored."""

    def amend(self, request: JobRequest) -> None:
        """Record a changed request of a known job."""

    def update(self, job: str, state: JobState, facts: Facts) -> None:
        """Record the state and facts of a job."""

    def forget(self, requests: Sequence[JobRequest]) -> None:
        """Record that the jobs of these requests are pruned."""

    def learn(self, duration: JobDuration) -> None:
        """Record how long a job took. Only the latest durations are kept."""

    async def flush(self, *, synced: bool = False) -> None:
        """Wait until all changes recorded so far are written; with `synced`, also safe from a power loss."""
