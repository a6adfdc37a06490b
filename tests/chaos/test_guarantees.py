"""The page of guarantees names existing tests."""

from __future__ import annotations

import re
from pathlib import Path

_ROOT = Path(__file__).parents[2]


def test_every_test_that_the_page_names_exists() -> None:
    page = (_ROOT / "docs" / "guarantees.md").read_text(encoding="utf-8")
    named = re.findall(r"`(tests/[\w/]+\.py)?(?:::(\w+))?`", page)
    file, count = "", 0
    for path, name in named:
        file = path or file
        if file and (path or name):
            count += 1
            assert f"def {name}" in (_ROOT / file).read_text(encoding="utf-8"), f"{file}::{name}"
    assert count > 25
