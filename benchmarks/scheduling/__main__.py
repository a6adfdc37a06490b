"""`python -m benchmarks.scheduling`: run the scenarios and print the results."""

from __future__ import annotations

import argparse

from benchmarks.scheduling.measure import measure, table

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scheduling", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="only show that it runs")
    print(table(measure(parser.parse_args().quick)))
