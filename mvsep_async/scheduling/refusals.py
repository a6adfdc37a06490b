"""What a refused create means: no free slot, or a request that cannot be."""

from __future__ import annotations

from enum import Enum, auto
from typing import Final

from mvsep_async.errors import InvalidRequestError, NoFreeSlotError
from mvsep_async.http.answer import about_slots

__all__ = ["Verdict", "classify_refusal", "needs_account"]

_WORDED: Final = 4
"""How often a refusal that speaks of slots is believed although the account has nothing unfinished. A job of another
program may end between the refusal and the question, time and again; words that were misread cost an upload each."""


class Verdict(Enum):
    """What to do about a refused create."""

    NO_SLOT = auto()
    """Put the job back; it is fine."""
    TRY_ONCE_MORE = auto()
    """Put the job back: a slot may have come free between the refusal and the question how many there are."""
    CALLERS_MISTAKE = auto()
    """Fail the job with the refusal: trying again changes nothing."""


def classify_refusal(
    error: InvalidRequestError | NoFreeSlotError,
    *,
    unfinished: int | None,
    ours: int,
    limit: int,
    earlier_unexplained: int,
) -> Verdict:
    """Tell apart the two meanings of HTTP 400 at create.

    `unfinished` is how many unfinished jobs the account has by its own word just after the refusal (`None`: it did not
    say), `ours` how many of them are known here, this one not counted; `earlier_unexplained` how often this job was
    refused for no reason before.
    """
    at_service = ours if unfinished is None else max(unfinished, ours)
    possible = at_service > 0 or unfinished is None
    if isinstance(error, NoFreeSlotError):
        return Verdict.NO_SLOT if possible else _again(earlier_unexplained, _WORDED)
    if error.status != 400:
        return Verdict.CALLERS_MISTAKE
    if error.fields:
        return Verdict.NO_SLOT if possible and _spoken(error) else Verdict.CALLERS_MISTAKE
    if at_service >= limit:
        return Verdict.NO_SLOT
    return _again(earlier_unexplained, 1) if possible else Verdict.CALLERS_MISTAKE


def needs_account(error: InvalidRequestError | NoFreeSlotError) -> bool:
    """Tell whether the account is to be asked what a refusal means: all but one that names a field says too little."""
    return isinstance(error, NoFreeSlotError) or not error.fields or _spoken(error)


def _spoken(error: InvalidRequestError) -> bool:
    return any(about_slots(text) for texts in error.fields.values() for text in texts)


def _again(earlier_unexplained: int, most: int) -> Verdict:
    return Verdict.TRY_ONCE_MORE if earlier_unexplained < most else Verdict.CALLERS_MISTAKE
