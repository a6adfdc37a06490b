"""The local queue as those who wait in it see it: each job's place, and when its turn may come."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from statistics import median
from typing import Final

import anyio
from anyio.lowlevel import checkpoint
from attrs import define, evolve, field

from mvsep_async.jobs.job import Job
from mvsep_async.jobs.lifecycle import JobState
from mvsep_async.jobs.progress import Progress
from mvsep_async.scheduling.queue import FairQueue
from mvsep_async.scheduling.slots import Slots

__all__ = ["QueueProgress", "estimated_wait"]

EVERY: Final = 1.0
"""Seconds between two times that places are told, at the default poll interval: nobody reads faster."""

SHARE: Final = 0.05
"""Most of the loop's time that telling places may take; where very many look on, they are told more rarely."""

_MEMORY: Final = 64
_ENOUGH: Final = 3
"""Stays in a slot that are remembered, and how many say something."""


def estimated_wait(place: int, *, free: int, width: int, stay: float | None) -> float | None:
    """Return the seconds until a slot is likely to be free for who has `place` before him; `None` while unknowable.

    `free` of `width` slots are idle, and a job holds one for about `stay` seconds: the busy ones come free evenly.
    """
    if place < free:
        return 0.0
    return None if stay is None else stay * (place - free + 1) / max(width, 1)


@define(eq=False)
class QueueProgress:
    """Tells those who look on at a waiting job how it moves up.

    It costs nothing for jobs that nobody looks on at. For the others a change of the queue is told at most once in
    `EVERY` seconds, one job at a time, and only where it changes something.
    """

    queue: FairQueue[Job]
    slots: Slots
    busy: Counter[str | None]
    """Slots held by each group."""
    group_cap: int | None
    time_scale: float
    clock: Callable[[], float]
    _followed: dict[Job, Progress] = field(factory=dict)
    _taken: dict[str, float] = field(factory=dict)
    _stays: deque[float] = field(factory=lambda: deque(maxlen=_MEMORY))
    _moved: anyio.Event = field(factory=anyio.Event)

    def progress(self, job: Job) -> Progress:
        """Return the progress of a job that waits here, with its place and when its turn may come."""
        request = job.request
        place = self.queue.place(job, group=request.group, priority=request.priority)
        if place is None:
            return job._progress
        stay = median(self._stays) if len(self._stays) >= _ENOUGH else None
        free = self.slots.free(self.clock())
        turns = [estimated_wait(place, free=free, width=len(self.slots.held) + free, stay=stay)]
        if self.group_cap is not None:
            own = self.queue.place_in_group(job, group=request.group, priority=request.priority) or 0
            left = self.group_cap - self.busy.get(request.group, 0)
            turns.append(estimated_wait(own, free=left, width=self.group_cap, stay=stay))
        known = [turn for turn in turns if turn is not None]
        return evolve(job._progress, place=place, starts_in=max(known) if len(known) == len(turns) else None)

    def follow(self, job: Job) -> Progress:
        """Return the progress of a job that waits here, and tell those who look on when it moves up from there."""
        self._followed[job] = progress = self.progress(job)
        return progress

    def queue_changed(self) -> None:
        """Note that the queue changed, or what its jobs wait for."""
        if self._followed:
            self._moved.set()

    def slot_acquired(self, job: Job) -> None:
        """Note that a job left the queue for a slot."""
        self._taken[job.id] = self.clock()

    def slot_released(self, job: Job, *, served: bool) -> None:
        """Note that it left its slot; `served`: because the service was through with it."""
        since = self._taken.pop(job.id, None)
        if served and since is not None:
            self._stays.append(self.clock() - since)

    async def run(self) -> None:
        """Tell places until cancelled."""
        while True:
            await self._moved.wait()
            self._moved = anyio.Event()
            spent = 0.0
            for job in list(self._followed):
                began = self.clock()
                self._tell(job)
                spent += self.clock() - began  # not what others do meanwhile
                await checkpoint()
            await anyio.sleep(max(EVERY * self.time_scale, spent / SHARE))

    def _tell(self, job: Job) -> None:
        if job.state is not JobState.QUEUED or not job.has_subscribers:
            self._followed.pop(job, None)
            return
        progress = self.progress(job)
        if progress != self._followed[job]:
            self._followed[job] = progress
            job.publish(progress)
