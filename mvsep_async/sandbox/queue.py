"""The queue and the workers: computes which job runs from when to when.

No job has a task or a timer. `advance_to(now)` plays all starts and ends up to `now` in their order, so the state of a
job is a function of time, workers and queue, however rarely it is asked for.
"""

from __future__ import annotations

import math

from attrs import define, field

from .jobs import Job, Phase, Place, Priority

_RANK = {priority: number for number, priority in enumerate(Priority)}


@define
class JobQueue:
    """Waiting and running jobs of all accounts."""

    waiting: list[Job] = field(factory=list, init=False)
    running: list[Job] = field(factory=list, init=False)
    _played_until: float = field(default=-math.inf, init=False)

    def enqueue(self, job: Job) -> None:
        """Add a job whose file has arrived to the queue."""
        job.phase = Phase.WAITING
        self.waiting.append(job)

    def advance_to(self, now: float, workers: int) -> list[Job]:
        """Play everything up to `now`; return the jobs that ended, in order."""
        ended: list[Job] = []
        while True:
            start = self._next_start(workers)
            ending = min((job for job in self.running if job.due() is not None), key=_due, default=None)
            if ending is not None and _due(ending) <= min(now, start):
                self._played_until = max(self._played_until, _due(ending))
                self.end(ending, _due(ending), Phase.FAILED if ending.message else Phase.DONE)
                ended.append(ending)
            elif start <= now:
                self._played_until = max(self._played_until, start)
                self._start_first(start)
            else:
                self._played_until = max(self._played_until, now)
                return ended

    def next_event(self, workers: int) -> float | None:
        """Return when the next job starts or ends by itself; None: none does."""
        ends = [_due(job) for job in self.running if job.due() is not None]
        moment = min([self._next_start(workers), *ends])
        return None if moment == math.inf else moment

    def run_now(self, job: Job, now: float) -> None:
        """Start a waiting job at once, even if all workers are busy."""
        if job in self.waiting:
            self.waiting.remove(job)
            self._run(job, now)

    def end(self, job: Job, now: float, phase: Phase) -> None:
        """End a job in that phase, and free its slot and its worker."""
        if not job.unfinished:
            return
        for jobs in (self.waiting, self.running):
            if job in jobs:
                jobs.remove(job)
        job.phase, job.ended_at, job.override = phase, now, None
        job.account.release_slot()

    def place(self, job: Job, now: float, jobs_ahead: int, queue_seconds: float) -> Place:
        """Return the place of a waiting job; a running one is at 1."""
        same = [other for other in self.waiting if other.priority is job.priority]
        order = 1 + same.index(job) if job in same else 1
        if jobs_ahead and queue_seconds > 0 and job in same:
            ahead = math.ceil(jobs_ahead * min(1.0, max(0.0, job.ready_at - now) / queue_seconds))
        else:
            ahead = 0
        return Place(order + ahead, max(1, len(same)) + ahead)

    def _next_start(self, workers: int) -> float:
        if len(self.running) >= workers:
            return math.inf
        moment = min((job.ready_at for job in self.waiting if not job.manual), default=math.inf)
        return max(self._played_until, moment)

    def _start_first(self, moment: float) -> None:
        ready = [job for job in self.waiting if not job.manual and job.ready_at <= moment]
        job = min(ready, key=lambda job: (_RANK[job.priority], job.ready_at, job.serial))
        self.waiting.remove(job)
        self._run(job, moment)

    def _run(self, job: Job, moment: float) -> None:
        job.phase, job.started_at = Phase.RUNNING, moment
        self.running.append(job)


def _due(job: Job) -> float:
    due = job.due()
    assert due is not None
    return due
