"""Several real processes with one journal: each song is paid once, whoever submits it, and the limits are kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from mvsep_async.sandbox import Sandbox
from tests.postgres.processes import Workers, wait_for, workers
from tests.postgres.support import songs

pytestmark = pytest.mark.slow


def wait_until_done(made: Workers, count: int) -> None:
    """Wait until the processes together have printed so many songs, and check that none of them failed."""
    wait_for(lambda: sum(len(worker.said()) - 1 for worker in made.all) >= count, made, 120)
    assert {word for worker in made.all for word, *_ in worker.said()} == {"open", "done"}


def check(sandbox: Sandbox, jobs: int) -> None:
    assert len(sandbox.jobs) == jobs
    assert sandbox.peak_unfinished(sandbox.premium_token) <= 10
    assert sandbox.count_status(400) == sandbox.count_status(429) == 0


def test_four_processes_separate_forty_songs(database: str, tmp_path: Path) -> None:
    made_songs = songs(tmp_path, 40)
    with Sandbox(stems="copy", job_seconds=0.5, requests_per_minute=6000) as sandbox:
        with workers(sandbox, database, tmp_path, lease=30.0) as made:
            for number in range(4):
                made.start(made_songs[number::4], stays=True)
            wait_until_done(made, 40)
        check(sandbox, jobs=40)


def test_three_processes_with_the_same_keys_pay_once(database: str, tmp_path: Path) -> None:
    made_songs = songs(tmp_path, 6)
    with Sandbox(stems="copy", job_seconds=0.5, requests_per_minute=6000) as sandbox:
        with workers(sandbox, database, tmp_path, lease=30.0) as made:
            for _ in range(3):
                made.start(made_songs, stays=True)
            wait_until_done(made, 18)  # each process has a handle to each job
        check(sandbox, jobs=6)
