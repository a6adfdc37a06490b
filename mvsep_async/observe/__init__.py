"""What a client does, told as it happens: one hook that gets frozen events, and two subscribers of it."""

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
