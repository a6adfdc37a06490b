"""Credits are counted from the moment they are reserved."""

from __future__ import annotations

from pathlib import Path

import pytest

from mvsep_async import InvalidRequestError
from mvsep_async.mcp.spending import CreditLimit
from mvsep_async.sandbox import Sandbox
from tests.conftest import NewClient


def test_what_is_reserved_counts_and_is_released_when_nothing_was_submitted() -> None:
    limit = CreditLimit(5)
    with limit.reserve(3, "a"):
        pass
    assert limit.left == 2
    with pytest.raises(InvalidRequestError, match="2 of the limit of 5 are left"), limit.reserve(3, "b"):
        raise AssertionError
    with pytest.raises(KeyboardInterrupt), limit.reserve(2, "c"):
        assert limit.left == 0
        raise KeyboardInterrupt
    assert limit.left == 2


async def test_a_job_that_the_service_never_accepted_costs_nothing(
    held: Sandbox, client_of: NewClient, song: Path
) -> None:
    limit = CreditLimit(10)
    async with client_of(held, concurrency=1) as client:
        with limit.reserve(1, "accepted") as accepted:
            accepted.job = await client.submit(song, algorithm=40)
        with limit.reserve(2, "queued") as queued:
            queued.job = await client.submit(song, algorithm=63)
        assert limit.spent == 3
        await queued.job.cancel()
        assert limit.spent == 1
        async for progress in accepted.job:
            if progress.stage == "waiting":
                await accepted.job.cancel()
        assert limit.spent == 1
