"""Tracks running jobs for the display: how long each runs, how fast its bytes move, when the run is likely to end."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final

from attrs import define, field, frozen

from mvsep_async.cli.live.board import Board, Lane, Speed, TimeLeft, makespan
from mvsep_async.jobs.progress import Progress
from mvsep_async.models.stage import Stage

__all__ = ["LaneTracker", "Running", "Snapshot"]

_EARLY: Final = 0.25
"""A job first seen below this fraction is timed; one that was resumed half-way would make jobs look short."""

_FIRST: Final = (Stage.QUEUED, Stage.UPLOADING, Stage.FETCHING)
"""Stages in which a job that is there from the start has not been running before."""

_OVERDUE: Final = 0.1
"""Share of a typical duration that a job is estimated to need which has already taken longer."""

_SEPARATED: Final = (Stage.PROCESSING, Stage.MERGING, Stage.DONE, Stage.DOWNLOADING, Stage.FINISHED)


_HAS_SLOT: Final = (Stage.FETCHING, Stage.WAITING, Stage.DISTRIBUTING, Stage.PROCESSING, Stage.MERGING)


@frozen
class Running:
    """A running job: its title, its folder (shown to distinguish songs of the same title), and its progress."""

    name: str
    progress: Progress
    folder: str = ""


@frozen(kw_only=True)
class Snapshot:
    """A run at one moment: its running jobs by id, and its counts.

    `slots`: most jobs that run at one time. `notice`: why no song is sent, if so.
    """

    running: Mapping[str, Running]
    slots: int = 1
    queued: int = 0
    searching: bool = False
    done: int = 0
    failed: int = 0
    credits: float | None = None
    notice: str | None = None


@define
class _Tracked:
    began: float
    timed: bool
    stage_began: float = 0.0
    stage: Stage | None = None
    speed: Speed = field(factory=Speed)


@define(eq=False)
class LaneTracker:
    """Makes boards of snapshots. A job keeps its lane until it ends; the lanes below it then move up."""

    title: str = ""
    clock: Callable[[], float] = time.monotonic
    _start: float = field(init=False)
    _begun: bool = False
    _tracked: dict[str, _Tracked] = field(factory=dict)
    _finished: int = 0
    _finished_seconds: float = 0.0
    _left: TimeLeft = field(factory=TimeLeft)

    def __attrs_post_init__(self) -> None:
        self._start = self.clock()

    @property
    def elapsed(self) -> float:
        """Seconds since the run began."""
        return self.clock() - self._start

    def update(self, snapshot: Snapshot) -> tuple[Board, list[Lane]]:
        """Return what to show, and the lanes whose stage changed."""
        now = self.clock()
        for id in self._tracked.keys() - snapshot.running.keys():
            self._end(self._tracked.pop(id), now)
        for id, job in snapshot.running.items():
            if id not in self._tracked:
                fresh = self._begun or job.progress.stage in _FIRST
                self._tracked[id] = _Tracked(now, timed=fresh and (job.progress.fraction or 0.0) < _EARLY)
        self._begun = True
        titles = Counter(job.name for job in snapshot.running.values())
        lanes, changed = [], []
        for id, tracked in self._tracked.items():
            job = snapshot.running[id]
            if tracked.stage is not job.progress.stage:
                tracked.stage_began = now
            lane = Lane(
                name=job.name,
                folder=job.folder if titles[job.name] > 1 else "",
                progress=job.progress,
                speed=tracked.speed.update(_bytes_moved(job.progress), now),
                elapsed=now - tracked.stage_began,
            )
            lanes.append(lane)
            if tracked.stage is not job.progress.stage:
                tracked.stage = job.progress.stage
                changed.append(lane)
        left = self._left.update(None if snapshot.searching else self._estimate(snapshot, now), now)
        if left is not None:  # it follows new estimates slowly, so a lane's could be longer
            left = max([left, *(lane.progress.seconds_left or 0.0 for lane in lanes)])
        board = Board(
            title=self.title,
            lanes=tuple(lanes),
            queued=snapshot.queued,
            searching=snapshot.searching,
            done=snapshot.done,
            failed=snapshot.failed,
            credits=snapshot.credits,
            elapsed=now - self._start,
            left=None if snapshot.notice else left,
            notice=snapshot.notice,
        )
        return board, changed

    def _end(self, tracked: _Tracked, now: float) -> None:
        if tracked.timed and tracked.stage in _SEPARATED:
            self._finished += 1
            self._finished_seconds += now - tracked.began

    def _estimate(self, snapshot: Snapshot, now: float) -> float | None:
        """Return the seconds left of the run; `None` while no job has ended and the running ones do not say."""
        count, seconds = self._finished, self._finished_seconds
        for id, job in snapshot.running.items():
            if job.progress.seconds_left is not None and self._tracked[id].timed:
                count += 1
                seconds += now - self._tracked[id].began + job.progress.seconds_left
        typical = seconds / count if count else None
        slots, ahead = max(1, snapshot.slots), _sent_ahead(snapshot)
        queued = snapshot.queued + len(ahead)
        if typical is None and queued:
            return None
        running = []
        for id, job in snapshot.running.items():
            if id in ahead:
                continue
            left = job.progress.seconds_left
            if left is None:
                if typical is None:
                    return None
                left = max(typical - (now - self._tracked[id].began), _OVERDUE * typical)
            running.append(left)
        if not running and not queued:
            return None
        return makespan(running, queued, slots, typical or 0.0)


def _sent_ahead(snapshot: Snapshot) -> set[str]:
    """Return the jobs that are uploaded while others have all the slots: they begin when a slot comes free."""
    uploading = [id for id, job in snapshot.running.items() if job.progress.stage is Stage.UPLOADING]
    at_service = sum(job.progress.stage in _HAS_SLOT for job in snapshot.running.values())
    return set(uploading[max(0, snapshot.slots - at_service) :])


def _bytes_moved(progress: Progress) -> int | None:
    if progress.stage is Stage.UPLOADING:
        return progress.bytes_sent
    return progress.bytes_received if progress.stage is Stage.DOWNLOADING else None
