"""Some kills and suspensions at drawn moments; `python -m benchmarks shared-chaos` makes 200 of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.shared_chaos import SharedChaos

pytestmark = pytest.mark.slow


async def test_nothing_is_lost_or_paid_twice(database: str, tmp_path: Path) -> None:
    outcome = await SharedChaos(tmp_path, database, disturbances=6, songs=12, seed=3).run()
    assert outcome.flawless, outcome
    assert outcome.songs == 12
    assert outcome.kills + outcome.suspensions == 6
