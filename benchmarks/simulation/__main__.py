"""`python -m benchmarks.simulation --seeds N [--first SEED]`, or `--seed N [--shared]` for the story of one seed."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any

from benchmarks.report import show

from .measure import measure
from .run import Result, run, shrink
from .scenario import Scenario
from .shared.run import run_shared
from .shared.scenario import SharedScenario


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=100, metavar="N", help="run so many seeds")
    parser.add_argument("--first", type=int, default=0, metavar="SEED", help="the first of them")
    parser.add_argument("--seed", type=int, metavar="SEED", help="tell the story of this one, made as small as it goes")
    parser.add_argument("--shared", action="store_true", help="with several clients that share a journal")
    arguments = parser.parse_args()
    if arguments.seed is not None:
        again: Callable[[Any], Result] = run_shared if arguments.shared else run
        kind = SharedScenario if arguments.shared else Scenario
        result = again(kind.of(arguments.seed))
        print((result if result.violation is None else shrink(result, again=again)).describe())
        return 0 if result.violation is None else 1
    rows = measure(seeds=arguments.seeds, first=arguments.first)
    show(rows)
    return 0 if all(row.ours == 0 for row in rows if row.goal == 0) else 1


if __name__ == "__main__":
    sys.exit(main())
