"""`mvsep-async mcp` without its requirements, and its end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mvsep_async.cli import main
from tests.mcp.conftest import ROOT


def test_without_its_package_it_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for name in [name for name in sys.modules if name.startswith(("mvsep_async.mcp", "mcp."))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "mcp", None)
    assert main(["mcp", "--folder", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert 'pip install "mvsep-async[mcp]"' in error


@pytest.mark.parametrize(
    ("words", "says"),
    [([], "--folder"), (["--folder", "/no/such/folder"], "there is no folder '/no/such/folder'")],
)
def test_folders_must_be_named_and_exist(
    words: list[str], says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for name in ("CONFIG", "CACHE", "STATE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name))
    monkeypatch.setenv("MVSEP_API_TOKEN", "some-token-of-a-test")
    monkeypatch.setenv("MVSEP_BASE_URL", "http://127.0.0.1:9")
    assert main(["mcp", *words]) == 2
    assert says in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_while_it_waits_for_input(number: signal.Signals, tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "MVSEP_API_TOKEN": "some-token-of-a-test",
        "MVSEP_BASE_URL": "http://127.0.0.1:9",
        **{f"XDG_{name}_HOME": str(tmp_path / name) for name in ("CONFIG", "CACHE", "STATE")},
    }
    command = [sys.executable, "-m", "mvsep_async", "mcp", "--folder", str(tmp_path)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, env=environment, text=True) as process:
        assert process.stderr is not None
        assert "serving" in process.stderr.readline()
        process.send_signal(number)
        assert process.wait() == 130
