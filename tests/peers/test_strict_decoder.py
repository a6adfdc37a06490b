"""A client in Node.js, with strict types, reads every answer."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from mvsep_async.sandbox import Quirks, Sandbox

NODE = shutil.which("node")
SCRIPT = Path(__file__).with_name("strict.mjs")
pytestmark = pytest.mark.skipif(NODE is None, reason="Node.js is not installed")


def decode(sandbox: Sandbox, song: Path) -> subprocess.CompletedProcess[str]:
    """Run the script; it makes jobs of its own and reads every kind of answer."""
    command = [NODE or "", str(SCRIPT), sandbox.url, sandbox.premium_token, sandbox.free_token, str(song)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("quirks", [Quirks(), Quirks(rich_files=True, peaks=3)])
def test_every_answer_is_read(song: Path, quirks: Quirks) -> None:
    with Sandbox(manual=True, quirks=quirks) as sandbox:
        done = decode(sandbox, song)
        assert done.returncode == 0, done.stderr
        asked = {request.path for request in sandbox.requests}
        app: Any = sandbox._server.edge.app
        routes = {route.path for route in app.routes if route.path.startswith("/api/")}
    assert routes
    assert routes - asked == set(), "endpoints that the script does not read"


@pytest.mark.parametrize(
    "quirks",
    [Quirks(success_as_text=True), Quirks(file_bytes="text"), Quirks(minutes_as_text=True), Quirks(null_tags=True)],
)
def test_the_decoder_is_strict(song: Path, quirks: Quirks) -> None:
    with Sandbox(manual=True, quirks=quirks) as sandbox:
        done = decode(sandbox, song)
    assert done.returncode != 0
    assert "TypeError" in done.stderr
