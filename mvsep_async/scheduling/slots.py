"""The account's slots: the limit, the jobs that hold one, and an estimate of those that other programs use."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import inf
from typing import Final

from attrs import define, field

from mvsep_async.backoff import Backoff
from mvsep_async.jobs.entry import JobEntry
from mvsep_async.jobs.lifecycle import AT_SERVICE, HOLDS_SLOT, JobState
from mvsep_async.models.user import CurrentQueue, User

__all__ = ["Slots", "allowed", "count_accepted", "count_listed"]

_PREMIUM: Final = 10
_FREE: Final = 1
"""Most unfinished jobs of a premium and of a free account (from the service's API page)."""

FIRST_PAUSE: Final = 5.0
STATED_PAUSE: Final = 30.0
LONGEST_PAUSE: Final = 60.0
"""Seconds until one more create is tried after a refused one. They grow, since a refusal may cost a whole upload. The
first pause is longer after a refusal in the service's exact words: another job runs, and jobs take about a minute."""


ASK_AGAIN: Final = 10.0
"""Seconds until an account that reports to be full is checked again, which costs a request and no upload."""

_PAUSES: Final = Backoff(FIRST_PAUSE, LONGEST_PAUSE)


def allowed(user: User | None) -> int:
    """Return how many unfinished jobs an account may have; if it is unknown, as many as a free account."""
    return _PREMIUM if user is not None and user.is_premium else _FREE


def count_listed(holders: Iterable[JobEntry], queue: CurrentQueue, elsewhere: Mapping[str, str | None]) -> int:
    """Count the jobs holding a slot that the account also counts, which excludes in-flight creates.

    `elsewhere`: jobs of other clients with this journal that hold a slot, id → hash.
    """
    if queue.jobs is None:
        return sum(job.state in AT_SERVICE for job in holders) + sum(hash is not None for hash in elsewhere.values())
    hashes = {entry.hash for entry in queue.jobs}
    return sum(job.hash in hashes for job in holders) + sum(hash in hashes for hash in elsewhere.values())


def count_accepted(holders: Iterable[JobEntry]) -> int:
    """Count the jobs that the service has, or may have; in-flight creates are excluded."""
    return sum(job.state in HOLDS_SLOT and job.state is not JobState.CREATING for job in holders)


@define
class Slots:
    """The slots of one account, some of which other programs and the web site may use.

    `limit` is the most unfinished jobs that the account may have. The *room* is how many of them this client can use,
    as far as is known: a refused create lowers it, and the account's own count sets it exactly. While the room is below
    the limit, one more create (a *probe*) is tried from time to time. `time_scale`: factor for the pauses before it.
    `group_cap`: most slots of one group, `None` for no limit.
    """

    limit: int
    time_scale: float = 1.0
    group_cap: int | None = None
    held: dict[str, str | None] = field(factory=dict, init=False)
    """The jobs that hold a slot: id → group."""
    elsewhere: int = field(default=0, init=False)
    """Slots held by other clients with the same journal: they are known, so they are no part of what others use."""
    _room: int = field(init=False)
    _account: int = field(init=False)
    """Most unfinished jobs that the account accepts, as far as is known; less than `limit` if it refuses earlier."""
    _refusals: int = field(default=0, init=False)
    """Refused creates since the last accepted one."""
    _probes: int = field(default=0, init=False)
    """Refused creates since the pauses began to grow."""
    _probe_at: float = field(default=inf, init=False)
    _stated_until: float = field(default=-inf, init=False)
    """Until this time, a stated refusal overrides the account's own count, which may omit jobs."""

    def __attrs_post_init__(self) -> None:
        self._room = self._account = self.limit

    def relimit(self, limit: int) -> None:
        """Set the limit, and reset the room if it differs, since the plan changed."""
        if limit != self.limit:
            self.limit = self._room = self._account = limit
            self._refusals, self._probes, self._probe_at = 0, 0, inf

    def free(self, now: float) -> int:
        """Return how many creates may begin now."""
        probe = self._room < self.limit and now >= self._probe_at
        return max(0, self._room + probe - self.used)

    @property
    def used(self) -> int:
        """How many slots the clients with this journal hold."""
        return len(self.held) + self.elsewhere

    def claimable(self, now: float) -> int:
        """Return how many slots the clients with this journal may hold now, all together."""
        return self.free(now) + self.used

    def group_has_room(self, group: str | None) -> bool:
        """Tell whether a group may have one more slot."""
        return self.group_cap is None or self.held_by(group) < self.group_cap

    def held_by(self, group: str | None) -> int:
        """Return how many slots a group holds."""
        return sum(holder == group for holder in self.held.values())

    def acquire(self, job: str, group: str | None = None) -> None:
        """Give a job a slot, even beyond the limit, since the job may already be at the service."""
        self.held[job] = group

    def release(self, job: str) -> None:
        """Free the slot of a job; does nothing if it has none."""
        self.held.pop(job, None)

    def accepted(self, now: float) -> None:
        """Record that a create was accepted: there is room for all jobs that hold a slot."""
        self._refusals = 0
        if self.used > self._room:
            self._room, self._account = min(self.used, self.limit), self.limit
            self._probes, self._probe_at = 0, now

    def refused(self, now: float, *, stated: bool = False) -> None:
        """Record that a create was refused for lack of a slot: lower the room to the slots of the other jobs.

        The job's own slot is freed by `release`. `stated`: whether the service used its exact text for this.
        """
        self._refusals += 1
        self._room = min(self._room, self.used - 1)
        self._probes += 1
        pause = _PAUSES.scaled(self.time_scale).pause(self._probes)
        if stated:
            pause = max(pause, STATED_PAUSE * self.time_scale)
            self._stated_until = now + pause
        self._probe_at = now + pause

    def account_reported(self, unfinished: int, now: float, *, ours: int | None = None) -> None:
        """Record how many unfinished jobs the account has in total.

        `ours`: how many of them hold a slot of a client with this journal; by default all slots held.
        """
        others = max(0, unfinished - (self.used if ours is None else ours))
        if now < self._stated_until and self._account - others > self._room:
            return
        if self._refusals > 1:
            # Refused twice although there seemed to be room: this number is the account's real limit.
            self._account = min(self.limit, max(unfinished, 1))
        self._room = max(self._account - others, 0)
        if self._account == self.limit:
            # A probe would show nothing new.
            self._probes, self._probe_at = 0, now + ASK_AGAIN * self.time_scale

    def is_probe(self, now: float) -> bool:
        """Tell whether the next create would be a probe for a slot beyond the known room."""
        return self._room <= self.used and self.free(now) > 0

    def postpone(self, now: float) -> None:
        """Delay the next probe: the account could not be asked, or it is the turn of another client."""
        self._probe_at = now + ASK_AGAIN * self.time_scale

    def next_change(self, now: float) -> float:
        """Return the time at which `free` may increase without an event; `inf` if only an event can change it."""
        return self._probe_at if self._room < self.limit and self._probe_at > now else inf
