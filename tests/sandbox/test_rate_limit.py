from collections.abc import Sequence
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mvsep_async.sandbox.server.limits import RateLimiter

Kind = Literal["fixed", "sliding"]
steps = st.lists(st.integers(0, 240).map(lambda eighths: eighths / 8), min_size=1, max_size=60)
"""Eighths of a second: sums of them are exact, so the two ends of a minute are compared without rounding."""


def passed(kind: Kind, gaps: Sequence[float], limit: int) -> list[float]:
    """The moments at which a request passed."""
    limiter, now, moments = RateLimiter(), 0.0, []
    for gap in gaps:
        now += gap
        if limiter.hit("k", now, limit=limit, window=60, kind=kind).allowed:
            moments.append(now)
    return moments


@given(steps, st.integers(1, 10))
def test_sliding_minute_never_holds_more_than_the_limit(gaps: list[float], limit: int) -> None:
    moments = passed("sliding", gaps, limit)
    for end in moments:
        assert sum(end - 60 < moment <= end for moment in moments) <= limit


@given(steps, st.integers(1, 10))
def test_fixed_minute_lets_at_most_twice_the_limit_into_any_minute(gaps: list[float], limit: int) -> None:
    moments = passed("fixed", gaps, limit)
    for end in moments:
        assert sum(end - 60 < moment <= end for moment in moments) <= 2 * limit


@pytest.mark.parametrize("kind", ["fixed", "sliding"])
def test_retry_after_is_long_enough(kind: Kind) -> None:
    limiter = RateLimiter()
    for _ in range(3):
        assert limiter.hit("k", 10, limit=3, window=60, kind=kind).allowed
    refused = limiter.hit("k", 30, limit=3, window=60, kind=kind)
    assert (refused.allowed, refused.remaining, refused.retry_after) == (False, 0, 40)
    assert limiter.hit("k", 30 + refused.retry_after, limit=3, window=60, kind=kind).allowed


@pytest.mark.parametrize("kind", ["fixed", "sliding"])
def test_remaining_counts_down_for_each_key(kind: Kind) -> None:
    limiter = RateLimiter()
    left = [limiter.hit("a", 0, limit=3, window=60, kind=kind).remaining for _ in range(3)]
    assert left == [2, 1, 0]
    assert limiter.hit("b", 0, limit=3, window=60, kind=kind).remaining == 2
