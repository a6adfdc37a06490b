"""The GPUs, as a calculation: who runs from when to when, settled whenever somebody looks.

No job has a task or a timer. `settle(now)` plays all starts and ends up to `now` in their order, so what a job shows
is a function of time, workers and queue, however rarely it is looked at.
"""

from __future__ import annotations

import math

from attrs import define, field

from .jobs import Job, Phase, Place, Priority

_ORDER = {priority: number for number, priority in enumerate(Priority)}


@define
class Engine:
    """Waiting and running jobs of all accounts."""

    waiting: list[Job] = field(factory=list, init=False)
    running: list[Job] = field(factory=list, init=False)
    _settled: float = field(default=-math.inf, init=False)

    def enqueue(self, job: Job) -> None:
        """A job whose file is here starts waiting."""
        job.phase = Phase.WAITING
        self.waiting.append(job)

    def settle(self, now: float, workers: int) -> list[Job]:
        """Play everything up to `now`; returns the jobs that ended, in order."""
        ended: list[Job] = []
        while True:
            start = self._next_start(workers)
            ending = min((job for job in self.running if job.due() is not None), key=_due, default=None)
            if ending is not None and _due(ending) <= min(now, start):
                self._settled = max(self._settled, _due(ending))
                self.end(ending, _due(ending), Phase.FAILED if ending.message else Phase.DONE)
                ended.append(ending)
            elif start <= now:
                self._settled = max(self._settled, start)
                self._start_first(start)
            else:
                self._settled = max(self._settled, now)
                return ended

    def next_event(self, workers: int) -> float | None:
        """When something happens next by itself; None: never, until somebody acts."""
        ends = [_due(job) for job in self.running if job.due() is not None]
        moment = min([self._next_start(workers), *ends])
        return None if moment == math.inf else moment

    def run_now(self, job: Job, now: float) -> None:
        """Start a waiting job at once, whatever the workers are doing."""
        if job in self.waiting:
            self.waiting.remove(job)
            self._run(job, now)

    def end(self, job: Job, now: float, phase: Phase) -> None:
        """The job is over; its slot and its worker are free."""
        if not job.unfinished:
            return
        for jobs in (self.waiting, self.running):
            if job in jobs:
                jobs.remove(job)
        job.phase, job.ended_at, job.shown = phase, now, None
        job.account.free_slot()

    def place(self, job: Job, now: float, strangers: int, queue_seconds: float) -> Place:
        """Where a waiting job stands; a running one stands at 1."""
        same = [other for other in self.waiting if other.priority is job.priority]
        order = 1 + same.index(job) if job in same else 1
        if strangers and queue_seconds > 0 and job in same:
            ahead = math.ceil(strangers * min(1.0, max(0.0, job.ready_at - now) / queue_seconds))
        else:
            ahead = 0
        return Place(order + ahead, max(1, len(same)) + ahead)

    def _next_start(self, workers: int) -> float:
        if len(self.running) >= workers:
            return math.inf
        moment = min((job.ready_at for job in self.waiting if not job.held), default=math.inf)
        return max(self._settled, moment)

    def _start_first(self, moment: float) -> None:
        ready = [job for job in self.waiting if not job.held and job.ready_at <= moment]
        job = min(ready, key=lambda job: (_ORDER[job.priority], job.ready_at, job.serial))
        self.waiting.remove(job)
        self._run(job, moment)

    def _run(self, job: Job, moment: float) -> None:
        job.phase, job.started_at = Phase.RUNNING, moment
        self.running.append(job)


def _due(job: Job) -> float:
    due = job.due()
    assert due is not None
    return due
