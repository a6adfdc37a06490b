"""The time to wait, from seconds, dates, epochs and invalid values."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mvsep_async.http.rate_headers import LONGEST_WAIT, limit_of, remaining_of, retry_after

DATE = "Tue, 14 May 2024 10:00:00 GMT"
EPOCH = 1_715_680_800  # the same moment


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "17"}, 17.0),
        ({"retry-after": " 2.5 "}, 2.5),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after": "86400"}, LONGEST_WAIT),
        ({"retry-after": "Tue, 14 May 2024 10:00:30 GMT", "date": DATE}, 30.0),
        ({"retry-after": "Tue, 14 May 2024 10:00:30 -0000", "date": DATE}, 30.0),
        ({"retry-after": "Tue, 14 May 2024 12:00:30 +0200", "date": DATE}, 30.0),
        ({"retry-after": "Tue, 14 May 2024 09:00:00 GMT", "date": DATE}, 0.0),
        ({"retry-after": "Tue, 14 May 2024 10:00:30 GMT"}, None),  # by whose clock?
        ({"retry-after": "Tue, 14 May 2024 10:00:30 GMT", "date": "yesterday"}, None),
        ({"x-ratelimit-reset": str(EPOCH + 42), "date": DATE}, 42.0),
        ({"x-ratelimit-reset": str(EPOCH + 42)}, None),
        ({"x-ratelimit-reset": str(EPOCH - 42), "date": DATE}, 0.0),
        ({"x-ratelimit-reset": "42"}, 42.0),
        ({"retry-after": "5", "x-ratelimit-reset": str(EPOCH + 42), "date": DATE}, 5.0),
        ({"retry-after": "soon", "x-ratelimit-reset": str(EPOCH + 42), "date": DATE}, 42.0),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "1e300"}, None),
        ({"retry-after": ""}, None),
        ({}, None),
    ],
)
def test_how_long_to_wait(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers) == (None if seconds is None else pytest.approx(seconds))


@given(st.dictionaries(st.sampled_from(["retry-after", "x-ratelimit-reset", "date"]), st.text(max_size=40)))
def test_nonsense_never_raises_and_never_waits_too_long(headers: dict[str, str]) -> None:
    seconds = retry_after(headers)
    assert seconds is None or 0 <= seconds <= LONGEST_WAIT


@pytest.mark.parametrize(
    ("text", "limit"),
    [("60", 60), ("120", 120), ("60.0", 60), ("0", None), ("-1", None), ("1e9", None), ("many", None)],
)
def test_the_limit(text: str, limit: int | None) -> None:
    assert limit_of({"x-ratelimit-limit": text}) == limit


@pytest.mark.parametrize(("text", "left"), [("59", 59), ("0", 0), ("-1", None), ("nan", None), ("", None)])
def test_what_is_left(text: str, left: int | None) -> None:
    assert remaining_of({"x-ratelimit-remaining": text}) == left
    assert remaining_of({}) is None
