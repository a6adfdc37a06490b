"""The delay of progress, on a real socket at 60 requests a minute.

Six songs wait 10 s in the service's queue and are separated in 18 s, while each of them is followed.
"""

from __future__ import annotations

import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import anyio
from attrs import define, field

from benchmarks.report import Row
from mvsep_async import MVSepClient, Progress, Stage
from mvsep_async.config import POLL_INTERVAL
from mvsep_async.jobs.job import Job
from mvsep_async.sandbox import Sandbox

__all__ = ["Followed", "measure", "run"]

SONGS: Final = 6
WORK: Final = 18.0
QUEUE: Final = 10.0
PER_MINUTE: Final = 60


@define
class Followed:
    """The progress of one followed job, with times in seconds of the sandbox's clock."""

    seen: list[tuple[float, Progress]] = field(factory=list)
    began: float = 0.0
    ended: float = 0.0
    """When the service began and ended to process it."""

    def first(self, *stages: Stage) -> float:
        """Return when one of these stages was shown first."""
        return next(at for at, progress in self.seen if progress.stage in stages)

    @property
    def stage_delay(self) -> float:
        """Seconds from the beginning of its processing until that was shown."""
        return self.first(Stage.PROCESSING, Stage.MERGING, Stage.DISTRIBUTING, Stage.DONE) - self.began

    @property
    def end_delay(self) -> float:
        """Seconds from its end until that was shown."""
        return self.first(Stage.DONE) - self.ended

    @property
    def longest_still(self) -> float:
        """The longest time that the fraction did not move while the job was shown as processed."""
        moved = self.first(Stage.PROCESSING, Stage.DONE)
        longest, before = 0.0, -1.0
        for at, progress in self.seen:
            if progress.stage not in (Stage.PROCESSING, Stage.DONE):
                continue
            if (progress.fraction or 0.0) > before:
                longest, moved, before = max(longest, at - moved), at, progress.fraction or 0.0
        return max(longest, self.first(Stage.DONE) - moved)

    @property
    def places(self) -> int:
        """How many times a place in the service's queue was shown."""
        return sum(progress.queue_position is not None for _, progress in self.seen)

    @property
    def half_time_error(self) -> float | None:
        """The error of the time left half-way through the processing, relative to the actual time left."""
        half = (self.began + self.ended) / 2
        known = [(at, p.seconds_left) for at, p in self.seen if at <= half and p.seconds_left is not None]
        if not known:
            return None
        at, left = known[-1]
        return abs(left - (half - at) - (self.ended - half)) / (self.ended - half)

    @property
    def largest_jump(self) -> float:
        """The largest change of the time left from one progress to the next, beyond the time that passed."""
        jumps = [0.0]
        for (since, a), (at, b) in zip(self.seen, self.seen[1:], strict=False):
            if a.seconds_left and b.seconds_left is not None:
                jumps.append((abs(b.seconds_left - a.seconds_left) - (at - since)) / a.seconds_left)
        return max(jumps)


async def run(scale: float = 1.0, *, queue: float = QUEUE, journal: Path | None = None) -> tuple[list[Followed], int]:
    """Separate the songs with all times multiplied by `scale`; return the observed progress and the number of 429s."""
    async with Sandbox(
        stems="copy",
        job_seconds=WORK * scale,
        queue_seconds=queue * scale,
        requests_per_minute=round(PER_MINUTE / scale),
    ) as sandbox:
        with TemporaryDirectory() as folder:
            songs = [Path(folder) / f"song {number}.mp3" for number in range(SONGS)]
            for number, song in enumerate(songs):
                song.write_bytes(b"ID3" + bytes([number]) * 10_000)
            offset = sandbox.now() - time.monotonic()
            followed = [Followed() for _ in songs]
            async with (
                MVSepClient(
                    sandbox.premium_token, base_url=sandbox.url, poll_interval=POLL_INTERVAL * scale, journal=journal
                ) as client,
                anyio.create_task_group() as tasks,
            ):
                jobs = [await client.submit(song, algorithm=40) for song in songs]
                for job, one in zip(jobs, followed, strict=True):
                    tasks.start_soon(_follow, job, one, offset)
            for job, one in zip(jobs, followed, strict=True):
                record = sandbox.job(str(job.hash))
                one.began, one.ended = record.started_at or 0.0, record.done_at or 0.0
            return followed, sandbox.count_status(429)


async def _follow(job: Job, one: Followed, offset: float) -> None:
    async for progress in job:
        one.seen.append((time.monotonic() + offset, progress))


def measure(quick: bool) -> list[Row]:
    """Run twice with one journal: in the second run, the typical durations are known."""
    scale = 0.1 if quick else 1.0
    with TemporaryDirectory() as folder:
        journal = Path(folder) / "jobs.db"
        first, refused = anyio.run(lambda: run(scale, journal=journal))
        second, refused_again = anyio.run(lambda: run(scale, journal=journal))
    rows = [*_rows("first run", first, scale), *_rows("second run", second, scale)]
    errors = [one.half_time_error for one in second]
    rows += [
        Row(
            name="second run: error of the time left at half time, worst",
            unit="of it",
            ours=max(1.0 if error is None else error for error in errors),
            goal=0.25,
        ),
        Row(
            name="second run: largest jump of the time left",
            unit="of it",
            ours=max(one.largest_jump for one in second),
            goal=0.5,
        ),
        Row(name="answers 429", unit="", ours=float(refused + refused_again), goal=0),
    ]
    return rows


def _rows(name: str, followed: list[Followed], scale: float) -> list[Row]:
    """Compare with the goals, which are in seconds of the real service."""
    figures = (
        ("stage begun → shown, worst", max(one.stage_delay for one in followed) / scale, 8.0),
        ("ended → shown, worst", max(one.end_delay for one in followed) / scale, 8.0),
        ("bar still while processed, longest", max(one.longest_still for one in followed) / scale, 3.0),
    )
    rows = [Row(name=f"{name}: {what}", unit="s", ours=value, goal=goal) for what, value, goal in figures]
    places = min(one.places for one in followed)
    return [*rows, Row(name=f"{name}: queue places shown, least", unit="", ours=places, goal=1, at_least=True)]
