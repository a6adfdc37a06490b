"""The life of one job: what it is, and what it shows at a moment. No clock, no I/O: `now` is a parameter."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

from attrs import define, field, frozen

from .accounts import Account

DISTRIBUTED_SHARE = 0.85
"""How much of a long job's time goes into its chunks; the rest is merging (a guess: nothing is documented)."""


class Phase(StrEnum):
    """Where a job stands. `FETCHING` → `WAITING` → `RUNNING` → one of the rest, which are over."""

    FETCHING = "fetching"
    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    DELETED = "deleted"


UNFINISHED = frozenset({Phase.FETCHING, Phase.WAITING, Phase.RUNNING})


class Priority(StrEnum):
    """Whose jobs go first; in this order."""

    PREMIUM = "premium"
    REGISTERED = "registered"
    UNREGISTERED = "unregistered"


@frozen
class ResultFile:
    """One file that a job made: `stem` is its `type`, `name` what `/storage/results/` calls it."""

    path: Path
    stem: str
    name: str
    size: int


@frozen
class Shown:
    """A status that a test wants a job to show, whatever is true."""

    status: str
    data: Mapping[str, Any]


@define(eq=False)
class Job:
    """One job. Times are seconds of the sandbox's own clock; what changes is changed by its `Engine` only."""

    serial: int
    """Its `id` in the history."""
    hash: str
    account: Account
    host: str
    filename: str
    sep_type: int
    options: Mapping[str, str]
    output_format: int
    created: float
    priority: Priority
    bytes: int = 0
    duration: float = 0.0
    credits: int = 0
    is_demo: bool = False
    webhook_url: str | None = None
    long_filenames: bool = False
    short_hash: str | None = None
    """What create answered for a url job; `hash` is the same until the file is here."""
    inputs: tuple[Path, ...] = ()
    phase: Phase = Phase.WAITING
    ready_at: float = 0.0
    """From when on a worker may take it."""
    run_seconds: float = 0.0
    chunks: int = 0
    work_done_at: float | None = None
    """When its results really were there (or were known to be impossible)."""
    held: bool = False
    """It goes on only when told."""
    foreign: bool = False
    """It stands for a job of another program that uses the account."""
    started_at: float | None = None
    ended_at: float | None = None
    message: str = ""
    """Why it failed, or will."""
    refunded: int = 0
    files: tuple[ResultFile, ...] = ()
    shown: Shown | None = None
    removed: bool = False
    """Its files are gone and `get` does not find it."""

    @property
    def unfinished(self) -> bool:
        return self.phase in UNFINISHED

    @property
    def fetched(self) -> bool:
        """It has the hash of a real job (a url job has not, until its file is here)."""
        return self.short_hash is None or self.hash != self.short_hash

    def due(self) -> float | None:
        """When it ends, or None if that is not known yet."""
        if self.started_at is None or self.work_done_at is None or self.held:
            return None
        return max(self.started_at + self.run_seconds, self.work_done_at)


@frozen
class Place:
    """Where a waiting job stands: `order` of `count` jobs of its priority."""

    order: int
    count: int


def progress(job: Job, now: float, place: Place) -> tuple[str, dict[str, Any]]:
    """Status and data of `get` for a job that is neither fetching nor over."""
    if job.shown is not None:
        return job.shown.status, {"queue_count": place.count, "current_order": place.order, **job.shown.data}
    if job.phase is Phase.WAITING or job.started_at is None:
        return "waiting", {"queue_count": place.count, "current_order": place.order}
    if not job.chunks:
        return "processing", {"message": "Your file is being processed"}
    share = (now - job.started_at) / job.run_seconds / DISTRIBUTED_SHARE if job.run_seconds else 1.0
    if share < 1 or job.held:
        finished = min(int(share * job.chunks), job.chunks) if not job.held else 0
        counts = {"finished_chunks": finished, "all_chunks": job.chunks}
        return "distributing", {"queue_count": place.count, "current_order": place.order, **counts}
    counts = {"finished_chunks": job.chunks, "all_chunks": job.chunks}
    return "merging", {"message": "The parts of your file are being joined", **counts}


@frozen
class JobRecord:
    """What a test may know about a job. Times are seconds of the sandbox's clock (`sandbox.now()`)."""

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
            state=str(Phase.DELETED if job.removed else job.phase),
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
            files=tuple(file.name for file in job.files),
        )
