from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def music(tmp_path: Path) -> Path:
    """An empty folder for songs."""
    folder = tmp_path / "Music"
    folder.mkdir()
    return folder
