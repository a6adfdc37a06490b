"""The events of a client, as frozen values. None of them holds the token, a URL's query, or a whole answer."""

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
    """A job was put in the local queue."""

    job: str
    algorithm: int | None
    group: str | None


@frozen
class SlotTaken:
    """A job takes a slot and its create begins. `held`: slots now in use, of `limit`; `attempt`: from 1."""

    job: str
    held: int
    limit: int
    attempt: int


@frozen
class SlotFreed:
    """A job releases its slot: it is over, or its create failed. `held`: slots still in use, of `limit`."""

    job: str
    held: int
    limit: int


@frozen
class Uploaded:
    """The service accepted a job: `size` bytes in `seconds`, including the search after a lost answer."""

    job: str
    hash: str
    size: int
    seconds: float


@frozen
class Answered:
    """The separation of a job is over: done, failed or cancelled. Follows every `Submitted`, unless the client closes.

    `seconds`: since the service accepted it, or since a job of an earlier run was resumed; `None` if it was never
    accepted.
    """

    job: str
    hash: str | None
    stage: Stage
    seconds: float | None
    error: str | None = None


@frozen
class Downloaded:
    """A file is complete on disk: `size` bytes, `received` of them now and the rest by an earlier attempt."""

    job: str
    path: Path
    size: int
    received: int
    seconds: float


@frozen
class Left:
    """The client was closed while a job was unfinished; the job stays at `stage`."""

    job: str
    hash: str | None
    stage: Stage


@frozen
class Retried:
    """Something failed and is tried again, from the beginning or from where it stopped.

    `what`: the path of the call, or the step of a job: "create", "poll", "download". `job`: `None` if the call belongs
    to no job.
    """

    what: str
    error: str
    job: str | None = None


@frozen
class BudgetWaited:
    """A request waits `seconds` for the request budget of the minute."""

    seconds: float


Event: TypeAlias = Submitted | SlotTaken | SlotFreed | Uploaded | Answered | Downloaded | Left | Retried | BudgetWaited
Listener: TypeAlias = Callable[[Event], None]


def emitter(listener: Listener | None) -> Listener:
    """Return a listener that logs exceptions instead of raising them: a hook must not break the client."""

    def emit(event: Event) -> None:
        if listener is None:
            return
        try:
            listener(event)
        except Exception:
            logger.exception("the on_event hook raised for %s", type(event).__name__)

    return emit
