"""A sandbox and a song on disk, for programs that we did not write."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mvsep_async.sandbox import Sandbox
from tests.sandbox.conftest import make_song


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(job_seconds=0.3) as sandbox:
        yield sandbox


@pytest.fixture
def song(tmp_path: Path) -> Path:
    path = tmp_path / "13 Dimensions.wav"
    path.write_bytes(make_song(rate=44100))
    return path
