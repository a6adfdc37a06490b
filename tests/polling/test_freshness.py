"""Progress over a real socket, ten times as fast as what `python -m benchmarks freshness` measures."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from benchmarks.freshness import PER_MINUTE, SONGS, run
from mvsep_async import Stage

pytestmark = pytest.mark.slow

SCALE = 0.1
QUEUE = 30.0
"""Longer than in the benchmark: a busy machine may be late by a polling round at this speed."""


def test_progress_is_live_at_the_pace_of_the_service(tmp_path: Path) -> None:
    first, refused = anyio.run(lambda: run(SCALE, queue=QUEUE, journal=tmp_path / "jobs.db"))
    second, refused_again = anyio.run(lambda: run(SCALE, queue=QUEUE, journal=tmp_path / "jobs.db"))
    assert refused == refused_again == 0, f"answers 429 at {PER_MINUTE} requests a minute"
    assert len(first) == len(second) == SONGS
    for followed in (*first, *second):
        stages = [progress.stage for _, progress in followed.seen]
        assert Stage.WAITING in stages
        assert Stage.PROCESSING in stages
        assert followed.places >= 1
        fractions = [progress.fraction or 0.0 for _, progress in followed.seen]
        assert fractions == sorted(fractions)
    bars = [{p.fraction for _, p in each.seen if p.stage is Stage.PROCESSING} for each in (*first, *second)]
    assert sum(map(len, bars)) >= 6 * len(bars), "the bars move between polls, of which each job has about three"
    assert all(p.seconds_left is None for followed in first for _, p in followed.seen if p.stage is Stage.WAITING)
    for followed in second:
        assert followed.half_time_error is not None
        assert followed.largest_jump <= 0.5
