"""A listener that logs events."""

from __future__ import annotations

import logging

from attrs import asdict

from mvsep_async.models.stage import Stage
from mvsep_async.observe.events import Answered, BudgetWaited, Event, Retried

__all__ = ["LogEvents"]


class LogEvents:
    """Logs each event in one line: retries and failures as warnings, budget waits as debug, the rest as info.

    `logger`: by default `mvsep_async.events`. The fields of the event are in `record.mvsep`, for structured logs.
    """

    def __init__(self, logger: logging.Logger | None = None) -> None:
        self._logger = logger or logging.getLogger("mvsep_async.events")

    def __call__(self, event: Event) -> None:
        level = _level(event)
        if self._logger.isEnabledFor(level):
            fields = asdict(event)
            text = " ".join(f"{name}={_shown(value)}" for name, value in fields.items() if value is not None)
            self._logger.log(level, "%s %s", type(event).__name__, text, extra={"mvsep": fields})


def _level(event: Event) -> int:
    match event:
        case Retried() | Answered(stage=Stage.FAILED):
            return logging.WARNING
        case BudgetWaited():
            return logging.DEBUG
        case _:
            return logging.INFO


def _shown(value: object) -> str:
    """Return a value as one word; a text with spaces or control characters is quoted."""
    text = f"{value:.3f}" if isinstance(value, float) else str(value)
    return text if text.isprintable() and " " not in text else repr(text)
