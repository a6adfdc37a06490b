"""The rate limit of all transfers together, and the rate below which one is cut, in virtual time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from mvsep_async.transport.bandwidth import Bandwidth, MinimumRate, TokenBucket


def in_virtual_time(main: Callable[[], Awaitable[None]]) -> None:
    anyio.run(main, backend="trio", backend_options={"clock": MockClock(autojump_threshold=0)})


@given(st.floats(1e3, 1e9), st.lists(st.integers(1, 10**6), min_size=1, max_size=20))
def test_a_bucket_never_gives_more_than_its_rate_and_one_filling(rate: float, sizes: list[int]) -> None:
    bucket, now = TokenBucket(rate, capacity=5000), 0.0
    for size in sizes:
        while wait := bucket.wait(now):
            now += max(wait, 1e-6)
        bucket.spend(size)
    assert sum(sizes[:-1]) <= 5000 + rate * now + 1


def test_a_bucket_that_is_never_empty_gives_at_once() -> None:
    bucket = TokenBucket(1000, capacity=500)
    assert bucket.wait(0.0) == 0
    bucket.spend(600)
    assert bucket.wait(0.0) == pytest.approx(0.101)
    assert bucket.wait(1.0) == 0


def test_uploads_go_before_downloads_and_all_keep_the_rate() -> None:
    done: dict[str, float] = {}

    async def main() -> None:
        began = anyio.current_time()
        limit = Bandwidth(100_000)

        async def upload() -> None:
            for _ in range(50):
                await limit.before_sending(limit.piece)
            done["up"] = anyio.current_time() - began

        async def download() -> None:
            for _ in range(50):
                await limit.after_receiving(limit.piece)
            done["down"] = anyio.current_time() - began

        async with anyio.create_task_group() as transfers:
            for task in (download, upload, upload, download):
                transfers.start_soon(task)

    in_virtual_time(main)
    assert done["down"] == pytest.approx(20, rel=0.05), "200 pieces of a tenth of a second"
    assert done["up"] == pytest.approx(10, rel=0.1), "as if there were no downloads"


def test_a_cancelled_upload_holds_nothing_back() -> None:
    async def main() -> None:
        limit = Bandwidth(1000)
        await limit.before_sending(limit.piece)
        await limit.before_sending(limit.piece)
        with anyio.move_on_after(0.01) as scope:
            await limit.before_sending(limit.piece)
        assert scope.cancelled_caught
        with anyio.fail_after(5):
            await limit.after_receiving(10)

    in_virtual_time(main)


@pytest.mark.parametrize(("rate", "piece"), [(1024, 1024), (100_000, 10_000), (1e9, 65536)])
def test_pieces_suit_the_rate(rate: float, piece: int) -> None:
    assert Bandwidth(rate).piece == piece


def test_a_rate_is_judged_a_window_at_a_time() -> None:
    minimum = MinimumRate(rate=100, window=10)
    assert all(minimum.count(100, 1.0) for _ in range(30))
    assert all(minimum.count(1, 1.0) for _ in range(9))
    assert not minimum.count(1, 1.0)
    assert minimum.count(10_000, 9.0)
