"""Many seeds, and the figures of them all."""

from __future__ import annotations

import sys
from collections import Counter

from benchmarks.report import Row

from .run import run, shrink
from .scenario import Scenario

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
)
"""What is checked in every run."""


def measure(quick: bool = False, *, seeds: int = 200, first: int = 0) -> list[Row]:
    """Run seeds and return how often each promise was broken, and how much life they had."""
    broken: Counter[str] = Counter()
    seconds, lives, jobs, faults = 0.0, 0, 0, 0
    for seed in range(first, first + (1 if quick else seeds)):
        result = run(Scenario.of(seed))
        seconds, lives = seconds + result.seconds, lives + result.lives
        jobs, faults = jobs + result.jobs, faults + result.faults
        if result.violation is not None:
            broken[result.violation.promise] += 1
            print(f"seed {seed}: {result.violation}", file=sys.stderr)
            print(shrink(result).describe(), file=sys.stderr)
    figures = [
        Row(name="virtual days of account life", unit="days", ours=seconds / 86400.0),
        Row(name="starts of the process", unit="", ours=lives),
        Row(name="jobs paid", unit="", ours=jobs),
        Row(name="requests with an injected fault", unit="", ours=faults),
    ]
    names = dict.fromkeys((*PROMISES, *broken))
    return [*figures, *(Row(name=f"broken: {name}", unit="", ours=broken[name], goal=0) for name in names)]
