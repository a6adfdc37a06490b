"""How many slots each group holds."""

from __future__ import annotations

from collections import Counter

from attrs import define, field

from mvsep_async.jobs.entry import JobEntry

__all__ = ["GroupSlots"]


@define
class GroupSlots:
    """Counts the slots of each group. `cap`: most slots of one group, `None` for no limit."""

    cap: int | None = None
    held: Counter[str | None] = field(factory=Counter)
    _jobs: set[str] = field(factory=set)

    def acquire(self, job: JobEntry) -> None:
        """Count the slot of a job."""
        self._jobs.add(job.id)
        self.held[job.request.group] += 1

    def release(self, job: JobEntry) -> bool:
        """Stop counting the slot of a job; `False` if it was not counted."""
        if job.id not in self._jobs:
            return False
        self._jobs.discard(job.id)
        self.held[job.request.group] -= 1
        if not self.held[job.request.group]:
            del self.held[job.request.group]
        return True

    def has_room(self, group: str | None) -> bool:
        """Tell whether a group may have one more slot."""
        return self.cap is None or self.held.get(group, 0) < self.cap
