"""Classify a refused create: no free slot, or an invalid request."""

from __future__ import annotations

from enum import Enum, auto
from typing import Final

from mvsep_async.errors import InvalidRequestError, NoFreeSlotError
from mvsep_async.http.response import about_slots

__all__ = ["Verdict", "classify_refusal", "needs_account"]

_SLOT_TEXT_TRIES: Final = 4
"""How many refusals of a job that mention slots are accepted as such while the account has no unfinished jobs. A job of
another program may end between the refusal and the request for the account; if the text was misunderstood, each retry
costs an upload."""


class Verdict(Enum):
    """What to do about a refused create."""

    NO_SLOT = auto()
    """Queue the job again."""
    TRY_ONCE_MORE = auto()
    """Queue the job again: a slot may have come free between the refusal and the request for the account's jobs."""
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
    """Decide whether a refused create (HTTP 400, or 200) means no free slot or an invalid request.

    `unfinished`: number of unfinished jobs of the account just after the refusal, `None` if unknown. `ours`: number of
    unfinished jobs of this client, without this one. `earlier_unexplained`: earlier unexplained refusals of this job.
    """
    if isinstance(error, NoFreeSlotError) and error.stated:
        return Verdict.NO_SLOT
    at_service = ours if unfinished is None else max(unfinished, ours)
    possible = at_service > 0 or unfinished is None
    if isinstance(error, NoFreeSlotError):
        return Verdict.NO_SLOT if possible else _again(earlier_unexplained, _SLOT_TEXT_TRIES)
    if error.status not in (200, 400):
        return Verdict.INVALID_REQUEST
    if error.fields:
        return Verdict.NO_SLOT if possible and _names_slots(error) else Verdict.INVALID_REQUEST
    if at_service >= limit:
        return Verdict.NO_SLOT
    return _again(earlier_unexplained, 1) if possible else Verdict.INVALID_REQUEST


def needs_account(error: InvalidRequestError | NoFreeSlotError) -> bool:
    """Tell whether the account's unfinished jobs are needed to classify a refusal: not if it names an invalid field."""
    return isinstance(error, NoFreeSlotError) or not error.fields or _names_slots(error)


def _names_slots(error: InvalidRequestError) -> bool:
    return any(about_slots(text) for texts in error.fields.values() for text in texts)


def _again(earlier_unexplained: int, most: int) -> Verdict:
    return Verdict.TRY_ONCE_MORE if earlier_unexplained < most else Verdict.INVALID_REQUEST
