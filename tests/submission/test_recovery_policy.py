"""When the lists are read for lost jobs, and what they prove."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from mvsep_async.jobs.request import new_id
from mvsep_async.submission.recovery_policy import LOOKS, Absent, Found, Search, horizon, is_before

PATIENCE = 100.0


def run(search: Search, listed: list[tuple[float, str]], *, took: float = 0.0) -> list[tuple[float, Found | Absent]]:
    """Look whenever it is due, at lists that show each hash from a moment on."""
    now, settled = 0.0, []
    while search.jobs:
        now += search.wait(now)
        began = now
        now += took
        hashes = [hash for since, hash in listed if since <= began]
        settled += [(began, result) for result in search.looked(began, hashes)]
        assert len(settled) < 1000
    return settled


@given(st.floats(0, PATIENCE), st.floats(0, 30))
def test_a_job_that_shows_in_time_is_found_and_soon(shown_at: float, took: float) -> None:
    search = Search(PATIENCE)
    search.begin("mvaaa", 0.0)
    ((at, result),) = run(search, [(shown_at, "20230327071601-0e3e5c6c85-mvaaa-song.wav")], took=took)
    assert result == Found("mvaaa", "20230327071601-0e3e5c6c85-mvaaa-song.wav")
    later = [look * PATIENCE for look in LOOKS if look * PATIENCE >= shown_at]
    assert at <= later[0] + took


@given(st.floats(0, 30))
def test_absence_is_proved_only_by_a_look_after_all_the_time_it_may_need(took: float) -> None:
    search = Search(PATIENCE)
    search.begin("mvaaa", 0.0)
    ((at, result),) = run(search, [(0.0, "20230327071601-0e3e5c6c85-mvbbb-song.wav")], took=took)
    assert result == Absent("mvaaa")
    assert at >= PATIENCE


def test_a_look_begun_too_early_proves_nothing_however_long_it_took() -> None:
    search = Search(PATIENCE)
    search.begin("mvaaa", 0.0)
    assert search.looked(99.9, []) == []
    assert search.jobs == ("mvaaa",)


def test_one_reading_serves_all() -> None:
    search = Search(PATIENCE)
    for number in range(5):
        search.begin(f"mv{number}", float(number))
    settled = search.looked(102.0, ["x-mv3-y.wav", "x-mv0-y.wav"])
    assert settled == [Found("mv0", "x-mv0-y.wav"), Absent("mv1"), Absent("mv2"), Found("mv3", "x-mv3-y.wav")]
    assert search.jobs == ("mv4",)


def test_the_looks_are_few() -> None:
    search = Search(PATIENCE)
    search.begin("mvaaa", 0.0)
    looks, now = 0, 0.0
    while search.jobs:
        now += search.wait(now)
        search.looked(now, [])
        looks += 1
    assert looks == len(LOOKS)


def test_a_search_can_be_ended_and_begun_once() -> None:
    search = Search(PATIENCE)
    assert search.wait(0.0) == float("inf")
    search.begin("mvaaa", 0.0)
    search.begin("mvaaa", 50.0)
    assert search.wait(0.0) == LOOKS[0] * PATIENCE
    search.end("mvaaa")
    search.end("mvaaa")
    assert search.wait(0.0) == float("inf")


def test_tags_do_not_meet() -> None:
    first, second = new_id(), new_id()
    search = Search(PATIENCE)
    search.begin(first, 0.0)
    assert search.looked(0.0, [f"20230327071601-0e3e5c6c85-{second}-{first}x.wav", f"x{first}-a.wav"]) == []
    assert search.looked(0.0, [f"20230327071601-0e3e5c6c85-{first.upper()}-song.wav"])


MOMENT = datetime(2023, 3, 27, 12, tzinfo=UTC).timestamp()


def test_what_is_certainly_older_ends_the_reading() -> None:
    assert is_before("20230325071601-0e3e5c6c85-a.wav", MOMENT, accepted_at=None)
    assert not is_before("20230327071601-0e3e5c6c85-a.wav", MOMENT, accepted_at=None)
    assert not is_before(
        "20230326120000-0e3e5c6c85-a.wav", MOMENT, accepted_at=None
    )  # whichever time zones both are in
    assert is_before("mine", MOMENT, accepted_at=MOMENT - 301)
    assert not is_before("mine", MOMENT, accepted_at=MOMENT - 299)  # the clock may have been set meanwhile
    assert not is_before("mine", MOMENT, accepted_at=MOMENT + 1)


def test_the_lists_are_read_back_to_the_first_of_the_creates() -> None:
    assert horizon([30.0, 20.0, 40.0], 50.0) == 20.0
    assert horizon([30.0, None], 50.0) == 0.0
    assert horizon([30.0, 51.0], 50.0) == 0.0  # the clock was ahead when it was noted
    assert horizon([], 50.0) == 0.0


@given(st.text(max_size=30), st.floats(-1e18, 1e18))
def test_any_hash_and_moment_can_be_asked(hash: str, moment: float) -> None:
    assert is_before(hash, moment, accepted_at=None) in (True, False)
