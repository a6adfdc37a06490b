"""Each benchmark runs in a small form and returns figures."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.__main__ import MEASUREMENTS

pytestmark = pytest.mark.slow

# What takes many kills to say anything has tests of its own.
NAMES = sorted(set(MEASUREMENTS) - {"chaos", "shared-chaos"})


@pytest.mark.parametrize("name", NAMES)
def test_it_runs_and_writes_what_it_found(name: str, tmp_path: Path) -> None:
    figures, table, picture = (tmp_path / f"rows.{kind}" for kind in ("json", "md", "svg"))
    command = [sys.executable, "-m", "benchmarks", name, "--quick"]
    written = ["--json", figures, "--markdown", table, "--svg", picture]
    run = subprocess.run([*command, *map(str, written)], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    rows = json.loads(figures.read_text())["rows"]
    assert rows
    assert all(math.isfinite(row["ours"]) for row in rows)
    assert all(row["name"] in table.read_text() for row in rows)
    assert picture.read_text().startswith("<svg ")


def test_a_name_that_there_is_not_is_a_usage_error() -> None:
    run = subprocess.run([sys.executable, "-m", "benchmarks", "uplaod"], capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert "no such measurement: uplaod" in run.stderr
