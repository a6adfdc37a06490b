"""A refused create: no slot, or a request that cannot be."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mvsep_async.errors import InvalidRequestError, NoFreeSlotError
from mvsep_async.scheduling.refusals import Verdict, classify_refusal

SILENT = InvalidRequestError("the service gave no reason (HTTP 400)", status=400)
SILENT_200 = InvalidRequestError("?", status=200)
NAMED = InvalidRequestError("bad sep_type", fields={"sep_type": ["The selected sep type is invalid."]}, status=400)
SPOKEN_IN_A_FIELD = InvalidRequestError(
    "no", fields={"audiofile": ["You already have 10 jobs in the queue: wait until one finishes."]}, status=400
)
TOO_LARGE = InvalidRequestError("too large", status=413)
WORDS = NoFreeSlotError("the account has no free slot: too many concurrent jobs", status=400)


@pytest.mark.parametrize(
    ("error", "unfinished", "ours", "earlier", "verdict"),
    [
        (WORDS, None, 0, 0, Verdict.NO_SLOT),
        (WORDS, 10, 3, 5, Verdict.NO_SLOT),
        (WORDS, 4, 3, 5, Verdict.NO_SLOT),
        (WORDS, 0, 0, 0, Verdict.TRY_ONCE_MORE),  # another program's job ended just then
        (WORDS, 0, 0, 3, Verdict.TRY_ONCE_MORE),
        (WORDS, 0, 0, 4, Verdict.INVALID_REQUEST),  # the words were misread: nothing is ever unfinished
        (NAMED, 10, 10, 0, Verdict.INVALID_REQUEST),
        (NAMED, None, 0, 0, Verdict.INVALID_REQUEST),
        (SPOKEN_IN_A_FIELD, 10, 2, 0, Verdict.NO_SLOT),
        (SPOKEN_IN_A_FIELD, 0, 0, 0, Verdict.INVALID_REQUEST),
        (SPOKEN_IN_A_FIELD, None, 0, 0, Verdict.NO_SLOT),
        (TOO_LARGE, 10, 10, 0, Verdict.INVALID_REQUEST),
        (SILENT, 10, 2, 0, Verdict.NO_SLOT),
        (SILENT, 10, 2, 3, Verdict.NO_SLOT),
        (SILENT, 9, 10, 0, Verdict.NO_SLOT),
        (SILENT, None, 10, 0, Verdict.NO_SLOT),
        (SILENT, 9, 2, 0, Verdict.TRY_ONCE_MORE),
        (SILENT_200, 9, 2, 0, Verdict.TRY_ONCE_MORE),
        (SILENT_200, 10, 2, 0, Verdict.NO_SLOT),
        (SILENT, 9, 2, 1, Verdict.INVALID_REQUEST),
        (SILENT, None, 9, 0, Verdict.TRY_ONCE_MORE),
        (SILENT, None, 9, 1, Verdict.INVALID_REQUEST),
        (SILENT, 0, 0, 0, Verdict.INVALID_REQUEST),
        (SILENT, None, 0, 0, Verdict.TRY_ONCE_MORE),  # the account could not be asked: it may be full
        (SILENT, None, 0, 1, Verdict.INVALID_REQUEST),
    ],
)
def test_verdicts(
    error: InvalidRequestError | NoFreeSlotError, unfinished: int | None, ours: int, earlier: int, verdict: Verdict
) -> None:
    assert classify_refusal(error, unfinished=unfinished, ours=ours, limit=10, earlier_unexplained=earlier) is verdict


@given(st.none() | st.integers(0, 20), st.integers(0, 20), st.integers(1, 20), st.integers(1, 5))
def test_an_unexplained_refusal_is_tried_once_more_and_no_more(
    unfinished: int | None, ours: int, limit: int, earlier: int
) -> None:
    again = classify_refusal(SILENT, unfinished=unfinished, ours=ours, limit=limit, earlier_unexplained=earlier)
    assert again is not Verdict.TRY_ONCE_MORE


def test_the_services_size_limits_are_no_lack_of_slots() -> None:
    error = InvalidRequestError(
        "no", fields={"audiofile": ["The audiofile may not be greater than 102400 kilobytes."]}, status=400
    )
    assert classify_refusal(error, unfinished=10, ours=10, limit=10, earlier_unexplained=0) is Verdict.INVALID_REQUEST
