"""Listings of many pages as one."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Hashable, Sequence
from typing import Final, Generic, TypeVar

from attrs import frozen

from mvsep_async.errors import InvalidRequestError
from mvsep_async.http.call import Json
from mvsep_async.models.decode import decode

__all__ = ["MAX_PAGE", "Page", "collect", "page_of", "pages"]

MAX_PAGE: Final = 20
"""Most entries that the service sends in one answer (its API page)."""

_HOLED_PAGES: Final = 100
"""Pages in a row with unreadable entries and nothing new that end a listing, so that it always ends."""

T = TypeVar("T")


@frozen
class Page(Generic[T]):
    """One page of a listing. `length` counts the unreadable entries too, such as `null`."""

    entries: Sequence[T]
    length: int


Fetch = Callable[[int, int], Awaitable[Page[T]]]


def page_of(rows: Json, cls: type[T], *, what: str) -> Page[T]:
    """Decode one page of a listing; `what` names the answer in errors."""
    entries: Sequence[T] = decode(rows, list[cls], what=what)  # type: ignore[valid-type]
    return Page(entries, len(rows) if isinstance(rows, list | dict) else 0)


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
    reads. Only an empty page ends the listing, since a service may send fewer entries than asked for, and some may be
    unreadable; or a second page in a row without anything new, so a service that ignores `start` is not asked forever.
    Raises `InvalidRequestError` for a negative `start` or a `limit` below 1.
    """
    if start < 0 or (limit is not None and limit < 1):
        raise InvalidRequestError(f"a listing takes start ≥ 0 and limit ≥ 1, not start={start}, limit={limit}")
    seen: set[Hashable] = set()
    repeated = holed = 0
    while limit is None or len(seen) < limit:
        asked = page if limit is None else min(page, limit - len(seen))
        fetched = await fetch(start, asked)
        known = len(seen)
        for entry in fetched.entries:
            if key(entry) in seen or len(seen) == limit:
                continue
            seen.add(key(entry))
            yield entry
        if len(seen) > known:
            repeated = holed = 0
        elif len(fetched.entries) < fetched.length:
            holed += 1
        else:
            repeated += 1
        if not fetched.length or repeated == 2 or holed == _HOLED_PAGES:
            return
        start += fetched.length
