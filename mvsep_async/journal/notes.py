"""What was noted and is not written yet, with later notes in the place of earlier ones about the same thing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

from attrs import define, field

__all__ = ["FileRow", "Notes", "Row", "Value"]

Value: TypeAlias = "int | float | str | bytes | None"
Row: TypeAlias = tuple[Value, ...]
FileRow: TypeAlias = tuple[str, Value, int | None, int]


@define
class Notes:
    """Changes to write in one transaction: first `forgotten`, then `added`, `changed` and `files`.

    That order is always the right one, since an id is never given twice and a key only after its job was forgotten.
    """

    forgotten: dict[str, None] = field(factory=dict)
    added: dict[str, Row] = field(factory=dict)
    changed: dict[str, Row] = field(factory=dict)
    _sizes: dict[str, dict[Value, tuple[int | None, int]]] = field(factory=dict)

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self._sizes or self.forgotten)

    @property
    def files(self) -> Iterator[FileRow]:
        """Each file noted: job, path, size, bytes safe."""
        for job, sizes in self._sizes.items():
            for path, (size, safe) in sizes.items():
                yield job, path, size, safe

    def file(self, job: str, path: Value, size: int | None, safe: int) -> None:
        self._sizes.setdefault(job, {})[path] = (size, safe)

    def forget(self, jobs: Sequence[str]) -> None:
        for job in jobs:
            self.added.pop(job, None)
            self.changed.pop(job, None)
            self._sizes.pop(job, None)
            self.forgotten[job] = None

    def take_up(self, later: Notes) -> None:
        """Put what was noted later on top of this, which could not be written."""
        self.forget(tuple(later.forgotten))
        self.added.update(later.added)
        self.changed.update(later.changed)
        for job, path, size, safe in later.files:
            self.file(job, path, size, safe)
