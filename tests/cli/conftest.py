"""A command line in a home of its own: `cli(...)` in this process, `child(...)` in a real one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

from mvsep_async.cli import main
from mvsep_async.sandbox import Sandbox
from tests.conftest import wav

TOKEN = "do-not-tell-anybody-0123456789"


@frozen
class Ran:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document on standard output."""
        return json.loads(self.out)

    @property
    def documents(self) -> list[Any]:
        """One JSON document a line."""
        return [json.loads(line) for line in self.out.splitlines()]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, with nothing configured."""
    for name in ("MVSEP_API_TOKEN", "MVSEP_BASE_URL", "FORCE_COLOR", "TTY_COMPATIBLE", "COLUMNS", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name in ("XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "home" / name.lower()))
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return work


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """A service that ends every job at once, which the environment points to."""
    with Sandbox(stems="copy", job_seconds=0.0, premium_token=TOKEN) as sandbox:
        monkeypatch.setenv("MVSEP_BASE_URL", sandbox.url)
        monkeypatch.setenv("MVSEP_API_TOKEN", TOKEN)
        yield sandbox


@pytest.fixture
def holding(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """A service whose jobs go on only when told, which the environment points to."""
    with Sandbox(stems="copy", manual=True, premium_token=TOKEN) as sandbox:
        monkeypatch.setenv("MVSEP_BASE_URL", sandbox.url)
        monkeypatch.setenv("MVSEP_API_TOKEN", TOKEN)
        yield sandbox


@pytest.fixture
def songs(home: Path) -> list[str]:
    """Three songs in a folder `songs`."""
    (home / "songs").mkdir()
    paths = [home / "songs" / f"song {number}.wav" for number in range(3)]
    for number, path in enumerate(paths):
        path.write_bytes(wav(0.1 + number / 100))
    return [str(path.relative_to(home)) for path in paths]


Cli = Callable[..., Ran]
Child = Callable[..., "subprocess.Popen[str]"]


def until(condition: Callable[[], bool]) -> None:
    """Wait for something that must come; the test's own time limit ends what never does."""
    while not condition():
        time.sleep(0.01)


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    """`cli("status", hash)`: run a command in this process."""

    def run(*words: str) -> Ran:
        capsys.readouterr()
        code = main(list(words))
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return run


@pytest.fixture
def child() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """`child("separate", …)`: start a command in a process of its own, which is gone after the test."""
    started: list[subprocess.Popen[str]] = []
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # of a shell that ran the tests in the background

    def start(*words: str, **environment: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "mvsep_async", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "PYTHONUTF8": "1", **environment},
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        for pipe in filter(None, (process.stdout, process.stderr)):
            pipe.close()
