from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mvsep_async.errors import DownloadError, InvalidRequestError, JobCancelledError, JobFailedError, UploadError
from mvsep_async.library.decisions import CreditBudget, Done, Fetch, Make, decide, worth_repeating
from mvsep_async.library.manifest import ManifestFile, Row
from mvsep_async.recipes import Recipe, Step

VOCALS = ManifestFile("one", "Vocals", "a/Vocals.mp3", 10, "hash")
OTHER = ManifestFile("one", "Other", "a/Other.mp3", 20, "hash")
ON_DISK = {VOCALS.path: 10, OTHER.path: 20}


def recipe(*keep: str) -> Recipe:
    return Recipe(name="r", steps=[Step(name="one", algorithm=40, keep=keep or None)])


def row(*files: ManifestFile, kept: list[str] | None = None, size: int = 5, mtime_ns: int = 7) -> Row:
    return Row(
        source="a.wav",
        work="w",
        way="BS Roformer",
        title="a",
        size=size,
        mtime_ns=mtime_ns,
        seconds=1.0,
        credits=1,
        place="a/{stem}",
        files=files or (VOCALS, OTHER),
        kept={"one": kept},
    )


def test_a_song_that_is_not_known_is_made() -> None:
    assert decide(recipe(), 5, 7, None, {}) == Make()


def test_a_song_whose_stems_are_there_is_done() -> None:
    assert decide(recipe(), 5, 7, row(), ON_DISK) == Done()


def test_a_changed_song_is_made_anew_in_the_place_of_the_old_stems() -> None:
    assert decide(recipe(), 6, 7, row(), ON_DISK) == decide(recipe(), 5, 8, row(), ON_DISK) == Make((VOCALS, OTHER))


def test_deleted_and_empty_stems_are_fetched() -> None:
    assert decide(recipe(), 5, 7, row(), {VOCALS.path: 10}) == Fetch((VOCALS,))
    assert decide(recipe(), 5, 7, row(), {**ON_DISK, OTHER.path: 0}) == Fetch((VOCALS,))


def test_an_edited_stem_is_its_owners() -> None:
    assert decide(recipe(), 5, 7, row(), {**ON_DISK, OTHER.path: 21}) == Done((OTHER,))


def test_stems_that_were_not_wanted_then_are_fetched_now() -> None:
    only_vocals = row(VOCALS, kept=["Vocals"])
    assert decide(recipe("vocals"), 5, 7, only_vocals, ON_DISK) == Done()
    assert decide(recipe("Vocals", "Other"), 5, 7, only_vocals, ON_DISK) == Fetch((VOCALS,))
    assert decide(recipe(), 5, 7, only_vocals, ON_DISK) == Fetch((VOCALS,))
    assert decide(recipe("Vocals"), 5, 7, row(), ON_DISK) == Done(), "more is there than is wanted"


@given(
    size=st.integers(1, 3),
    mtime=st.integers(1, 3),
    there=st.dictionaries(st.sampled_from([VOCALS.path, OTHER.path]), st.integers(0, 30)),
    keep=st.lists(st.sampled_from(["Vocals", "Other"]), unique=True),
    kept=st.none() | st.lists(st.sampled_from(["Vocals", "Other"]), unique=True, min_size=1),
)
def test_done_means_the_same_song_and_every_stem_on_disk(
    size: int, mtime: int, there: dict[str, int], keep: list[str], kept: list[str] | None
) -> None:
    files = tuple(file for file in (VOCALS, OTHER) if kept is None or file.stem in kept)
    action = decide(recipe(*keep), size, mtime, row(*files, kept=kept, size=2, mtime_ns=2), there)
    if (size, mtime) != (2, 2):
        assert action == Make(files)
    else:
        whole = all(there.get(file.path, 0) for file in files)
        covered = kept is None or (bool(keep) and set(keep) <= set(kept))
        assert isinstance(action, Done if whole and covered else Fetch)


@given(limit=st.none() | st.integers(0, 50), costs=st.lists(st.integers(1, 20)))
def test_a_purse_never_gives_more_than_it_has(limit: int | None, costs: list[int]) -> None:
    purse = CreditBudget(limit)
    given = [cost for cost in costs if purse.take(cost)]
    assert purse.spent == sum(given)
    assert given == costs if limit is None else purse.spent <= limit


def test_under_a_limit_an_unknown_price_is_not_paid() -> None:
    assert CreditBudget(None).take(None)
    assert not CreditBudget(100).take(None)


def test_what_was_refused_is_not_tried_again() -> None:
    assert all(worth_repeating(error("x")) for error in (JobFailedError, DownloadError, UploadError))
    assert not any(worth_repeating(error("x")) for error in (InvalidRequestError, JobCancelledError))
