"""The PyPI package `mvsep-gui`, as published, against the sandbox; its window is drawn off-screen."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile

from mvsep_async.sandbox import Sandbox

DRIVER = Path(__file__).with_name("gui_driver.py")
pytestmark = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("mvsep_gui", "PyQt6"))), reason="mvsep-gui is not installed"
)


def test_the_window_separates_a_song(sandbox: Sandbox, song: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(DRIVER), sandbox.url, sandbox.premium_token, str(song), "49", "5", str(tmp_path / "out")],
        env={**os.environ, "HOME": str(tmp_path), "QT_QPA_PLATFORM": "offscreen"},
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "warning" not in done.stdout
    assert "critical" not in done.stdout
    assert "117 algorithms" in done.stdout
    assert (sandbox.jobs[0].sep_type, sandbox.jobs[0].options["add_opt1"]) == (49, "5")
    stems = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert len(stems) == 4
    assert all(soundfile.info(tmp_path / "out" / name).duration == 2.0 for name in stems)
