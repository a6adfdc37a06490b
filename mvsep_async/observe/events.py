"""What can be observed of a client, as frozen values. None holds the token, a URL's query, or a whole answer."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from attrs import frozen

from mvsep_async.jobs.stage import Stage

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
    "told",
]

logger = logging.getLogger("mvsep_async")


@frozen
class Submitted:
    """A job was put in line."""

    job: str
    algorithm: int | None
    group: str | None


@frozen
class SlotTaken:
    """A job's create begins. `held`: slots in use with it, of `limit`; `attempt`: 1 the first time."""

    job: str
    held: int
    limit: int
    attempt: int


@frozen
class Uploaded:
    """The service accepted a job: `size` bytes in `seconds`."""

    job: str
    hash: str
    size: int
    seconds: float


@frozen
class Answered:
    """The service is through with a job, `seconds` after it had accepted it: done, failed or cancelled."""

    job: str
    hash: str | None
    stage: Stage
    seconds: float
    error: str | None = None


@frozen
class Downloaded:
    """A file is complete on disk; `size` bytes, of which `received` came now and the rest in an earlier run."""

    job: str
    path: Path
    size: int
    received: int
    seconds: float


@frozen
class Retried:
    """Something failed and is tried again. `what`: the call or the step; `job`: `None` for a call of its own."""

    what: str
    error: str
    job: str | None = None


@frozen
class BudgetWaited:
    """A request waits `seconds` for its turn in the minute's budget."""

    seconds: float


Event: TypeAlias = Submitted | SlotTaken | Uploaded | Answered | Downloaded | Retried | BudgetWaited
Listener: TypeAlias = Callable[[Event], None]


def told(listener: Listener | None) -> Listener:
    """Return a listener that never raises: who looks on cannot bring down what is looked at."""

    def tell(event: Event) -> None:
        if listener is None:
            return
        try:
            listener(event)
        except Exception:
            logger.exception("the on_event hook failed at %s", type(event).__name__)

    return tell
