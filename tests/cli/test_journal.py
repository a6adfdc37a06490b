"""The journal of a command: what it drops before a run."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from mvsep_async.cli.journal import drop_unsent
from mvsep_async.cli.terminal import open_terminal
from mvsep_async.jobs.facts import Facts
from mvsep_async.jobs.lifecycle import JobState
from mvsep_async.journal.sqlite import open_journal, peek_journal
from tests.journal.samples import a_request

HASH = "20260101000000-0123456789-song.wav"


@pytest.mark.parametrize(
    ("state", "facts", "dropped"),
    [
        (JobState.QUEUED, Facts(), True),
        (JobState.QUEUED, Facts(attempts=2, intent_at=5.0), True),  # begun, and certainly not accepted
        (JobState.CREATING, Facts(attempts=1, intent_at=5.0), False),
        (JobState.LOST, Facts(attempts=1, intent_at=5.0), False),
        (JobState.WAITING, Facts(attempts=1, hash=HASH), False),
        (JobState.DONE, Facts(attempts=1, hash=HASH), False),
    ],
)
def test_only_jobs_that_the_service_does_not_have_are_dropped(
    tmp_path: Path, state: JobState, facts: Facts, dropped: bool
) -> None:
    path = tmp_path / "j.sqlite"

    async def main() -> tuple[int, int]:
        request = a_request()
        async with open_journal(path) as (journal, _):
            journal.add(request)
            journal.update(request.id, state, facts)
        return len(await drop_unsent(path)), len(await peek_journal(path))

    with open_terminal():
        left = anyio.run(main)
    assert left == ((0, 0) if dropped else (1, 1))
