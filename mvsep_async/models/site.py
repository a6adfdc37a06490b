"""The site's public data: news, the queue, the demo page."""

from collections.abc import Mapping

from attrs import field, frozen

from mvsep_async.http.call import Json
from mvsep_async.models.decode import wire
from mvsep_async.models.history import AlgorithmRef
from mvsep_async.models.values import url_text

__all__ = ["DemoEntry", "FreeSeparations", "NewsItem", "Queue", "QueuePlan", "QueueSummary"]


@frozen(kw_only=True)
class NewsItem:
    """One news item. `text` is HTML as the site wrote it, `lang` its two-letter language."""

    id: int
    title: str = ""
    lang: str | None = None
    text: str = field(default="", repr=False)
    status: int | None = None
    created_at: str | None = None
    updated_at: str | None = None
    extra: Mapping[str, Json] = field(factory=dict, repr=False)


@frozen(kw_only=True)
class QueuePlan:
    """The account's plan (`premium`, `registered`…) and the number of jobs in that plan's queue."""

    plan: str | None = None
    queue: int | None = None
    extra: Mapping[str, Json] = field(factory=dict, repr=False)


@frozen(kw_only=True)
class FreeSeparations:
    """The daily quota of a free account: separations `left` today, of `limit`."""

    left: int | None = None
    limit: int | None = field(default=None, metadata=wire("max"))
    extra: Mapping[str, Json] = field(factory=dict, repr=False)


@frozen(kw_only=True)
class Queue:
    """The number of jobs at the service, by plan.

    `plan` and `free_separations` describe the account; they are there when the request carried a token.
    """

    in_process: int = 0
    premium: int = 0
    registered: int = 0
    unregistered: int = 0
    plan: QueuePlan | None = field(default=None, metadata=wire("current", "plan"))
    free_separations: FreeSeparations | None = None
    extra: Mapping[str, Json] = field(factory=dict, repr=False)

    @staticmethod
    def __from_wire__(raw: dict[str, Json]) -> dict[str, Json]:
        inner = raw.pop("queue", None)
        raw.pop("success", None)
        return {**raw, **inner} if isinstance(inner, dict) else raw


@frozen(kw_only=True)
class QueueSummary:
    """The number of jobs ahead of the account's, and the seconds that the service expects them to take."""

    ahead: int | None = None
    estimated_wait_seconds: float | None = None
    extra: Mapping[str, Json] = field(factory=dict, repr=False)


@frozen(kw_only=True)
class DemoEntry:
    """One separation on the public demo page."""

    hash: str
    date: str | None = None
    input_audio: str | None = field(default=None, metadata=wire("input_audio", via=url_text))
    size: str | None = None
    algorithm: AlgorithmRef | None = None
    extra: Mapping[str, Json] = field(factory=dict, repr=False)
