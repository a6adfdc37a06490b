"""The phases of each job over time, and the slot that it had: what a report draws. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

from attrs import define, field, frozen

from mvsep_async.models.stage import Stage

__all__ = ["JobTimeline", "Lane", "Phase", "Span", "TimelineRecorder", "assign_lanes"]

Phase: TypeAlias = Literal["up", "wait", "work", "down"]
"""Sending, waiting at the service, being separated, fetching."""

_PHASES: Final[Mapping[Stage, Phase]] = MappingProxyType(
    {
        Stage.UPLOADING: "up",
        Stage.FETCHING: "up",
        Stage.WAITING: "wait",
        Stage.DISTRIBUTING: "work",
        Stage.PROCESSING: "work",
        Stage.MERGING: "work",
        Stage.DOWNLOADING: "down",
    }
)


@frozen
class Span:
    """One phase of a job, in Unix time. The time in the local queue is not a phase."""

    phase: Phase
    start: float
    end: float


@frozen
class JobTimeline:
    """The phases of one job of a song, and its step."""

    step: str
    spans: tuple[Span, ...]


@define
class TimelineRecorder:
    """Turn the stages of one job, as they come, into spans."""

    spans: list[Span] = field(factory=list)
    _phase: Phase | None = None
    _since: float = 0.0

    def record(self, stage: Stage, now: float) -> None:
        """Record that the job is in `stage` now."""
        phase = _PHASES.get(stage)
        if phase == self._phase:
            return
        if self._phase is not None and now > self._since:
            self.spans.append(Span(self._phase, self._since, now))
        self._phase, self._since = phase, now

    def end(self, now: float) -> None:
        """End the current phase."""
        self.record(Stage.FINISHED, now)


Lane: TypeAlias = list[tuple[str, tuple[Span, ...]]]
"""One slot: label and spans of the jobs that had it, one after the other."""


def assign_lanes(jobs: Iterable[tuple[str, tuple[Span, ...]]]) -> list[Lane]:
    """Assign each job the first lane that is free when it starts, as slots are.

    A job holds its slot until it is separated; its download goes on beside the next one.
    """
    timed = sorted(
        ((spans[0].start, _slot_end(spans), label, spans) for label, spans in jobs if spans), key=lambda job: job[0]
    )
    lanes: list[Lane] = []
    free: list[int] = []
    busy: list[tuple[float, int]] = []
    for start, end, label, spans in timed:
        while busy and busy[0][0] <= start:
            heapq.heappush(free, heapq.heappop(busy)[1])
        if free:
            lane = heapq.heappop(free)
        else:
            lane = len(lanes)
            lanes.append([])
        lanes[lane].append((label, spans))
        heapq.heappush(busy, (end, lane))
    return lanes


def _slot_end(spans: tuple[Span, ...]) -> float:
    return max((span.end for span in spans if span.phase != "down"), default=spans[0].start)
