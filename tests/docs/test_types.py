"""Every Python block of the pages is well typed, the ones that are not run too."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import indent

import pytest

from tests.docs.pages import ROOT, blocks_of, pages

pytestmark = pytest.mark.slow


def modules_of(page: Path) -> Iterator[str]:
    """Give what a type checker shall read of a page: each file in it, and all else as one coroutine function.

    Each line is where it is on the page.
    """
    lines = ["async def page() -> None:", "    pass"]
    for block in blocks_of(page):
        if block.included is not None:
            continue  # it is checked where it is
        if block.language == "python" and block.title is not None:
            yield "\n" * (block.line - 1) + block.code
        elif block.language == "python":
            lines += [""] * (block.line - 1 - len(lines))
            lines += indent(block.code, "    ").splitlines()
    yield "\n".join((*lines, ""))


def test_a_type_checker_finds_nothing_in_the_examples(tmp_path: Path) -> None:
    names: dict[str, Path] = {}
    for page in pages():
        for module in modules_of(page):
            name = f"module_{len(names):03}.py"
            (tmp_path / name).write_text(module, "utf-8")
            names[name] = page
    # The cache of the project's own check: whichever comes first spares the other most of its time.
    options = ["--config-file", ROOT / "pyproject.toml", "--cache-dir", ROOT / ".mypy_cache", "--allow-redefinition"]
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", *options, "--no-error-summary", *sorted(names)],
        cwd=tmp_path,
        env={"MYPYPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    found = checked.stdout
    for name, page in names.items():
        found = found.replace(name, page.relative_to(ROOT).as_posix())
    assert checked.returncode == 0, f"{found}{checked.stderr}"
