"""The results of the tools. Dataclasses, since the SDK derives the schemas from them and does not know attrs."""

from __future__ import annotations

from dataclasses import dataclass, field

from mvsep_async.catalogue.algorithm import Algorithm
from mvsep_async.catalogue.price import credits_per_minute
from mvsep_async.catalogue.stems import outputs_for
from mvsep_async.jobs.job import Job
from mvsep_async.jobs.progress import Progress
from mvsep_async.models.stage import Stage

__all__ = [
    "AlgorithmDetails",
    "AlgorithmSummary",
    "EstimateResult",
    "JobResult",
    "OptionDetails",
    "SongList",
    "SongPrice",
    "describe",
    "job_result",
    "song_of",
]


@dataclass(frozen=True)
class AlgorithmSummary:
    """One algorithm. `credits_per_minute`: the price with its default options. `rating`: of 5, by users."""

    sep_type: int
    name: str
    credits_per_minute: float
    for_accounts: str
    rating: float | None
    stems: list[str]
    purpose: str

    @classmethod
    def of(cls, algorithm: Algorithm, purpose: str = "") -> AlgorithmSummary:
        """Return the summary of an algorithm; `purpose` defaults to its description."""
        return cls(
            sep_type=algorithm.sep_type,
            name=algorithm.name,
            credits_per_minute=float(credits_per_minute(algorithm)),
            for_accounts=algorithm.plan.name.lower(),
            rating=None if algorithm.rating is None else round(float(algorithm.rating), 2),
            stems=list(outputs_for(algorithm, None).values()),
            purpose=purpose or algorithm.short_description()[:300],
        )


@dataclass(frozen=True)
class OptionDetails:
    """One option: `choices` maps keys to labels; either may be given. Empty `choices` mean free text."""

    name: str
    label: str
    choices: dict[str, str]
    default: str | None
    required: bool


@dataclass(frozen=True)
class AlgorithmDetails:
    """One algorithm with its options."""

    algorithm: AlgorithmSummary
    options: list[OptionDetails]

    @classmethod
    def of(cls, algorithm: Algorithm) -> AlgorithmDetails:
        """Return the details of an algorithm."""
        return cls(
            AlgorithmSummary.of(algorithm),
            [
                OptionDetails(field.name, field.label, dict(field.options), field.default, field.required)
                for field in algorithm.fields
            ],
        )


@dataclass(frozen=True)
class SongList:
    """Songs in the allowed folders. `more`: whether there are more than are listed."""

    songs: list[str]
    more: bool


@dataclass(frozen=True)
class SongPrice:
    """The length and the price of one song."""

    song: str
    seconds: float
    credits: int


@dataclass(frozen=True)
class EstimateResult:
    """The price of separating songs, for an account with premium; a free account pays no credits.

    `credits_left_of_limit`: what this server may still spend. `unreadable`: files whose length is not known.
    """

    algorithm: str
    songs: list[SongPrice]
    credits: int
    account_credits: float
    account_is_premium: bool
    credits_left_of_limit: int
    unreadable: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class JobResult:
    """The state of one job. `files`: the stems that are complete on disk; `stems`: those that can be downloaded."""

    job: str
    song: str
    state: str
    done: bool
    percent: float | None
    summary: str
    stems: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    error: str | None = None


async def job_result(job: Job, files: list[str] | None = None) -> JobResult:
    """Return the state of a job; it does not wait."""
    separation = await job if job.done() and job.error is None else None
    fraction = job.progress.fraction
    return JobResult(
        job=job.id,
        song=song_of(job),
        state=job.stage.value,
        done=job.done(),
        percent=None if fraction is None else round(100 * fraction, 1),
        summary=describe(job.progress),
        stems=[file.stem or file.name for file in separation.files] if separation else [],
        files=[str(path) for path in job.paths] if files is None else files,
        error=None if job.error is None else str(job.error),
    )


def song_of(job: Job) -> str:
    """Return the name of a job's song."""
    kept = job.metadata.get("song") if isinstance(job.metadata, dict) else None
    return str(kept) if kept else job.id


def describe(progress: Progress) -> str:
    """Return a line about the progress of a job."""
    parts = [progress.stage.value]
    if progress.stage is Stage.QUEUED and progress.place:
        parts.append(f"{progress.place} songs before it here")
    elif progress.queue_position and progress.stage is Stage.WAITING:
        parts.append(f"place {progress.queue_position} of {progress.queue_length} in the service's queue")
    if progress.fraction is not None:
        parts.append(f"{progress.fraction:.0%}")
    if progress.seconds_left is not None:
        parts.append(f"about {progress.seconds_left:.0f} s left")
    return ", ".join(parts)
