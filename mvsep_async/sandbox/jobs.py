"""The life of one job: its data, and its status at a moment. No clock, no I/O: `now` is a parameter."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

from attrs import define, field, frozen

from mvsep_async.models.output_format import OutputFormat

from .accounts import Account

DISTRIBUTED_SHARE = 0.85
"""The share of a long job's time that its chunks take; the rest is merging (a guess: nothing is documented)."""


class Phase(StrEnum):
    """The state of a job: `FETCHING` → `WAITING` → `RUNNING` → one of the others, which are final."""

    FETCHING = "fetching"
    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    DELETED = "deleted"


UNFINISHED = frozenset({Phase.FETCHING, Phase.WAITING, Phase.RUNNING})


class Priority(StrEnum):
    """The queues, in the order in which they are served."""

    PREMIUM = "premium"
    REGISTERED = "registered"
    UNREGISTERED = "unregistered"


@frozen
class ResultFile:
    """One file that a job made: `stem` is its `type`, `name` its file name."""

    path: Path
    stem: str
    name: str
    size: int


@frozen
class Results:
    """All that a job made."""

    files: tuple[ResultFile, ...]
    transcription: str | None = None


@frozen
class StatusOverride:
    """A status that a test makes a job show, instead of the true one."""

    status: str
    data: Mapping[str, Any]


@define(eq=False)
class Job:
    """One job. Times are seconds of the sandbox's clock; only `JobQueue` and `Service` change it."""

    serial: int
    """Its `id` in the history."""
    hash: str
    account: Account
    host: str
    """The host that accepted it, or that it was handed to."""
    filename: str
    sep_type: int
    options: Mapping[str, str]
    output_format: OutputFormat
    created: float
    priority: Priority
    bytes: int = 0
    duration: float = 0.0
    credits: int = 0
    is_demo: bool = False
    webhook_url: str | None = None
    long_filenames: bool = False
    from_url: bool = False
    short_hash: str | None = None
    """The hash that create answered for a URL job; `hash` is the same until the file has been fetched."""
    inputs: tuple[Path, ...] = ()
    phase: Phase = Phase.WAITING
    ready_at: float = 0.0
    """The earliest moment at which a worker may take it."""
    run_seconds: float = 0.0
    chunks: int = 0
    work_done_at: float | None = None
    """When its results were really made (or found to be impossible)."""
    manual: bool = False
    """It advances only on request."""
    foreign: bool = False
    """It represents a job of another program that uses the account."""
    free_use: float | None = None
    """Its entry in the account's `free_uses`, if it has one."""
    started_at: float | None = None
    ended_at: float | None = None
    message: str = ""
    """Why it failed, or will fail."""
    refunded: int = 0
    results: Results = Results(())
    override: StatusOverride | None = None

    @property
    def unfinished(self) -> bool:
        return self.phase in UNFINISHED

    @property
    def fetched(self) -> bool:
        """Whether it has the hash of a real job (a URL job has one as soon as its file has been fetched)."""
        return self.short_hash is None or self.hash != self.short_hash

    def due(self) -> float | None:
        """Return when it ends, or None if that is not known yet."""
        if self.started_at is None or self.work_done_at is None or self.manual:
            return None
        return max(self.started_at + self.run_seconds, self.work_done_at)


@frozen
class Place:
    """The place of a waiting job in the queue: `order` of `count` jobs of its priority."""

    order: int
    count: int


def progress(job: Job, now: float, place: Place) -> tuple[str, dict[str, Any]]:
    """Return status and data of `get` for an unfinished job."""
    if job.override is not None:
        return job.override.status, {"queue_count": place.count, "current_order": place.order, **job.override.data}
    if job.phase is not Phase.RUNNING or job.started_at is None:
        return "waiting", {"queue_count": place.count, "current_order": place.order}
    if not job.chunks:
        return "processing", {"message": "Your file is being processed"}
    share = (now - job.started_at) / job.run_seconds / DISTRIBUTED_SHARE if job.run_seconds else 1.0
    if share < 1 or job.manual:
        finished = min(int(share * job.chunks), job.chunks) if not job.manual else 0
        counts = {"finished_chunks": finished, "all_chunks": job.chunks}
        return "distributing", {"queue_count": place.count, "current_order": place.order, **counts}
    counts = {"finished_chunks": job.chunks, "all_chunks": job.chunks}
    return "merging", {"message": "The parts of your file are being joined", **counts}


@frozen
class JobRecord:
    """A snapshot of a job, for tests. Times are seconds of the sandbox's clock (`sandbox.now()`)."""

    serial: int
    hash: str
    short_hash: str | None
    token: str = field(repr=False)
    account: str
    filename: str
    sep_type: int
    options: Mapping[str, str]
    output_format: int
    state: str
    bytes: int
    duration: float
    credits: int
    refunded: int
    created: float
    started_at: float | None
    done_at: float | None
    cancelled: bool
    foreign: bool
    message: str
    files: tuple[str, ...] = field(default=())

    @classmethod
    def of(cls, job: Job) -> JobRecord:
        return cls(
            serial=job.serial,
            hash=job.hash,
            short_hash=job.short_hash,
            token=job.account.token,
            account=job.account.name,
            filename=job.filename,
            sep_type=job.sep_type,
            options=dict(job.options),
            output_format=int(job.output_format),
            state=str(job.phase),
            bytes=job.bytes,
            duration=job.duration,
            credits=job.credits,
            refunded=job.refunded,
            created=job.created,
            started_at=job.started_at,
            done_at=job.ended_at,
            cancelled=job.phase is Phase.CANCELLED,
            foreign=job.foreign,
            message=job.message,
            files=tuple(file.name for file in job.results.files),
        )
