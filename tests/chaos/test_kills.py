"""The chaos harness itself: real signals at random moments, with faults in between."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from benchmarks.chaos import cuts
from benchmarks.chaos_harness import Chaos

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs a signal that nobody can catch"),
]


async def test_nothing_is_lost_paid_twice_wrong_or_left_over(tmp_path: Path) -> None:
    outcome = await Chaos(tmp_path, kills=6, songs=8, seed=7).run()
    assert outcome.flawless, outcome
    assert (outcome.kills, outcome.jobs) == (6, outcome.songs)
    assert outcome.songs >= 8
    assert outcome.faults > 10


async def test_a_cut_every_megabyte_costs_no_more_than_a_tenth() -> None:
    assert await cuts(5) <= 1.1
