"""What the site tells everybody: news, the queue, the demo page."""

from collections.abc import Mapping

from attrs import field, frozen

from mvsep_async.http.call import Json
from mvsep_async.models.decode import wire
from mvsep_async.models.history import AlgorithmRef
from mvsep_async.models.values import url_text

__all__ = ["DemoEntry", "NewsItem", "Queue", "QueuePlan", "QueueSummary"]


@frozen(kw_only=True)
class NewsItem:
    """One piece of news; `text` is HTML as the site wrote it, `lang` its two-letter language."""

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
    """The asking account's plan, and the length of the queue that its jobs stand in."""

    plan: str | None = None
    queue: int | None = None
    extra: Mapping[str, Json] = field(factory=dict, repr=False)


@frozen(kw_only=True)
class Queue:
    """How many jobs the service has, by plan; `plan` is there when the question carried a token."""

    in_process: int = 0
    premium: int = 0
    registered: int = 0
    unregistered: int = 0
    plan: QueuePlan | None = None
    extra: Mapping[str, Json] = field(factory=dict, repr=False)

    @staticmethod
    def __from_wire__(raw: dict[str, Json]) -> dict[str, Json]:
        inner = raw.pop("queue", None)
        raw.pop("success", None)
        return {**raw, **inner} if isinstance(inner, dict) else raw


@frozen(kw_only=True)
class QueueSummary:
    """How many jobs are ahead of the account's, and the seconds that the service expects them to take."""

    ahead: int | None = None
    estimated_wait_seconds: float | None = None
    extra: Mapping[str, Json] = field(factory=dict, repr=False)


@frozen(kw_only=True)
class DemoEntry:
    """One separation of the public demo page."""

    hash: str
    date: str | None = None
    input_audio: str | None = field(default=None, metadata=wire("input_audio", via=url_text))
    size: str | None = None
    algorithm: AlgorithmRef | None = None
    extra: Mapping[str, Json] = field(factory=dict, repr=False)
