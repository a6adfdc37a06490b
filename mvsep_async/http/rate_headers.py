"""Read the rate limit and the time to wait from a response's headers."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final

__all__ = ["LONGEST_WAIT", "limit_of", "remaining_of", "retry_after"]

LONGEST_WAIT: Final = 300.0
"""Longest wait for one `Retry-After`, in seconds. Limits are per minute, so a longer one is a mistake or an outage, and
a request every five minutes is harmless in either."""

_MOST_SECONDS: Final = 1e6
"""A reset up to this is a number of seconds, as other services have it; above it is an epoch (seen here)."""


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds to wait by `Retry-After`, else `X-RateLimit-Reset`; `None` when neither says so.

    Dates and epochs are measured against the answer's own `Date`, so this machine's clock may be wrong.
    """
    text = headers.get("retry-after", "").strip()
    seconds = _number(text)
    if seconds is None and text:
        seconds = _since(_epoch(text), headers)
    if seconds is None:
        reset = _number(headers.get("x-ratelimit-reset", ""))
        seconds = reset if reset is not None and reset <= _MOST_SECONDS else _since(reset, headers)
    return None if seconds is None else min(max(seconds, 0.0), LONGEST_WAIT)


def limit_of(headers: Mapping[str, str]) -> int | None:
    """Return the requests a minute by `X-RateLimit-Limit` (60 and 120 were seen), `None` if absent or absurd."""
    limit = _number(headers.get("x-ratelimit-limit", ""))
    return int(limit) if limit is not None and 1 <= limit <= 1_000_000 else None


def remaining_of(headers: Mapping[str, str]) -> int | None:
    """Return the requests left in this minute by `X-RateLimit-Remaining`, `None` if absent or absurd."""
    left = _number(headers.get("x-ratelimit-remaining", ""))
    return int(left) if left is not None and 0 <= left <= 1_000_000 else None


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if abs(value) < 1e12 else None


def _epoch(text: str) -> float | None:
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    # "-0000" names no zone; HTTP dates are in GMT.
    return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()


def _since(epoch: float | None, headers: Mapping[str, str]) -> float | None:
    now = _epoch(headers.get("date", ""))
    return None if epoch is None or now is None else epoch - now
