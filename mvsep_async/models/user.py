"""The account: its plan, its credits, its unfinished jobs; its purchases and its credit alert."""

from collections.abc import Mapping
from typing import cast

from attrs import field, frozen

from mvsep_async.http.call import Json
from mvsep_async.http.token import Token
from mvsep_async.models.decode import wire
from mvsep_async.models.values import Unfit, cleaned

__all__ = ["CreditAlert", "CurrentQueue", "Purchase", "QueuedJob", "User"]


@frozen(kw_only=True)
class QueuedJob:
    """One unfinished job of the account."""

    hash: str
    extra: Mapping[str, Json] = field(factory=dict, repr=False)


@frozen
class CurrentQueue:
    """The account's unfinished jobs, as far as the service reports them.

    `count` is `None` where it gives no number, `jobs` is `None` where it lists none.
    """

    count: int | None = None
    jobs: tuple[QueuedJob, ...] | None = None

    @property
    def known(self) -> bool:
        """Whether the service gave a number."""
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
    return QueuedJob(hash=hash, extra=cast("Mapping[str, Json]", cleaned(rest)))


@frozen(kw_only=True)
class User:
    """An account.

    `premium_minutes`: credits left. `premium_enabled`: whether jobs may spend them. `copy_metadata`: whether results
    keep the song's tags, `None` where the service does not say. `api_token`: only in the answer to a login, when the
    service sends it. Dates are the service's own text, in its own time zone.
    """

    name: str | None = None
    email: str | None = None
    api_token: Token | None = None
    premium_minutes: float = 0.0
    premium_enabled: bool = False
    long_filenames_enabled: bool = False
    copy_metadata: bool | None = None
    current_queue: CurrentQueue = field(
        factory=CurrentQueue, metadata=wire("current_queue", via=_queue, dispensable=True)
    )
    created_at: str | None = None
    updated_at: str | None = None
    extra: Mapping[str, Json] = field(factory=dict, repr=False)

    @property
    def is_premium(self) -> bool:
        """Whether jobs run on premium terms: credits are left and may be spent."""
        return self.premium_enabled and self.premium_minutes > 0


@frozen(kw_only=True)
class Purchase:
    """One purchase of credits.

    The service does not document the fields of this list: what it sends under other names is in `extra`.
    """

    id: int | None = None
    status: str | None = None
    credits: float | None = None
    amount: float | None = field(default=None, metadata=wire("amount", "price"))
    currency: str | None = None
    created_at: str | None = None
    updated_at: str | None = None
    extra: Mapping[str, Json] = field(factory=dict, repr=False)


@frozen(kw_only=True)
class CreditAlert:
    """When the service mails that credits run low: below `credit_threshold`, never for 0."""

    credit_threshold: float = 0.0
    extra: Mapping[str, Json] = field(factory=dict, repr=False)

    @property
    def enabled(self) -> bool:
        """Whether mails are sent at all."""
        return self.credit_threshold > 0
