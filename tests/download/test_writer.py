"""The writer keeps every byte in order, at any size and speed."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import anyio
import pytest
from attrs import define, field
from hypothesis import given, settings
from hypothesis import strategies as st

from mvsep_async.download.part_file import PartFile
from mvsep_async.download.writer import writing

MIB = 1024 * 1024


@define
class Disk(PartFile):
    """A file in memory that may be slow or full."""

    root: Path = Path("/")
    target: Path = Path("/song.wav")
    written: bytearray = field(factory=bytearray)
    before_write: Callable[[], object] = lambda: None

    def write(self, data: bytes | memoryview) -> None:
        self.before_write()
        self.written += data


async def fill(disk: PartFile, data: bytes, step: int, *, slow: bool = False, taken: list[int] | None = None) -> None:
    async with writing(disk) as writer:
        at = 0
        while at < len(data):
            space = writer.space()
            count = min(len(space), step, len(data) - at)
            space[:count] = data[at : at + count]
            at += count
            if taken is not None:
                taken.append(count)
            await writer.commit(count)
            if slow:
                await anyio.sleep(0)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@given(size=st.integers(0, 5 * MIB), step=st.integers(10_000, 400_000), slow=st.booleans())
@settings(max_examples=25, deadline=None)
def test_all_of_it_is_written_in_order(backend: str, size: int, step: int, slow: bool) -> None:
    data, disk = os.urandom(size), Disk()
    anyio.run(partial(fill, disk, data, step, slow=slow), backend=backend)
    assert bytes(disk.written) == data


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_receiver_waits_for_a_slow_disk_and_no_byte_is_lost(backend: str) -> None:
    go_on = threading.Semaphore(0)
    data, disk = os.urandom(8 * MIB), Disk(before_write=go_on.acquire)
    taken: list[int] = []

    async def main() -> int:
        async with anyio.create_task_group() as group:
            group.start_soon(partial(fill, disk, data, 100_000, taken=taken))
            await anyio.wait_all_tasks_blocked()
            ahead = sum(taken)
            go_on.release(1000)
        return ahead

    assert 0 < anyio.run(main, backend=backend) <= 4 * MIB
    assert bytes(disk.written) == data


async def test_a_full_disk_stops_the_receiver_with_its_error() -> None:
    def full() -> None:
        if len(disk.written) > MIB:
            raise OSError(errno.ENOSPC, "No space left on device")

    data, disk = os.urandom(16 * MIB), Disk(before_write=full)
    with pytest.raises(OSError, match="No space") as caught:
        await fill(disk, data, 100_000)
    assert caught.value.errno == errno.ENOSPC
    assert data.startswith(disk.written)


async def test_an_unexpected_exception_of_a_write_is_raised_at_once() -> None:
    def broken() -> None:
        raise ZeroDivisionError

    with anyio.fail_after(60), pytest.raises(BaseExceptionGroup) as caught:
        await fill(Disk(before_write=broken), os.urandom(4 * MIB), 100_000)
    assert caught.group_contains(ZeroDivisionError)


async def test_received_bytes_are_written_when_the_receiver_is_cancelled() -> None:
    data, disk = os.urandom(3 * MIB + 17), Disk()
    received = anyio.Event()

    async def receive() -> None:
        async with writing(disk) as writer:
            await writer.put(data)
            received.set()
            await anyio.sleep_forever()

    async with anyio.create_task_group() as group:
        group.start_soon(receive)
        await received.wait()
        group.cancel_scope.cancel()
    assert bytes(disk.written) == data
