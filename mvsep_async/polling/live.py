"""Live progress of the jobs at the service: what the polls show, and estimates between them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

import anyio
from attrs import define, evolve, field

from mvsep_async.jobs.entry import JobEntry
from mvsep_async.jobs.journal import JobDuration
from mvsep_async.jobs.lifecycle import AT_SERVICE
from mvsep_async.jobs.progress import Progress
from mvsep_async.jobs.registry import JobRegistry
from mvsep_async.models.stage import Stage
from mvsep_async.polling.durations import Durations
from mvsep_async.polling.estimate import Estimate

__all__ = ["LiveJob", "LiveProgress"]

TICK: Final = 0.8
"""Seconds between two estimates of a job's progress, so that a progress bar moves at least once a second."""


@define(eq=False)
class LiveJob:
    """A job at the service, and what is published of it."""

    job: JobEntry
    estimate: Estimate
    progress: Progress = field(factory=lambda: Progress(stage=Stage.WAITING))
    """The progress that the last poll showed."""


@define(eq=False)
class LiveProgress:
    """Publishes the progress of jobs at the service, and learns from finished jobs how long such jobs take.

    Jobs without subscribers are updated only when they are polled.
    """

    registry: JobRegistry
    time_scale: float
    clock: Callable[[], float]
    durations: Durations = field(factory=Durations)

    def __attrs_post_init__(self) -> None:
        self.durations.learn(self.registry.journal.durations)

    def polled(self, live: LiveJob, progress: Progress) -> None:
        """Publish what a poll shows."""
        now = self.clock()
        live.progress = evolve(progress, stage=Stage(live.job.state.value))
        live.estimate.polled(live.progress, now, waiting=self.durations.waiting())
        self._publish(live, now)

    def failed(self, live: LiveJob, message: str) -> None:
        """Publish why a poll failed, with the progress of the last one."""
        live.progress = evolve(live.progress, message=message)
        self._publish(live, self.clock())

    def learn(self, live: LiveJob) -> None:
        """Record the duration of a job that a poll shows as done, for the estimates of later ones."""
        job, durations = live.job, live.estimate.durations(self.clock())
        if durations is None or job.facts.accepted_at is None:
            return
        waiting, processing = durations
        size, algorithm = job.progress.bytes_total, job.request.settings.algorithm
        duration = JobDuration(algorithm=algorithm, size=size, waiting=waiting, processing=processing)
        self.durations.learn([duration])
        self.registry.journal.learn(duration)

    async def run(self, jobs: Callable[[], Iterable[LiveJob]]) -> None:
        """Update the estimates of those `jobs` that have subscribers, until cancelled."""
        while True:
            await anyio.sleep(TICK * self.time_scale)
            now = self.clock()
            for live in jobs():
                if live.job.has_subscribers and live.job.state in AT_SERVICE:
                    self._publish(live, now)

    def _publish(self, live: LiveJob, now: float) -> None:
        """Publish the progress of the last poll with the estimated fraction and time left."""
        job = live.job
        estimated = live.estimate.at(
            live.progress,
            now,
            before=job.progress.fraction,
            processing=self.durations.processing(job.request.settings.algorithm, job.progress.bytes_total),
            waiting=self.durations.waiting(),
            downloads=job.request.target is not None,
        )
        self.registry.show(job, estimated)
