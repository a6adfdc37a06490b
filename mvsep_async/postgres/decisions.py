"""Decide which process may take slots, jobs and requests of a shared journal. Pure: no database, no clock."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from math import inf
from typing import Final

from attrs import define, field, frozen

from mvsep_async.jobs.lifecycle import AT_SERVICE, JobState

__all__ = [
    "Candidate",
    "Lease",
    "ProcessRow",
    "alive",
    "choose",
    "full_groups",
    "granted",
    "may_take",
    "ready",
    "reserved",
    "share_of",
]

TURN_PATIENCE: Final = 2.0
"""Seconds that a free slot waits for the process whose turn it is. After that the next one gets it: the
process is probably suspended, or cannot reach the service."""

SKIPPED: Final = 15.0
"""Seconds for which such a process gets no turn, unless it acquires a slot before."""

RESERVE: Final = 2
"""Requests of a minute that only creates and cancels may use."""


@frozen
class ProcessRow:
    """A process that has the journal open. Times are seconds by the database's clock."""

    id: str
    lease_until: float
    skipped_until: float = -inf


@frozen
class Candidate:
    """The first queued job of a group, for the choice of the next one. Groups with a lower `turn` come first."""

    job: str
    owner: str
    group: str
    turn: int


def alive(processes: Iterable[ProcessRow], now: float) -> set[str]:
    """Return the processes whose leases are valid."""
    return {process.id for process in processes if process.lease_until > now}


def ready(processes: Iterable[ProcessRow], now: float, me: str) -> set[str]:
    """Return the processes that can take a slot, which always includes this one if its lease is valid."""
    return {row.id for row in processes if row.lease_until > now and (row.id == me or row.skipped_until <= now)}


def full_groups(held: Mapping[str, int], cap: int | None) -> set[str]:
    """Return the groups that hold as many slots as they may."""
    return set() if cap is None else {group for group, count in held.items() if count >= cap}


def choose(candidates: Iterable[Candidate], full: Collection[str] = ()) -> Candidate | None:
    """Return the job whose turn it is."""
    return min((one for one in candidates if one.group not in full), key=lambda one: one.turn, default=None)


def may_take(state: JobState, *, needs_file: bool, has_target: bool, machine: str | None, mine: str) -> bool:
    """Tell whether a process on the machine `mine` may continue a job whose process has ended.

    A job that is, or may be, at the service is continued anywhere; one that still needs its song where the song can be
    read; a finished one with a target where the target is. `machine`: where the paths of the job are valid,
    `None` for everywhere.
    """
    readable = machine is None or machine == mine
    match state:
        case JobState.QUEUED | JobState.UPLOADING:
            return readable or not needs_file
        case JobState.CREATING | JobState.LOST:
            return True
        case JobState.DONE | JobState.DOWNLOADING:
            return has_target and readable
        case state if state in AT_SERVICE:
            return True
        case _:
            return False


def share_of(holding: int, elsewhere: int, processes: int) -> float:
    """Return the part of the account's requests that a process should use for polls: by the slots that it holds.

    It is at least half of an equal part, for the process's other calls.
    """
    least = 0.5 / max(processes, 1)
    return 1.0 if processes <= 1 else max(least, holding / max(holding + elsewhere, 1))


def reserved(*, urgent: bool, limit: int) -> int:
    """Return how many requests a block must leave to others: polls leave some to creates and cancels."""
    return 0 if urgent else min(RESERVE, limit - 1)


def granted(asked: int, *, used: int, limit: int, urgent: bool) -> int:
    """Return how many of the requests asked for a process gets. `used`: those granted in the last minute."""
    return max(0, min(asked, limit - reserved(urgent=urgent, limit=limit) - used))


@define
class Lease:
    """The lease of a process on its jobs, by a local clock that does not stop while the process is suspended.

    It is renewed for `seconds` from the moment when the renewal was *sent*, and expires `margin` earlier here than in
    the database, so that it is never valid here and expired there.
    """

    seconds: float
    margin: float
    _until: float = field(default=-inf, init=False)

    def renewed(self, sent_at: float) -> None:
        """Record a renewal that was sent at this time and succeeded."""
        self._until = max(self._until, sent_at + self.seconds - self.margin)

    def ended(self) -> None:
        """Record that the lease is over."""
        self._until = -inf

    def valid(self, now: float) -> bool:
        """Tell whether the jobs certainly belong to this process."""
        return now < self._until
