"""Many seeds, with one client and with several that share a journal, and the figures of them all."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

from attrs import define

from benchmarks.report import Row

from .run import Result, run, shrink
from .scenario import Scenario
from .shared.run import run_shared
from .shared.scenario import SharedScenario

__all__ = ["PROMISES", "measure"]

PROMISES = (
    "no audio is paid twice",
    "no song is lost",
    "files are whole",
    "a key is one job",
    "what was cancelled stays cancelled",
    "the limit is kept",
    "the budget is kept",
    "fraction never falls",
    "whoever waits knows what for",
    "a short fault ends no queued song",
    "tasks are bounded",
    "no create is refused for lack of a slot",
    "who has lost its lease does nothing",
    "no job waits for ever",
)
"""What is checked in every run."""


def measure(quick: bool = False, *, seeds: int = 200, first: int = 0) -> list[Row]:
    """Run seeds and return how often each promise was broken, and how much life they had."""
    several, one, broken = _Figures("several clients with one journal"), _Figures("one client"), Counter[str]()
    for seed in range(first, first + (1 if quick else seeds)):
        one.add(seed, run(Scenario.of(seed)), broken, run)
        several.add(seed, run_shared(SharedScenario.of(seed)), broken, run_shared)
    names = dict.fromkeys((*PROMISES, *broken))
    promises = [Row(name=f"broken: {name}", unit="", ours=broken[name], goal=0) for name in names]
    return [*one.rows(), *several.rows(), *promises]


@define
class _Figures:
    """The figures of one kind of run."""

    name: str
    seconds: float = 0.0
    lives: int = 0
    jobs: int = 0
    faults: int = 0

    def add(self, seed: int, result: Result, broken: Counter[str], again: Callable[[Any], Result]) -> None:
        """Add a run, and print its story if it breaks a promise."""
        self.seconds, self.lives = self.seconds + result.seconds, self.lives + result.lives
        self.jobs, self.faults = self.jobs + result.jobs, self.faults + result.faults
        if result.violation is not None:
            broken[result.violation.promise] += 1
            print(f"seed {seed}, {self.name}: {result.violation}", file=sys.stderr)
            print(shrink(result, again=again).describe(), file=sys.stderr)

    def rows(self) -> list[Row]:
        figures = [
            ("virtual hours of account life", "h", self.seconds / 3600.0),
            ("starts of a process", "", self.lives),
            ("jobs paid", "", self.jobs),
            ("requests and transactions with an injected fault", "", self.faults),
        ]
        return [Row(name=f"{self.name}: {name}", unit=unit, ours=ours) for name, unit, ours in figures]
