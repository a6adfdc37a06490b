"""A subscriber that logs."""

from __future__ import annotations

import logging

from attrs import asdict

from mvsep_async.jobs.stage import Stage
from mvsep_async.observe.events import Answered, BudgetWaited, Event, Retried

__all__ = ["LogEvents"]


class LogEvents:
    """Logs each event in one line: retries and failures as warnings, the rest as information.

    The event's fields come along as `record.mvsep`, for handlers that write structured logs.
    """

    def __init__(self, logger: logging.Logger | None = None) -> None:
        self._logger = logger or logging.getLogger("mvsep_async.events")

    def __call__(self, event: Event) -> None:
        failed = isinstance(event, Retried) or (isinstance(event, Answered) and event.stage is Stage.FAILED)
        level = logging.WARNING if failed else logging.DEBUG if isinstance(event, BudgetWaited) else logging.INFO
        if self._logger.isEnabledFor(level):
            fields = asdict(event)
            text = " ".join(f"{name}={value}" for name, value in fields.items() if value is not None)
            self._logger.log(level, "%s %s", type(event).__name__, text, extra={"mvsep": fields})
