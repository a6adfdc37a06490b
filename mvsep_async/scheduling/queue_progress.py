"""Progress in the local queue: each job's place, and the estimated time until it gets a slot."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from statistics import median
from typing import Final

import anyio
from anyio.lowlevel import checkpoint
from attrs import define, evolve, field

from mvsep_async.concurrency import Wakeup
from mvsep_async.jobs.entry import JobEntry
from mvsep_async.jobs.lifecycle import JobState
from mvsep_async.jobs.progress import Progress
from mvsep_async.scheduling.queue import FairQueue
from mvsep_async.scheduling.slots import Slots

__all__ = ["QueueProgress", "estimated_wait"]

EVERY: Final = 1.0
"""Seconds between two updates of places: people do not read faster."""

SHARE: Final = 0.05
"""Largest part of the event loop's time that updates of places use; with many subscribers they are less frequent."""

_MEMORY: Final = 64
_ENOUGH: Final = 3
"""Number of slot times that are remembered, and that an estimate needs."""


def estimated_wait(place: int, *, free: int, slots: int, slot_time: float | None) -> float | None:
    """Return the estimated seconds until a job with `place` jobs before it gets a slot; `None` if unknown.

    `free` of the `slots` are free. Jobs keep a slot for about `slot_time` seconds, so slots in use come free evenly.
    """
    if place < free:
        return 0.0
    return None if slot_time is None else slot_time * (place - free + 1) / max(slots, 1)


@define(eq=False)
class QueueProgress:
    """Publishes the places of queued jobs to their subscribers.

    Jobs without subscribers cost nothing. For the others, changes are published at most once in `EVERY` seconds, one
    job at a time, and only if their progress differs.
    """

    queue: FairQueue[JobEntry]
    slots: Slots
    message: Callable[[], str | None]
    """Returns why no create begins, or `None` if nothing is wrong."""
    time_scale: float
    clock: Callable[[], float]
    _tracked: dict[JobEntry, Progress] = field(factory=dict)
    _acquired_at: dict[str, float] = field(factory=dict)
    _slot_times: deque[float] = field(factory=lambda: deque(maxlen=_MEMORY))
    _changed: Wakeup = field(factory=Wakeup)

    def of(self, job: JobEntry) -> Progress:
        """Return the progress of a queued job, with its place and the estimated wait."""
        place = self.queue.place(job)
        if place is None:
            return job.progress
        slot_time = median(self._slot_times) if len(self._slot_times) >= _ENOUGH else None
        free = self.slots.free(self.clock())
        waits = [estimated_wait(place, free=free, slots=len(self.slots.held) + free, slot_time=slot_time)]
        if (cap := self.slots.group_cap) is not None:
            own = self.queue.place_in_group(job) or 0
            left = cap - self.slots.held_by(job.request.group)
            waits.append(estimated_wait(own, free=left, slots=cap, slot_time=slot_time))
        known = [wait for wait in waits if wait is not None]
        return evolve(
            job.progress,
            place=place,
            starts_in=max(known) if len(known) == len(waits) else None,
            message=self.message() or job.progress.message,
        )

    def track(self, job: JobEntry) -> Progress:
        """Return the progress of a queued job, and publish later changes of its place."""
        self._tracked[job] = progress = self.of(job)
        return progress

    def queued_again(self, job: JobEntry) -> None:
        """Publish the place of a job that is back in the queue."""
        self._tracked[job] = job.progress
        self.queue_changed()

    def queue_changed(self) -> None:
        """Publish places soon, since the queue or the slots changed."""
        if self._tracked:
            self._changed.set()

    def slot_acquired(self, job: JobEntry) -> None:
        """Record when a job got its slot."""
        self._acquired_at[job.id] = self.clock()

    def slot_released(self, job: JobEntry, *, served: bool) -> None:
        """Learn from a job that freed its slot how long slots are kept, if it was `served` (its separation is done)."""
        since = self._acquired_at.pop(job.id, None)
        if served and since is not None:
            self._slot_times.append(self.clock() - since)

    async def run(self) -> None:
        """Publish places until cancelled."""
        while True:
            await self._changed.wait()
            spent = 0.0
            for job in list(self._tracked):
                began = self.clock()
                self._publish(job)
                spent += self.clock() - began  # excludes the time of other tasks
                await checkpoint()
            await anyio.sleep(max(EVERY * self.time_scale, spent / SHARE))

    def _publish(self, job: JobEntry) -> None:
        if job.state is not JobState.QUEUED or not job.has_subscribers:
            self._tracked.pop(job, None)
            return
        progress = self.of(job)
        if progress != self._tracked[job]:
            self._tracked[job] = progress
            job.publish(progress)
