"""The protocol of a journal, and the one that keeps nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from attrs import frozen

from mvsep_async.jobs.facts import Facts
from mvsep_async.jobs.lifecycle import JobState
from mvsep_async.jobs.request import JobRequest

__all__ = ["JobDuration", "Journal", "NoJournal", "Record"]


@frozen
class Record:
    """One job as a journal holds it."""

    request: JobRequest
    state: JobState
    facts: Facts


@frozen(kw_only=True)
class JobDuration:
    """How long one job took at the service that is done: seconds in its queue (`None`: not known), and processed.

    `size`: bytes of the song, where they are known.
    """

    algorithm: int | None
    size: int | None
    waiting: float | None
    processing: float


class Journal(Protocol):
    """Makes jobs survive the process.

    `add`, `update` and `forget` record a change and return at once; `flush` returns when everything recorded before is
    on disk. Recorded changes are written in order, soon, by `run`.
    """

    @property
    def spool(self) -> Path | None:
        """The folder for songs that arrived as bytes; `None` when they need not survive the process."""
        ...

    async def open(self) -> Sequence[Record]:
        """Lock and read the journal. Raises `JournalError` where it is locked, damaged or of a newer version."""
        ...

    async def run(self) -> None:
        """Write recorded changes, for as long as the client is open."""
        ...

    def add(self, request: JobRequest) -> None:
        """Record a new queued job. Raises `JournalError` for a request that cannot be stored."""
        ...

    def amend(self, request: JobRequest) -> None:
        """Record a changed request of a known job."""
        ...

    def update(self, job: str, state: JobState, facts: Facts) -> None:
        """Record the state and facts of a job."""
        ...

    def forget(self, requests: Sequence[JobRequest]) -> None:
        """Record that the jobs of these requests are pruned."""
        ...

    @property
    def durations(self) -> Sequence[JobDuration]:
        """How long the last jobs took, the oldest first, as it stood when the journal was opened."""
        ...

    def learn(self, duration: JobDuration) -> None:
        """Note how long a job took. Only the last ones are kept."""
        ...

    async def flush(self, *, synced: bool = False) -> None:
        """Return when everything recorded so far is written; `synced`: and would survive a power loss."""
        ...

    async def close(self) -> None:
        """Write what is left and unlock."""
        ...


class NoJournal:
    """A journal that keeps nothing: jobs end with the process."""

    spool: Path | None = None
    durations: Sequence[JobDuration] = ()

    async def open(self) -> Sequence[Record]:
        return ()

    async def run(self) -> None:
        return

    def add(self, request: JobRequest) -> None:
        return

    def amend(self, request: JobRequest) -> None:
        return

    def update(self, job: str, state: JobState, facts: Facts) -> None:
        return

    def forget(self, requests: Sequence[JobRequest]) -> None:
        return

    def learn(self, duration: JobDuration) -> None:
        return

    async def flush(self, *, synced: bool = False) -> None:
        return

    async def close(self) -> None:
        return
