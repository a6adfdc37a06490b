"""What a client does, told as it happens: one hook that gets frozen events, and two subscribers of it."""

from mvsep_async.observe.events import (
    Answered,
    BudgetWaited,
    Downloaded,
    Event,
    Listener,
    Retried,
    SlotTaken,
    Submitted,
    Uploaded,
)

__all__ = [
    "Answered",
    "BudgetWaited",
    "Downloaded",
    "Event",
    "Listener",
    "Retried",
    "SlotTaken",
    "Submitted",
    "Uploaded",
]
