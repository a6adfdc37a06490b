from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mvsep_async.jobs.failures import FailureKind
from mvsep_async.library.decisions import (
    QUIET,
    CreditBudget,
    FetchMissing,
    UpToDate,
    check_stems,
    is_tried_again,
    seconds_until_quiet,
)
from mvsep_async.library.records import FailedSong, ManifestFile, SeparatedSong
from mvsep_async.recipes import Recipe, Step

VOCALS = ManifestFile("one", "Vocals", "a/Vocals.mp3", 10, "hash")
OTHER = ManifestFile("one", "Other", "a/Other.mp3", 20, "hash")
ON_DISK = {VOCALS.path: 10, OTHER.path: 20}


def recipe(*keep: str) -> Recipe:
    return Recipe(name="r", steps=[Step(name="one", algorithm=40, keep=keep or None)])


def known(*files: ManifestFile, kept: list[str] | None = None) -> SeparatedSong:
    return SeparatedSong(
        source="a.wav",
        method="w",
        method_name="BS Roformer",
        title="a",
        size=5,
        mtime_ns=7,
        content="c",
        audio_length=3,
        seconds=1.0,
        credits=1,
        place="a/{stem}",
        files=files or (VOCALS, OTHER),
        kept={"one": kept},
    )


def test_a_song_whose_stems_exist_is_up_to_date() -> None:
    assert check_stems(recipe(), known(), ON_DISK) == UpToDate()


def test_deleted_and_empty_stems_are_fetched() -> None:
    assert check_stems(recipe(), known(), {VOCALS.path: 10}) == FetchMissing((VOCALS,))
    assert check_stems(recipe(), known(), {**ON_DISK, OTHER.path: 0}) == FetchMissing((VOCALS,))


def test_an_edited_stem_belongs_to_the_user() -> None:
    assert check_stems(recipe(), known(), {**ON_DISK, OTHER.path: 21}) == UpToDate((OTHER,))


def test_stems_that_were_not_wanted_before_are_fetched() -> None:
    only_vocals = known(VOCALS, kept=["Vocals"])
    assert check_stems(recipe("vocals"), only_vocals, ON_DISK) == UpToDate()
    assert check_stems(recipe("Vocals", "Other"), only_vocals, ON_DISK) == FetchMissing((VOCALS,))
    assert check_stems(recipe(), only_vocals, ON_DISK) == FetchMissing((VOCALS,))
    assert check_stems(recipe("Vocals"), known(), ON_DISK) == UpToDate(), "more exist than are wanted"


@given(
    there=st.dictionaries(st.sampled_from([VOCALS.path, OTHER.path]), st.integers(0, 30)),
    keep=st.lists(st.sampled_from(["Vocals", "Other"]), unique=True),
    kept=st.none() | st.lists(st.sampled_from(["Vocals", "Other"]), unique=True, min_size=1),
)
def test_up_to_date_means_every_stem_on_disk(there: dict[str, int], keep: list[str], kept: list[str] | None) -> None:
    files = tuple(file for file in (VOCALS, OTHER) if kept is None or file.stem in kept)
    action = check_stems(recipe(*keep), known(*files, kept=kept), there)
    whole = all(there.get(file.path, 0) for file in files)
    covered = kept is None or (bool(keep) and set(keep) <= set(kept))
    assert isinstance(action, UpToDate if whole and covered else FetchMissing)


def test_which_failures_are_tried_again() -> None:
    def failed(kind: FailureKind) -> FailedSong:
        return FailedSong(
            source="a", method="m", size=1, mtime_ns=1, content="c", audio_length=1, kind=kind, message="no"
        )

    tried = {
        kind: [is_tried_again(failed(kind), retry_failed=asked) for asked in (False, True)] for kind in FailureKind
    }
    assert tried == {
        FailureKind.TEMPORARY: [True, True],
        FailureKind.ON_REQUEST: [False, True],
        FailureKind.PERMANENT: [False, False],
    }


@given(age=st.floats(-1e6, 1e6))
def test_a_young_file_is_waited_for_at_most_a_moment(age: float) -> None:
    wait = seconds_until_quiet(int((1e9 - age) * 1e9), 1e9)
    assert 0 <= wait <= QUIET
    assert (wait > 0) == (-60 < age < QUIET) or abs(age - QUIET) < 1e-3 or abs(age + 60) < 1e-3


@given(limit=st.none() | st.integers(0, 50), costs=st.lists(st.integers(1, 20)))
def test_a_budget_never_reserves_more_than_it_has(limit: int | None, costs: list[int]) -> None:
    budget = CreditBudget(limit)
    given = [cost for cost in costs if budget.reserve(cost)]
    assert budget.spent == sum(given)
    assert given == costs if limit is None else budget.spent <= limit


def test_under_a_limit_an_unknown_price_is_not_paid() -> None:
    assert CreditBudget(None).reserve(None)
    assert not CreditBudget(100).reserve(None)
