from hypothesis import given
from hypothesis import strategies as st

from mvsep_async.journal.changes import PendingChanges

JOBS = ["a", "b", "c"]
steps = st.lists(st.tuples(st.sampled_from(["add", "change", "forget"]), st.sampled_from(JOBS)), max_size=30)


def note(changes: PendingChanges, kind: str, job: str, value: int) -> None:
    match kind:
        case "add":
            changes.added[job] = (value,)
        case "change":
            changes.changed[job] = (value,)
        case "forget":
            changes.forget([job])


def test_no_changes_are_false() -> None:
    assert not PendingChanges()
    for kind in ("add", "change", "forget"):
        changes = PendingChanges()
        note(changes, kind, "a", 1)
        assert changes


def test_later_changes_replace_earlier_ones() -> None:
    changes = PendingChanges()
    for value in (1, 2):
        note(changes, "change", "a", value)
    assert changes.changed == {"a": (2,)}


def test_pruning_drops_pending_changes() -> None:
    changes = PendingChanges()
    for kind in ("add", "change"):
        note(changes, kind, "a", 1)
        note(changes, kind, "b", 1)
    changes.forget(["a"])
    assert list(changes.added) == list(changes.changed) == ["b"]
    assert list(changes.forgotten) == ["a"]


def test_single_counts_all_kinds() -> None:
    changes = PendingChanges()
    assert not changes.single
    note(changes, "add", "a", 1)
    assert changes.single
    note(changes, "change", "a", 1)
    assert not changes.single
    pruned = PendingChanges()
    note(pruned, "forget", "a", 1)
    assert not pruned.single


@given(steps, st.integers(0, 30))
def test_merged_changes_equal_those_made_together(all_steps: list[tuple[str, str]], cut: int) -> None:
    """However a failed write splits them, changes end as if they had been noted together."""
    together, first, second = PendingChanges(), PendingChanges(), PendingChanges()
    for value, (kind, job) in enumerate(all_steps):
        note(together, kind, job, value)
        note(first if value < cut else second, kind, job, value)
    first.merge(second)
    assert first == together


def test_parts_of_changes_have_the_effect_of_all() -> None:
    whole = PendingChanges()
    for number in range(5):
        whole.added[f"new {number}"] = (number,)
        whole.changed[f"old {number}"] = (number,)
        whole.durations.append((number,))
    whole.forget(["gone 1", "gone 2"])
    expected = PendingChanges()
    expected.merge(whole)
    written = PendingChanges()
    while whole:
        part = whole.take(4)
        assert len(part.forgotten) + len(part.added) + len(part.changed) + len(part.durations) <= 4
        written.merge(part)
    assert written == expected
    assert list(written.added) == [f"new {number}" for number in range(5)]
