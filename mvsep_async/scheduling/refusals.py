"""What a refused create means: no free slot, or a request that cannot be."""

from __future__ import annotations

from enum import Enum, auto

from mvsep_async.errors import InvalidRequestError, NoFreeSlotError
from mvsep_async.http.answer import about_slots

__all__ = ["Verdict", "judge"]


class Verdict(Enum):
    """What to do about a refused create."""

    NO_SLOT = auto()
    """Put the job back; it is fine."""
    TRY_ONCE_MORE = auto()
    """Put the job back: a slot may have come free between the refusal and the question how many there are."""
    CALLERS_MISTAKE = auto()
    """Fail the job with the refusal: trying again changes nothing."""


def judge(
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
    if isinstance(error, NoFreeSlotError):
        # Words can be misread. Where the account has nothing unfinished, they meant something else after all.
        return Verdict.NO_SLOT if at_service or unfinished is None else _second(earlier_unexplained)
    if error.status != 400:
        return Verdict.CALLERS_MISTAKE
    if error.fields:
        spoken = at_service and any(about_slots(text) for texts in error.fields.values() for text in texts)
        return Verdict.NO_SLOT if spoken else Verdict.CALLERS_MISTAKE
    if at_service >= limit:
        return Verdict.NO_SLOT
    return _second(earlier_unexplained) if at_service else Verdict.CALLERS_MISTAKE


def _second(earlier_unexplained: int) -> Verdict:
    return Verdict.CALLERS_MISTAKE if earlier_unexplained else Verdict.TRY_ONCE_MORE
