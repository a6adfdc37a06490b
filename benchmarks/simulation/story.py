"""What happened in a run, line by line, and the violation that ended it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from attrs import define, field

__all__ = ["Story", "Violation"]

_SHOWN: Final = 400
"""Lines of a story that are printed: the last ones, which lead to the violation."""


class Violation(AssertionError):
    """A promise of the client that did not hold in the simulation. `promise` names it, for comparing runs."""

    def __init__(self, promise: str, detail: str) -> None:
        super().__init__(f"{promise}: {detail}")
        self.promise = promise


@define(eq=False)
class Story:
    """Collects lines with their virtual time, and the first violation."""

    clock: Callable[[], float] = lambda: 0.0
    lines: list[str] = field(factory=list)
    violation: Violation | None = None
    on_violation: Callable[[], object] | None = None

    def say(self, actor: str, text: str) -> None:
        """Add a line."""
        self.lines.append(f"{self.clock():12.3f}  {actor:<8} {text}")

    def violate(self, promise: str, detail: str) -> None:
        """Record a violation; only the first one counts, since others may follow from it."""
        self.say("BROKEN", f"{promise}: {detail}")
        if self.violation is None:
            self.violation = Violation(promise, detail)
            if self.on_violation is not None:
                self.on_violation()

    def text(self) -> str:
        """Return the end of the story as text."""
        left_out = len(self.lines) - _SHOWN
        head = [f"… {left_out} lines before"] if left_out > 0 else []
        return "\n".join([*head, *self.lines[-_SHOWN:]])
