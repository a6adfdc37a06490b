"""The service's answers as frozen values; each module is imported on first use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mvsep_async._lazy import lazy_attributes

if TYPE_CHECKING:
    from mvsep_async.models.history import AlgorithmRef, HistoryEntry
    from mvsep_async.models.job_status import JobKind, JobStatus
    from mvsep_async.models.message import Message
    from mvsep_async.models.output_format import OutputFormat
    from mvsep_async.models.quality import DatasetType, Leaderboard, QualityAdded, QualityEntry
    from mvsep_async.models.separation import Created, InputFile, OutputFile, Separation
    from mvsep_async.models.site import DemoEntry, FreeSeparations, NewsItem, Queue, QueuePlan, QueueSummary
    from mvsep_async.models.user import CreditAlert, CurrentQueue, Purchase, QueuedJob, User

__all__ = [
    "AlgorithmRef",
    "Created",
    "CreditAlert",
    "CurrentQueue",
    "DatasetType",
    "DemoEntry",
    "FreeSeparations",
    "HistoryEntry",
    "InputFile",
    "JobKind",
    "JobStatus",
    "Leaderboard",
    "Message",
    "NewsItem",
    "OutputFile",
    "OutputFormat",
    "Purchase",
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
    "quality": ("DatasetType", "Leaderboard", "QualityAdded", "QualityEntry"),
    "separation": ("Created", "InputFile", "OutputFile", "Separation"),
    "site": ("DemoEntry", "FreeSeparations", "NewsItem", "Queue", "QueuePlan", "QueueSummary"),
    "user": ("CreditAlert", "CurrentQueue", "Purchase", "QueuedJob", "User"),
}

__getattr__ = lazy_attributes(__name__, {name: f".{module}" for module, names in _MODULES.items() for name in names})


def __dir__() -> list[str]:
    return sorted(__all__)
