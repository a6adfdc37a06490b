"""The account: its plan, its credits, what it has running."""

from collections.abc import Mapping
from typing import cast

from attrs import field, frozen

from mvsep_async.http.call import Json
from mvsep_async.http.token import Token
from mvsep_async.models.decode import wire
from mvsep_async.models.values import Unfit, kept

__all__ = ["CurrentQueue", "QueuedJob", "User"]


@frozen(kw_only=True)
class QueuedJob:
    """One unfinished job of the account."""

    hash: str
    extra: Mapping[str, Json] = field(factory=dict, repr=False)


@frozen
class CurrentQueue:
    """The account's unfinished jobs, as far as the service tells.

    `count` is `None` where it does not say; `jobs` is `None` where it does not list them.
    """

    count: int | None = None
    jobs: tuple[QueuedJob, ...] | None = None

    @property
    def known(self) -> bool:
        """Whether the service said how many there are."""
        return self.count is not None


def _queue(value: Json) -> CurrentQueue:
    """Read `current_queue`: a count, a list of jobs or of hashes, or either of them in an object."""
    if isinstance(value, bool):
        raise Unfit("a count or a list of jobs", value)
    if isinstance(value, int | float | str):
        return CurrentQueue(_count(value))
    if isinstance(value, dict):
        for key in ("data", "jobs", "queue", "items", "count", "total"):
            if value.get(key) is not None:
                return _queue(value[key])
        items = list(value.values()) if "hash" not in value and "job_hash" not in value else [value]
    else:
        items = value or []
    jobs = tuple(_job(item) for item in items if item is not None)
    return CurrentQueue(len(jobs), jobs)


def _count(value: float | str) -> int:
    try:
        count = int(float(value))
    except (ValueError, OverflowError):
        count = -1
    if count < 0:
        raise Unfit("a count or a list of jobs", value)
    return count


def _job(item: Json) -> QueuedJob:
    rest: dict[str, Json] = {"hash": item} if isinstance(item, str) else dict(item) if isinstance(item, dict) else {}
    hash = rest.pop("hash", None) or rest.pop("job_hash", None)
    if not isinstance(hash, str) or not hash:
        raise Unfit("a job with its hash", item)
    return QueuedJob(hash=hash, extra=cast("Mapping[str, Json]", kept(rest)))


@frozen(kw_only=True)
class User:
    """An account.

    `premium_minutes`: credits left. `premium_enabled`: may they be spent. `api_token`: only in the answer to a login,
    and there too only when the service sends it. Dates are the service's own text, in its own time zone.
    """

    name: str | None = None
    email: str | None = None
    api_token: Token | None = None
    premium_minutes: float = 0.0
    premium_enabled: bool = False
    long_filenames_enabled: bool = False
    current_queue: CurrentQueue = field(
        factory=CurrentQueue, metadata=wire("current_queue", via=_queue, dispensable=True)
    )
    created_at: str | None = None
    updated_at: str | None = None
    extra: Mapping[str, Json] = field(factory=dict, repr=False)

    @property
    def is_premium(self) -> bool:
        """Whether jobs run on premium terms just now: credits are left and may be spent."""
        return self.premium_enabled and self.premium_minutes > 0
