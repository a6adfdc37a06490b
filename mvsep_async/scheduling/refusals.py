"""Classify a refused create: no free slot, or an invalid request."""

from __future__ import annotations

from enum import Enum, auto
from typing import Final

from mvsep_async.errors import InvalidRequestError, NoFreeSlotError
from mvsep_async.http.answer import about_slots

__all__ = ["Verdict", "classify_refusal", "needs_account"]

_WORDED: Final = 4
"""How often a refusal that mentions slots is believed although the account has nothing unfinished. A job of another
program may end between the refusal and the question; a misread text costs an upload each time."""


class Verdict(Enum):
    """What to do about a refused create."""

    NO_SLOT = auto()
    """Queue the job again."""
    TRY_ONCE_MORE = auto()
    """Queue the job again: a slot may have come free between the refusal and the question for the account's jobs."""
    INVALID_REQUEST = auto()
    """Fail the job with the refusal."""


def classify_refusal(
    error: InvalidRequestError | NoFreeSlotError,
    *,
    unfinished: int | None,
    ours: int,
    limit: int,
    earlier_unexplained: int,
) -> Verdict:
    """Tell apart the two meanings of HTTP 400 at create.

    `unfinished`: unfinished jobs of the account just after the refusal, `None` if it does not say. `ours`: those that
    this client knows, without this one. `earlier_unexplained`: refusals of this job before without an explanation.
    """
    if isinstance(error, NoFreeSlotError) and error.stated:
        return Verdict.NO_SLOT
    at_service = ours if unfinished is None else max(unfinished, ours)
    possible = at_service > 0 or unfinished is None
    if isinstance(error, NoFreeSlotError):
        return Verdict.NO_SLOT if possible else _again(earlier_unexplained, _WORDED)
    if error.status != 400:
        return Verdict.INVALID_REQUEST
    if error.fields:
        return Verdict.NO_SLOT if possible and _names_slots(error) else Verdict.INVALID_REQUEST
    if at_service >= limit:
        return Verdict.NO_SLOT
    return _again(earlier_unexplained, 1) if possible else Verdict.INVALID_REQUEST


def needs_account(error: InvalidRequestError | NoFreeSlotError) -> bool:
    """Tell whether the account has to be asked: only a refusal that names a field explains itself."""
    return isinstance(error, NoFreeSlotError) or not error.fields or _names_slots(error)


def _names_slots(error: InvalidRequestError) -> bool:
    return any(about_slots(text) for texts in error.fields.values() for text in texts)


def _again(earlier_unexplained: int, most: int) -> Verdict:
    return Verdict.TRY_ONCE_MORE if earlier_unexplained < most else Verdict.INVALID_REQUEST
