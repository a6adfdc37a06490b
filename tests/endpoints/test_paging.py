from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mvsep_async.endpoints.paging import MAX_PAGE, Page, collect, pages
from mvsep_async.errors import InvalidRequestError


class Listing:
    """Serves numbers, and `null` in the place of those in `holes`.

    Before the pages in `grows`, a new entry comes in at the front.
    """

    def __init__(
        self, count: int, *, clip: int = MAX_PAGE, grows: Sequence[int] = (), holes: Sequence[int] = ()
    ) -> None:
        self.entries = list(range(count))
        self.asked: list[tuple[int, int]] = []
        self.clip = clip
        self.grows = grows
        self.holes = holes

    async def __call__(self, start: int, limit: int) -> Page[int]:
        if len(self.asked) in self.grows:
            self.entries.insert(0, 1000 + len(self.asked))
        self.asked.append((start, limit))
        sent = self.entries[start : start + min(limit, self.clip)]
        return Page([entry for entry in sent if entry not in self.holes], len(sent))


def identity(entry: int) -> int:
    return entry


@given(st.integers(0, 100), st.integers(0, 50), st.integers(1, 100))
async def test_a_long_listing_is_fetched_in_pages(count: int, start: int, limit: int) -> None:
    listing = Listing(count)
    assert await collect(listing, key=identity, start=start, limit=limit) == list(range(count))[start : start + limit]
    assert all(1 <= asked <= MAX_PAGE for _, asked in listing.asked)


async def test_the_last_page_is_as_short_as_needed() -> None:
    listing = Listing(100)
    await collect(listing, key=identity, start=3, limit=45)
    assert listing.asked == [(3, 20), (23, 20), (43, 5)]


@given(st.integers(0, 100))
async def test_all_pages(count: int) -> None:
    assert [entry async for entry in pages(Listing(count), key=identity)] == list(range(count))


async def test_entries_that_move_to_the_next_page_are_not_repeated() -> None:
    found = [entry async for entry in pages(Listing(50, grows=(1, 2)), key=identity)]
    assert found == list(range(50))


async def test_a_page_of_known_entries_does_not_end_the_listing() -> None:
    assert await collect(Listing(50, grows=(1,)), key=identity, start=0, limit=21) == list(range(21))


async def test_a_service_that_ignores_start_ends_the_listing() -> None:
    asked = []

    async def same(start: int, limit: int) -> Page[int]:
        asked.append(start)
        return Page(range(limit), limit)

    assert [entry async for entry in pages(same, key=identity)] == list(range(20))
    assert asked == [0, 20, 40]


@pytest.mark.parametrize("clip", [1, 3, 20])
async def test_a_page_of_unreadable_entries_does_not_end_the_listing(clip: int) -> None:
    listing = Listing(50, clip=clip, holes=range(10, 30))
    assert [entry async for entry in pages(listing, key=identity)] == [*range(10), *range(30, 50)]


@given(st.integers(0, 60), st.lists(st.integers(0, 60)), st.integers(1, 20))
async def test_every_readable_entry_is_given_once(count: int, holes: list[int], clip: int) -> None:
    listing = Listing(count, clip=clip, holes=holes)
    assert [entry async for entry in pages(listing, key=identity)] == [e for e in range(count) if e not in holes]


async def test_a_service_that_sends_unreadable_entries_forever_ends_the_listing() -> None:
    asked = []

    async def holes(start: int, limit: int) -> Page[int]:
        asked.append(start)
        return Page([], limit)

    assert await collect(holes, key=identity, start=0, limit=5) == []
    assert len(asked) == 100


@pytest.mark.parametrize(("start", "limit"), [(-1, 10), (0, 0), (0, -5)])
async def test_invalid_pages_are_refused_before_a_call(start: int, limit: int) -> None:
    listing = Listing(5)
    with pytest.raises(InvalidRequestError, match="start ≥ 0 and limit ≥ 1"):
        await collect(listing, key=identity, start=start, limit=limit)
    with pytest.raises(InvalidRequestError, match="start ≥ 0 and limit ≥ 1"):
        await anext(pages(listing, key=identity, start=start, limit=limit))
    assert not listing.asked
