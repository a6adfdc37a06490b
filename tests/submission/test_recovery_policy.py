"""When the lists are read for lost jobs, and what they prove."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mvsep_async.submission.recovery_policy import SEARCHES, HistoryEnd, Search

PATIENCE = 100.0


def run(search: Search, listed: list[tuple[float, str]], *, took: float = 0.0) -> list[tuple[float, str | None]]:
    """Look whenever it is due, at lists that show each hash from a moment on; return when what was found."""
    now, settled = 0.0, []
    while search.jobs:
        now += search.wait(now)
        began = now
        now += took
        hashes = [hash for since, hash in listed if since <= began]
        settled += [(began, found) for found in search.searched(began, hashes).values()]
        assert len(settled) < 1000
    return settled


@given(st.floats(0, PATIENCE), st.floats(0, 30))
def test_a_job_that_shows_in_time_is_found_and_soon(shown_at: float, took: float) -> None:
    search = Search(PATIENCE)
    search.begin("mvaaa", 0.0)
    ((at, result),) = run(search, [(shown_at, "20230327071601-0e3e5c6c85-mvaaa-song.wav")], took=took)
    assert result == "20230327071601-0e3e5c6c85-mvaaa-song.wav"
    later = [look * PATIENCE for look in SEARCHES if look * PATIENCE >= shown_at]
    assert at <= later[0] + took


@given(st.floats(0, 30))
def test_absence_is_proved_only_by_a_look_after_all_the_time_it_may_need(took: float) -> None:
    search = Search(PATIENCE)
    search.begin("mvaaa", 0.0)
    ((at, result),) = run(search, [(0.0, "20230327071601-0e3e5c6c85-mvbbb-song.wav")], took=took)
    assert result is None
    assert at >= PATIENCE


def test_a_look_begun_too_early_proves_nothing_however_long_it_took() -> None:
    search = Search(PATIENCE)
    search.begin("mvaaa", 0.0)
    assert search.searched(99.9, []) == {}
    assert search.jobs == ("mvaaa",)


def test_one_reading_serves_all() -> None:
    search = Search(PATIENCE)
    for number in range(5):
        search.begin(f"mv{number}", float(number))
    found = search.searched(102.0, ["x-mv3-y.wav", "x-mv0-y.wav"])
    assert found == {"mv0": "x-mv0-y.wav", "mv1": None, "mv2": None, "mv3": "x-mv3-y.wav"}
    assert search.jobs == ("mv4",)


def pages_read(end: HistoryEnd, pages: list[tuple[int, int, list[float]]]) -> int:
    """Return how many of the pages are read; each is its entries, the new ones, and the stamps of our jobs."""
    for number, page in enumerate(pages, 1):
        if end.read(*page):
            return number
    return len(pages) + 1


@given(st.lists(st.integers(1, 20), max_size=30))
def test_a_short_page_does_not_end_the_history(sizes: list[int]) -> None:
    assert pages_read(HistoryEnd(None, thorough=True), [(size, size, []) for size in sizes]) == len(sizes) + 1


def test_the_history_ends_with_two_empty_pages_or_ten_repeated_ones() -> None:
    assert (
        pages_read(HistoryEnd(None, thorough=True), [(9, 9, []), (0, 0, []), (5, 5, []), (0, 0, []), (0, 0, [])]) == 5
    )
    assert pages_read(HistoryEnd(None, thorough=True), [(9, 9, []), *[(9, 0, [])] * 12]) == 11


@given(st.lists(st.floats(100.0, 1e10), max_size=5))
def test_only_a_job_accepted_before_the_lost_create_ends_it_earlier(later: list[float]) -> None:
    assert pages_read(HistoryEnd(100.0, thorough=True), [(20, 20, later)] * 9) == 10
    assert pages_read(HistoryEnd(100.0, thorough=True), [(20, 20, [*later, 99.0])] * 9) == 2
    assert pages_read(HistoryEnd(None, thorough=True), [(20, 20, [99.0])] * 9) == 10


def test_an_early_search_reads_the_newest_pages_only() -> None:
    assert pages_read(HistoryEnd(None, thorough=False), [(20, 20, [])] * 9) == 5


@pytest.mark.parametrize(("entries", "new"), [(1, 0), (3, 0)])
def test_pages_of_unreadable_entries_do_not_end_the_history(entries: int, new: int) -> None:
    end = HistoryEnd(None, thorough=True)
    assert not any(end.read(entries, new, [], unreadable=1) for _ in range(9))
    assert not end.read(1, 1, [])
    assert [end.read(entries, new, [], unreadable=1) for _ in range(100)].index(True) == 99
