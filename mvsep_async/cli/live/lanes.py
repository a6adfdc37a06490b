"""Tracks running jobs for the display: how long each runs, how fast its bytes move, when the run is likely to end."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Final

from attrs import define, evolve, field, frozen

from mvsep_async.cli.live.board import Board, Flow, Lane, Speed, TimeLeft, makespan
from mvsep_async.jobs.progress import Progress
from mvsep_async.models.stage import Stage

__all__ = ["LaneTracker", "Running", "Snapshot"]

_OVERDUE: Final = 0.1
"""Share of a typical duration that a job is estimated to need which has already taken longer."""

_LATE: Final = 1.5
"""A job that has its slot for so many times as long as others had makes the run's end unknown."""

_HELD: Final = 1 << 16
"""Bytes at the end of an upload that may be kept back until a slot is free, or a little more."""

_HAS_SLOT: Final = (Stage.FETCHING, Stage.WAITING, Stage.DISTRIBUTING, Stage.PROCESSING, Stage.MERGING)
_SEPARATED: Final = (Stage.DONE, Stage.DOWNLOADING)


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
    stage: Stage | None = None
    stage_began: float = 0.0
    slot_began: float | None = None
    """When the job came to the service; `None` before, and for one that was there before this run saw it."""
    speed: Speed = field(factory=Speed)


@define(eq=False)
class LaneTracker:
    """Makes boards of snapshots. A job keeps its lane until it ends; the lanes below it then move up."""

    title: str = ""
    clock: Callable[[], float] = time.monotonic
    _start: float = field(init=False)
    _begun: bool = False
    _tracked: dict[str, _Tracked] = field(factory=dict)
    _slots_timed: int = 0
    _slot_seconds: float = 0.0
    _uploads: Flow = field(factory=Flow)
    _downloads: Flow = field(factory=Flow)
    _folders: dict[str, set[str]] = field(factory=dict)
    """The folders of the songs of each title, of those that are over too: their lines are still to be read."""
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
        # A song whose upload waits for another one's is queued, whatever it is called elsewhere.
        running = {id: job for id, job in snapshot.running.items() if not _waits_for_the_line(job.progress)}
        snapshot = evolve(snapshot, running=running, queued=snapshot.queued + len(snapshot.running) - len(running))
        for id in self._tracked.keys() - running.keys():
            self._leave_slot(self._tracked.pop(id), now)
        for job in running.values():
            self._folders.setdefault(job.name, set()).add(job.folder)
        changed = [id for id, job in running.items() if self._follow(id, job.progress.stage, now)]
        self._begun = True
        self._uploads.update(_moving(running, Stage.UPLOADING), now)
        self._downloads.update(_moving(running, Stage.DOWNLOADING), now)
        lanes = {
            id: Lane(
                name=running[id].name,
                folder=running[id].folder if len(self._folders[running[id].name]) > 1 else "",
                progress=running[id].progress,
                speed=tracked.speed.update(_bytes_moved(running[id].progress), now),
                elapsed=now - tracked.stage_began,
            )
            for id, tracked in self._tracked.items()
        }
        left = self._left.update(None if snapshot.searching else self._estimate(snapshot, now), now)
        if left is not None:  # it follows new estimates slowly, so a lane's could be longer
            left = max([left, *(lane.progress.seconds_left or 0.0 for lane in lanes.values())])
        board = Board(
            title=self.title,
            lanes=tuple(lanes.values()),
            queued=snapshot.queued,
            searching=snapshot.searching,
            done=snapshot.done,
            failed=snapshot.failed,
            credits=snapshot.credits,
            elapsed=now - self._start,
            left=None if snapshot.notice else left,
            notice=snapshot.notice,
        )
        return board, [lanes[id] for id in changed]

    def _follow(self, id: str, stage: Stage, now: float) -> bool:
        """Follow a job to its stage; return whether the stage is another one than before."""
        known = id in self._tracked
        tracked = self._tracked.setdefault(id, _Tracked())
        if tracked.stage is stage:
            return False
        if stage in _HAS_SLOT and tracked.stage not in _HAS_SLOT and (known or self._begun):
            tracked.slot_began = now
        elif stage not in _HAS_SLOT:
            self._leave_slot(tracked, now, timed=stage in _SEPARATED)
        tracked.stage, tracked.stage_began = stage, now
        return True

    def _leave_slot(self, tracked: _Tracked, now: float, *, timed: bool = True) -> None:
        """Note how long a job had its slot."""
        if tracked.slot_began is not None and timed:
            self._slots_timed += 1
            self._slot_seconds += now - tracked.slot_began
        tracked.slot_began = None

    def _estimate(self, snapshot: Snapshot, now: float) -> float | None:
        """Return the seconds left of the run; `None` while no job has ended and the running ones do not say.

        The slots, the uploads and the downloads each bound it: the longest one counts, with what comes before its first
        and after its last song.
        """
        at_service = {id: job.progress for id, job in snapshot.running.items() if job.progress.stage in _HAS_SLOT}
        uploading = {
            id: job.progress.bytes_sent or 0
            for id, job in snapshot.running.items()
            if job.progress.stage is Stage.UPLOADING
        }
        downloading = {
            id: job.progress.bytes_received or 0
            for id, job in snapshot.running.items()
            if job.progress.stage in _SEPARATED
        }
        unsent = snapshot.queued + len(uploading)
        if not (unsent or at_service or downloading):
            return None
        typical = self._typical_slot(at_service, now)
        if self._is_late(at_service, now):
            return None
        lefts = []
        for id, progress in at_service.items():
            left = progress.seconds_left
            if left is None:
                if typical is None:
                    return None
                began = self._tracked[id].slot_began
                left = max(typical - (now - (self._start if began is None else began)), _OVERDUE * typical)
            lefts.append(left)
        if unsent and typical is None:
            return None
        slots = makespan(lefts, unsent, max(1, snapshot.slots), typical or 0.0)
        sent = (
            self._uploads.seconds(unfinished=uploading, unknown=snapshot.queued) + (typical or 0.0) if unsent else 0.0
        )
        last = self._downloads.seconds(unfinished={}, unknown=1) if unsent or at_service else 0.0
        received = self._downloads.seconds(unfinished=downloading, unknown=unsent + len(at_service))
        return max(max(slots, sent) + last, received)

    def _is_late(self, at_service: Mapping[str, Progress], now: float) -> bool:
        """Tell whether a job takes much longer than those before it did: then nothing is known about its end."""
        if not self._slots_timed:
            return False
        longest = _LATE * self._slot_seconds / self._slots_timed
        begans = (self._tracked[id].slot_began for id in at_service)
        return any(began is not None and now - began > longest for began in begans)

    def _typical_slot(self, at_service: Mapping[str, Progress], now: float) -> float | None:
        """Return how long a job has a slot: the mean of those that are over, and of what the running ones say."""
        count, seconds = self._slots_timed, self._slot_seconds
        for id, progress in at_service.items():
            began = self._tracked[id].slot_began
            if progress.seconds_left is not None and began is not None:
                count += 1
                seconds += now - began + progress.seconds_left
        return seconds / count if count else None


def _waits_for_the_line(progress: Progress) -> bool:
    return progress.stage is Stage.UPLOADING and not progress.bytes_sent and not progress.message


def _moving(running: Mapping[str, Running], stage: Stage) -> dict[str, tuple[int, int | None]]:
    """Return the bytes so far and in all of the jobs that are transferred, but for those that are held for a slot."""
    moving = {}
    for id, job in running.items():
        progress = job.progress
        if progress.stage is not stage:
            continue
        total = progress.bytes_total
        if stage is Stage.DOWNLOADING:
            moving[id] = (progress.bytes_received or 0, total)
        elif total is None or total - (progress.bytes_sent or 0) > _HELD:
            moving[id] = (progress.bytes_sent or 0, total)
    return moving


def _bytes_moved(progress: Progress) -> int | None:
    if progress.stage is Stage.UPLOADING:
        return progress.bytes_sent
    return progress.bytes_received if progress.stage is Stage.DOWNLOADING else None
