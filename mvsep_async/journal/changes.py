"""Changes that are not yet written to the journal; later ones replace earlier ones of the same job."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import TypeAlias, TypeVar

from attrs import define, field

__all__ = ["PendingChanges", "Row", "Value"]

T = TypeVar("T")

Value: TypeAlias = "int | float | str | bytes | None"
Row: TypeAlias = tuple[Value, ...]


@define
class PendingChanges:
    """Changes to write in one transaction: `forgotten`, `added`, `amended`, `changed`, then `durations`.

    This order is always right: ids are never reused, and a key is reused only after its job was forgotten.
    """

    forgotten: dict[str, None] = field(factory=dict)
    added: dict[str, Row] = field(factory=dict)
    amended: dict[str, Row] = field(factory=dict)
    changed: dict[str, Row] = field(factory=dict)
    durations: list[Row] = field(factory=list)

    def __bool__(self) -> bool:
        return bool(self.added or self.amended or self.changed or self.forgotten or self.durations)

    @property
    def single(self) -> bool:
        """Whether one statement writes all of it: a single change and no pruning."""
        if self.forgotten or self.durations:
            return False
        return len(self.added) + len(self.amended) + len(self.changed) == 1

    def forget(self, jobs: Sequence[str]) -> None:
        """Add the pruning of jobs and drop the other changes of these jobs."""
        gone = dict.fromkeys(jobs)
        for job in gone:
            self.added.pop(job, None)
            self.amended.pop(job, None)
            self.changed.pop(job, None)
        self.forgotten |= gone

    def take(self, most: int) -> PendingChanges:
        """Remove up to `most` changes and return them; written one after the other, the parts have the same effect."""
        part = PendingChanges()
        most -= _move(self.forgotten, part.forgotten, most)
        most -= _move(self.added, part.added, most)
        most -= _move(self.amended, part.amended, most)
        most -= _move(self.changed, part.changed, most)
        part.durations, self.durations = self.durations[:most], self.durations[most:]
        return part

    def merge(self, later: PendingChanges) -> None:
        """Add changes that came later than these, which could not be written."""
        self.forget(tuple(later.forgotten))
        self.added |= later.added
        self.amended |= later.amended
        self.changed |= later.changed
        self.durations += later.durations


def _move(source: dict[str, T], target: dict[str, T], most: int) -> int:
    """Move up to `most` items, the first ones first, and return how many."""
    names = list(islice(source, most))
    for name in names:
        target[name] = source.pop(name)
    return len(names)
