"""What can be observed of a client, as frozen values. None holds the token, a URL's query, or a whole answer."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from attrs import frozen

from mvsep_async.models.stage import Stage

__all__ = [
    "Answered",
    "BudgetWaited",
    "Downloaded",
    "Event",
    "Left",
    "Listener",
    "Retried",
    "SlotFreed",
    "SlotTaken",
    "Submitted",
    "Uploaded",
    "emitter",
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
class SlotFreed:
    """A job lets its slot go: it is over at the service, or its create came to nothing. `held` remain, of `limit`."""

    job: str
    held: int
    limit: int


@frozen
class Uploaded:
    """The service accepted a job: `size` bytes in `seconds`, the search for a lost answer included."""

    job: str
    hash: str
    size: int
    seconds: float


@frozen
class Answered:
    """The separation of a job is over: done, failed or cancelled. Each `Submitted` has one, or the client is closed.

    `seconds`: since the service accepted it, or since a job of an earlier run was taken up; `None` if it never did.
    """

    job: str
    hash: str | None
    stage: Stage
    seconds: float | None
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
class Left:
    """The client was closed with a job begun and not answered: it stays where it is, at `stage`."""

    job: str
    hash: str | None
    stage: Stage


@frozen
class Retried:
    """Something failed and is tried again, from its beginning or from where it stood.

    `what`: the call's path, or the step of a job: "create", "look", "download". `job`: `None` for a call of its own.
    """

    what: str
    error: str
    job: str | None = None


@frozen
class BudgetWaited:
    """A request waits `seconds` for its turn in the minute's budget."""

    seconds: float


Event: TypeAlias = Submitted | SlotTaken | SlotFreed | Uploaded | Answered | Downloaded | Left | Retried | BudgetWaited
Listener: TypeAlias = Callable[[Event], None]


def emitter(listener: Listener | None) -> Listener:
    """Return a listener that never raises: who looks on cannot bring down what is looked at."""

    def emit(event: Event) -> None:
        if listener is None:
            return
        try:
            listener(event)
        except Exception:
            logger.exception("the on_event hook failed at %s", type(event).__name__)

    return emit
