"""What the scheduler asks of a journal, and the one that keeps nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from attrs import frozen

from mvsep_async.jobs.facts import Facts
from mvsep_async.jobs.lifecycle import JobState
from mvsep_async.jobs.request import JobRequest

__all__ = ["Journal", "NoJournal", "Record", "SafeFile"]


@frozen
class SafeFile:
    """A file of a job: how large it becomes, where that is known, and how many bytes of it are safe on disk."""

    path: Path
    size: int | None
    safe: int


@frozen
class Record:
    """One job as a journal holds it. `files` are those that were noted for it."""

    request: JobRequest
    state: JobState
    facts: Facts
    files: tuple[SafeFile, ...] = ()


class Journal(Protocol):
    """Makes jobs survive the process.

    `add`, `update` and `file` note a change and return at once; `flush` returns when all that was noted before is on
    disk. Changes noted but not yet settled are written in request, soon, by `run`.
    """

    @property
    def spool(self) -> Path | None:
        """The folder for songs that came as bytes; `None` when they need not survive."""
        ...

    async def open(self) -> Sequence[Record]:
        """Lock and read the journal; raises `JournalError` where it cannot be used as it is."""
        ...

    async def run(self) -> None:
        """Write what is noted, for as long as the client is open."""
        ...

    def add(self, request: JobRequest) -> None:
        """Note a new job, queued."""
        ...

    def update(self, job: str, state: JobState, facts: Facts) -> None:
        """Note where a job stands now."""
        ...

    def file(self, job: str, path: Path, *, size: int | None, safe: int) -> None:
        """Note a file of a job: its size, and how many bytes of it are safe on disk."""
        ...

    def forget(self, requests: Sequence[JobRequest]) -> None:
        """Note that the jobs of these requests shall be pruned."""
        ...

    async def flush(self, *, synced: bool = False) -> None:
        """Return when all noted so far is written; `synced`: and would survive the machine losing power."""
        ...

    async def close(self) -> None:
        """Write what is left and unlock."""
        ...


class NoJournal:
    """Keeps nothing: jobs end with the process."""

    spool: Path | None = None

    async def open(self) -> Sequence[Record]:
        return ()

    async def run(self) -> None:
        return

    def add(self, request: JobRequest) -> None:
        return

    def update(self, job: str, state: JobState, facts: Facts) -> None:
        return

    def file(self, job: str, path: Path, *, size: int | None, safe: int) -> None:
        return

    def forget(self, requests: Sequence[JobRequest]) -> None:
        return

    async def flush(self, *, synced: bool = False) -> None:
        return

    async def close(self) -> None:
        return
