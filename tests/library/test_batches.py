from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from mvsep_async.library.batches import in_batches


async def test_everything_comes_in_order_from_another_thread() -> None:
    threads: set[int] = set()

    def items() -> Iterator[int | None]:
        for number in range(1000):
            threads.add(threading.get_ident())
            yield number
            yield None

    batches = [batch async for batch in in_batches(items())]
    assert [number for batch in batches for number in batch] == list(range(1000))
    assert len(batches) > 1
    assert threading.get_ident() not in threads


async def test_an_error_comes_through() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise OSError("gone")

    seen: list[int] = []
    with pytest.raises(OSError, match="gone"):
        async for batch in in_batches(items()):
            seen += batch
