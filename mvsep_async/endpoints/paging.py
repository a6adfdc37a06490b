"""Listings of many pages as one."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Hashable, Sequence
from typing import Final, TypeVar

from mvsep_async.errors import InvalidRequestError

__all__ = ["MAX_PAGE", "collect", "pages"]

MAX_PAGE: Final = 20
"""Most entries that the service sends in one answer (its API page)."""

T = TypeVar("T")
Fetch = Callable[[int, int], Awaitable[Sequence[T]]]


async def collect(
    fetch: Fetch[T], *, key: Callable[[T], Hashable], start: int, limit: int, page: int = MAX_PAGE
) -> list[T]:
    """Return `limit` entries from `start` on, or as many as there are, in pages of at most `page` entries."""
    return [entry async for entry in pages(fetch, key=key, start=start, limit=limit, page=page)]


async def pages(
    fetch: Fetch[T],
    *,
    key: Callable[[T], Hashable],
    start: int = 0,
    limit: int | None = None,
    page: int = MAX_PAGE,
) -> AsyncGenerator[T]:
    """Iterate over all entries from `start` on, at most `limit`; `fetch(start, limit)` gets one page.

    Entries with a `key` that was given before are skipped: new entries push old ones onto the next page while one
    reads. Only an empty page ends the listing, since a service may send fewer entries than asked for; or a second page
    in a row without anything new, so a service that ignores `start` is not asked forever. Raises `InvalidRequestError`
    for a negative `start` or a `limit` below 1.
    """
    if start < 0 or (limit is not None and limit < 1):
        raise InvalidRequestError(f"a listing takes start ≥ 0 and limit ≥ 1, not start={start}, limit={limit}")
    seen: set[Hashable] = set()
    repeated = 0
    while limit is None or len(seen) < limit:
        asked = page if limit is None else min(page, limit - len(seen))
        entries = await fetch(start, asked)
        known = len(seen)
        for entry in entries:
            if key(entry) in seen or len(seen) == limit:
                continue
            seen.add(key(entry))
            yield entry
        repeated = repeated + 1 if len(seen) == known else 0
        if not entries or repeated == 2:
            return
        start += len(entries)
