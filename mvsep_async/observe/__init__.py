"""Events of a client: one hook that gets frozen values, and two subscribers, for logging and for OpenTelemetry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mvsep_async._lazy import lazy_attributes

if TYPE_CHECKING:
    from mvsep_async.observe.events import (
        Answered,
        BudgetWaited,
        Downloaded,
        Event,
        Left,
        Listener,
        Retried,
        SlotFreed,
        SlotTaken,
        Submitted,
        Uploaded,
    )
    from mvsep_async.observe.log import LogEvents
    from mvsep_async.observe.telemetry import Telemetry

__all__ = [
    "Answered",
    "BudgetWaited",
    "Downloaded",
    "Event",
    "Left",
    "Listener",
    "LogEvents",
    "Retried",
    "SlotFreed",
    "SlotTaken",
    "Submitted",
    "Telemetry",
    "Uploaded",
]

_HOMES: Final = {"LogEvents": ".log", "Telemetry": ".telemetry"}

__getattr__ = lazy_attributes(__name__, dict.fromkeys(__all__, ".events") | _HOMES)


def __dir__() -> list[str]:
    return sorted(__all__)
