"""The shortest example, as its readers run it."""

from __future__ import annotations

import sys
from pathlib import Path

import anyio
import pytest

from mvsep_async.sandbox import Sandbox

pytestmark = pytest.mark.slow

EXAMPLE = Path(__file__).parents[2] / "examples" / "five_lines.py"


async def test_it_prints_the_paths_of_the_stems(sandbox: Sandbox, song: Path, tmp_path: Path) -> None:
    environment = {"MVSEP_API_TOKEN": sandbox.premium_token, "MVSEP_BASE_URL": sandbox.url}
    done = await anyio.run_process([sys.executable, str(EXAMPLE), str(song)], cwd=tmp_path, env=environment)
    paths = [Path(line) for line in done.stdout.decode().splitlines()]
    assert len(paths) >= 2
    assert all((tmp_path / path).read_bytes() == song.read_bytes() for path in paths)
    assert done.stderr == b""
