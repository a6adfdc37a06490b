"""`python -m benchmarks [NAME...] [--quick]`: run benchmarks and compare them with their goals.

`--json FILE`, `--markdown FILE` and `--svg FILE` also write the results, as JSON, as a table and
as a picture.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path

from benchmarks.plot import draw
from benchmarks.report import Row, markdown, show, write

MEASUREMENTS = {
    "upload": "benchmarks.transfer.upload",
    "download": "benchmarks.transfer.download",
    "memory": "benchmarks.transfer.memory",
    "lag": "benchmarks.transfer.lag",
    "scheduling": "benchmarks.scheduling.rows",
    "freshness": "benchmarks.freshness",
    "refill": "benchmarks.refill",
    "line": "benchmarks.line",
    "handles": "benchmarks.handles",
    "journal": "benchmarks.journal",
    "journal-loop": "benchmarks.journal_loop",
    "others": "benchmarks.others",
    "decoding": "benchmarks.decoding",
    "startup": "benchmarks.startup",
    "library": "benchmarks.library",
    "chaos": "benchmarks.chaos",
    "soak": "benchmarks.soak",
    "processes": "benchmarks.processes",
    "shared-chaos": "benchmarks.shared_chaos",
    "simulation": "benchmarks.simulation.measure",
}
"""What can be measured: name to a module with `measure(quick: bool) -> list[Row]`."""


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Results of measurements beside their goals."
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(MEASUREMENTS)}; all if none is given")
    parser.add_argument(
        "--quick", action="store_true", help="small and once: shows that it runs, the figures are worthless"
    )
    parser.add_argument("--seeds", type=int, default=200, metavar="N", help="how many lives `simulation` runs")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures there")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="also write the table there, as for a page")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="also draw them there")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(MEASUREMENTS):
        parser.error(f"no such measurement: {', '.join(sorted(unknown))}")
    rows: list[Row] = []
    for name in arguments.names or MEASUREMENTS:
        print(f"{name} …", file=sys.stderr, flush=True)
        settings = {"seeds": arguments.seeds} if name == "simulation" else {}
        rows += importlib.import_module(MEASUREMENTS[name]).measure(arguments.quick, **settings)
    show(rows)
    if arguments.json:
        write(rows, arguments.json)
    if arguments.markdown:
        arguments.markdown.write_text(markdown(rows))
    if arguments.svg:
        draw(rows, arguments.svg, " ".join(["python -m benchmarks", *arguments.names]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
