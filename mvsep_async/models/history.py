"""What the account has separated, and the short form of an algorithm that listings carry."""

from collections.abc import Mapping

from attrs import field, frozen

from mvsep_async.http.call import Json
from mvsep_async.models.decode import wire

__all__ = ["AlgorithmRef", "HistoryEntry"]


@frozen(kw_only=True)
class AlgorithmRef:
    """An algorithm as listings name it; `sep_type` is what `submit` takes (the service's `render_id`, not its `id`)."""

    name: str
    sep_type: int | None = field(default=None, metadata=wire("render_id"))
    orientation: int | None = None
    extra: Mapping[str, Json] = field(factory=dict, repr=False)

    @property
    def group(self) -> str | None:
        """The name of the algorithm's group, where the listing has it."""
        group = self.extra.get("algorithm_group")
        name = group.get("name") if isinstance(group, dict) else None
        return name if isinstance(name, str) else None


@frozen(kw_only=True)
class HistoryEntry:
    """One separation of the account.

    `job_exists`: whether the results are still there. `credits`: `None` when the job is gone. `time_left`: about the
    hours until deletion, negative after it. Dates are the service's own text.
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
