"""Listings that come twenty at a time, as one."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Hashable, Sequence
from typing import Final, TypeVar

from mvsep_async.errors import InvalidRequestError

__all__ = ["MAX_PAGE", "collect", "pages"]

MAX_PAGE: Final = 20
"""Most entries that the service gives in one answer (its API page)."""

T = TypeVar("T")


async def collect(
    fetch: Callable[[int, int], Awaitable[Sequence[T]]], *, key: Callable[[T], Hashable], start: int, limit: int
) -> list[T]:
    """Return `limit` entries from `start` on, or as many as there are, asking for no page longer than `MAX_PAGE`."""
    return [entry async for entry in pages(fetch, key=key, start=start, limit=limit)]


async def pages(
    fetch: Callable[[int, int], Awaitable[Sequence[T]]],
    *,
    key: Callable[[T], Hashable],
    start: int = 0,
    limit: int | None = None,
) -> AsyncGenerator[T]:
    """Iterate over all entries from `start` on, at most `limit`; `fetch(start, limit)` gets one page.

    What `key` says was there already is skipped: while one reads, new entries push old ones onto the next page, a short
    one whole. A second page in a row with nothing new ends the listing, so a service that ignores `start` is not asked
    for ever. Raises `InvalidRequestError` for a listing that cannot be.
    """
    if start < 0 or (limit is not None and limit < 1):
        raise InvalidRequestError(f"a listing takes start ≥ 0 and limit ≥ 1, not start={start}, limit={limit}")
    seen: set[Hashable] = set()
    barren = 0
    while limit is None or len(seen) < limit:
        asked = MAX_PAGE if limit is None else min(MAX_PAGE, limit - len(seen))
        page = await fetch(start, asked)
        known = len(seen)
        for entry in page:
            if key(entry) in seen or len(seen) == limit:
                continue
            seen.add(key(entry))
            yield entry
        barren = barren + 1 if len(seen) == known else 0
        if len(page) < asked or barren == 2:
            return
        start += len(page)
