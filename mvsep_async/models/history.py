"""The account's separations, and the short form of an algorithm in listings."""

from collections.abc import Mapping

from attrs import field, frozen

from mvsep_async.http.call import Json
from mvsep_async.models.decode import wire
from mvsep_async.models.values import name_in

__all__ = ["AlgorithmRef", "HistoryEntry"]


@frozen(kw_only=True)
class AlgorithmRef:
    """An algorithm as listings name it. `sep_type` is what `submit` takes: the service's `render_id`, not its `id`."""

    name: str
    sep_type: int | None = field(default=None, metadata=wire("render_id"))
    id: int | None = None
    group: str | None = field(default=None, metadata=wire("algorithm_group", via=name_in, stays=True))
    group_id: int | None = field(default=None, metadata=wire("algorithm_group_id"))
    orientation: int | None = None
    order_id: int | None = None
    extra: Mapping[str, Json] = field(factory=dict, repr=False)


@frozen(kw_only=True)
class HistoryEntry:
    """One separation of the account.

    `job_exists`: whether the results are still there. `credits`: its price, `None` when the job is gone. `time_left`:
    roughly the hours until deletion, negative afterwards. Dates are the service's own text.
    """

    hash: str
    id: int | None = None
    created_at: str | None = None
    updated_at: str | None = None
    job_exists: bool = False
    credits: float | None = None
    time_left: float | None = None
    algorithm: AlgorithmRef | None = None
    extra: Mapping[str, Json] = field(factory=dict, repr=False)
