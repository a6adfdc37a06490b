"""Live progress of the jobs at the service: what the polls show, and estimates between them."""

from __future__ import annotations

from collections.abc import Callable
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

__all__ = ["LiveProgress"]

TICK: Final = 0.8
"""Seconds between two estimates of a job's progress, so that a progress bar moves at least once a second."""


@define(eq=False)
class _Shown:
    """A job, and what is published of it."""

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
    _shown: dict[str, _Shown] = field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        self.durations.learn(self.registry.journal.durations)

    def watch(self, job: JobEntry, *, accepted_at: float) -> None:
        """Start showing a job. `accepted_at`: when the service accepted it, by this object's clock."""
        self._shown[job.id] = _Shown(job, Estimate(accepted_at, self.time_scale))

    def forget(self, job: JobEntry) -> None:
        """Stop showing a job; does nothing if it is unknown."""
        self._shown.pop(job.id, None)

    def polled(self, job: JobEntry, progress: Progress) -> None:
        """Publish what a poll shows."""
        if (shown := self._shown.get(job.id)) is not None:
            now = self.clock()
            shown.progress = evolve(progress, stage=Stage(job.state.value))
            shown.estimate.polled(shown.progress, now, waiting=self.durations.waiting())
            self._publish(shown, now)

    def failed(self, job: JobEntry, message: str) -> None:
        """Publish why a poll failed, with the progress of the last one."""
        if (shown := self._shown.get(job.id)) is not None:
            shown.progress = evolve(shown.progress, message=message)
            self._publish(shown, self.clock())

    def learn(self, job: JobEntry) -> None:
        """Record the duration of a job that a poll shows as done, for the estimates of later ones."""
        shown = self._shown.get(job.id)
        if shown is None or job.facts.accepted_at is None:
            return
        durations = shown.estimate.durations(self.clock())
        if durations is None:
            return
        waiting, processing = durations
        size, algorithm = job.progress.bytes_total, job.request.settings.algorithm
        duration = JobDuration(algorithm=algorithm, size=size, waiting=waiting, processing=processing)
        self.durations.learn([duration])
        self.registry.journal.learn(duration)

    async def run(self) -> None:
        """Update the estimates of jobs with subscribers until cancelled."""
        while True:
            await anyio.sleep(TICK * self.time_scale)
            now = self.clock()
            for shown in list(self._shown.values()):
                if shown.job.has_subscribers and shown.job.state in AT_SERVICE:
                    self._publish(shown, now)

    def _publish(self, shown: _Shown, now: float) -> None:
        """Publish the progress of the last poll with the estimated fraction and time left."""
        job = shown.job
        estimated = shown.estimate.at(
            shown.progress,
            now,
            before=job.progress.fraction,
            processing=self.durations.processing(job.request.settings.algorithm, job.progress.bytes_total),
            waiting=self.durations.waiting(),
            downloads=job.request.target is not None,
        )
        self.registry.show(job, estimated)
