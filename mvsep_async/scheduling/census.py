"""How many of the account's unfinished jobs are ours."""

from __future__ import annotations

from collections.abc import Iterable

from mvsep_async.jobs.job import Job
from mvsep_async.jobs.lifecycle import AT_SERVICE, HOLDS_SLOT, JobState
from mvsep_async.models.user import User

__all__ = ["listed", "there"]


def listed(held: Iterable[Job], user: User) -> int:
    """Count those of the jobs that hold a slot which the account counts too: creates under way are not yet there."""
    if user.current_queue.jobs is None:
        return sum(job.state in AT_SERVICE for job in held)
    hashes = {entry.hash for entry in user.current_queue.jobs}
    return sum(job.hash in hashes for job in held)


def there(held: Iterable[Job]) -> int:
    """Count those that the service has, or may have; creates under way prove nothing."""
    return sum(job.state in HOLDS_SLOT and job.state is not JobState.CREATING for job in held)
