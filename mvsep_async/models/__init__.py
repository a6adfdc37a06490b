"""What the service says, as frozen values; each is imported when it is first asked for."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from mvsep_async.models.history import AlgorithmRef, HistoryEntry
    from mvsep_async.models.job_status import JobKind, JobStatus
    from mvsep_async.models.message import Message
    from mvsep_async.models.output_format import OutputFormat
    from mvsep_async.models.quality import Leaderboard, QualityAdded, QualityEntry
    from mvsep_async.models.separation import Created, InputFile, OutputFile, Separation
    from mvsep_async.models.site import DemoEntry, NewsItem, Queue, QueuePlan, QueueSummary
    from mvsep_async.models.user import CurrentQueue, QueuedJob, User

__all__ = [
    "AlgorithmRef",
    "Created",
    "CurrentQueue",
    "DemoEntry",
    "HistoryEntry",
    "InputFile",
    "JobKind",
    "JobStatus",
    "Leaderboard",
    "Message",
    "NewsItem",
    "OutputFile",
    "OutputFormat",
    "QualityAdded",
    "QualityEntry",
    "Queue",
    "QueuePlan",
    "QueueSummary",
    "QueuedJob",
    "Separation",
    "User",
]

_MODULES: Final = {
    "history": ("AlgorithmRef", "HistoryEntry"),
    "job_status": ("JobKind", "JobStatus"),
    "message": ("Message",),
    "output_format": ("OutputFormat",),
    "quality": ("Leaderboard", "QualityAdded", "QualityEntry"),
    "separation": ("Created", "InputFile", "OutputFile", "Separation"),
    "site": ("DemoEntry", "NewsItem", "Queue", "QueuePlan", "QueueSummary"),
    "user": ("CurrentQueue", "QueuedJob", "User"),
}
_HOMES: Final = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
