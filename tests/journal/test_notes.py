from hypothesis import given
from hypothesis import strategies as st

from mvsep_async.journal.notes import Notes

JOBS = ["a", "b", "c"]
steps = st.lists(st.tuples(st.sampled_from(["add", "change", "forget"]), st.sampled_from(JOBS)), max_size=30)


def note(notes: Notes, kind: str, job: str, value: int) -> None:
    match kind:
        case "add":
            notes.added[job] = (value,)
        case "change":
            notes.changed[job] = (value,)
        case "forget":
            notes.forget([job])


def test_nothing_noted_is_false() -> None:
    assert not Notes()
    for kind in ("add", "change", "forget"):
        notes = Notes()
        note(notes, kind, "a", 1)
        assert notes


def test_the_later_note_stands() -> None:
    notes = Notes()
    for value in (1, 2):
        note(notes, "change", "a", value)
    assert notes.changed == {"a": (2,)}


def test_pruning_drops_what_is_noted() -> None:
    notes = Notes()
    for kind in ("add", "change"):
        note(notes, kind, "a", 1)
        note(notes, kind, "b", 1)
    notes.forget(["a"])
    assert list(notes.added) == list(notes.changed) == ["b"]
    assert list(notes.forgotten) == ["a"]


def test_single_counts_all_kinds() -> None:
    notes = Notes()
    assert not notes.single
    note(notes, "add", "a", 1)
    assert notes.single
    note(notes, "change", "a", 1)
    assert not notes.single
    pruned = Notes()
    note(pruned, "forget", "a", 1)
    assert not pruned.single


@given(steps, st.integers(0, 30))
def test_two_batches_taken_together_are_one(all_steps: list[tuple[str, str]], cut: int) -> None:
    """However a failed write splits them, notes end as if they had been noted together."""
    together, first, second = Notes(), Notes(), Notes()
    for value, (kind, job) in enumerate(all_steps):
        note(together, kind, job, value)
        note(first if value < cut else second, kind, job, value)
    first.merge(second)
    assert first == together
