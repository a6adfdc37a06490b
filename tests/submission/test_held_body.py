"""Bodies whose last bytes wait for a slot."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import anyio
import pytest
from attrs import define
from hypothesis import given
from hypothesis import strategies as st

from mvsep_async.http.content import BytesContent, FileContent
from mvsep_async.submission import attempt as attempts
from mvsep_async.submission.attempt import HOLD_LIMIT, TRICKLE_EVERY, Attempt
from mvsep_async.submission.held_body import RESERVED, TRICKLE, HeldContent


@define
class Trickles:
    count: int

    async def wait(self) -> AsyncGenerator[None]:
        for _ in range(self.count):
            yield


@given(st.integers(0, 2 * RESERVED) | st.integers(0, 2_000_000), st.integers(0, 300))
def test_the_bytes_are_the_same_whatever_is_held_back(size: int, trickles: int) -> None:
    data = bytes(range(256)) * (size // 256 + 1)
    content = HeldContent(BytesContent(data[:size]), Trickles(trickles).wait)

    async def read() -> list[bytes]:
        return [chunk async for chunk in content.chunks()]

    pieces = anyio.run(read)
    assert content.size == size
    assert b"".join(pieces) == data[:size]
    assert 0 < len(pieces[-1]) <= RESERVED or not size


def test_a_whole_hold_uses_a_small_part_of_the_reserve() -> None:
    assert HOLD_LIMIT / TRICKLE_EVERY * TRICKLE < RESERVED / 4


async def test_the_file_is_closed_while_the_end_waits(tmp_path: Path) -> None:
    path = tmp_path / "song.wav"
    path.write_bytes(b"x" * 10_000)
    chunks = HeldContent(await FileContent.open(path), Trickles(1).wait).chunks()
    assert len(await anext(chunks)) == 10_000 - RESERVED
    assert len(await anext(chunks)) == TRICKLE
    path.write_bytes(b"another song")
    assert await anext(chunks) == b"x" * (RESERVED - TRICKLE)
    await chunks.aclose()


@define(eq=False)
class World:
    recorded: int = 0
    full: int = 0

    async def record(self) -> None:
        self.recorded += 1

    def on_full(self) -> None:
        self.full += 1

    def attempt(self, *, ahead: bool = True) -> Attempt:
        return Attempt(anyio.current_time, ahead, self.record, self.on_full, began=anyio.current_time())


async def test_with_a_slot_nothing_is_waited_for() -> None:
    world = World()
    assert [None async for _ in world.attempt(ahead=False).wait()] == []
    assert world.recorded == 0


async def test_the_intent_is_recorded_before_the_last_bytes() -> None:
    world = World()
    attempt = world.attempt()
    attempt.slot.set()
    assert [None async for _ in attempt.wait()] == []
    assert (world.recorded, world.full) == (1, 1)


async def test_the_connection_is_kept_open_until_the_slot_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "TRICKLE_EVERY", 0.001)
    world = World()
    attempt, trickles = world.attempt(), 0
    async for _ in attempt.wait():
        assert world.recorded == 0
        trickles += 1
        if trickles == 3:
            attempt.slot.set()
    assert (trickles, world.recorded) == (3, 1)


async def test_the_wait_is_cancelled_when_it_takes_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "HOLD_LIMIT", 0.01)
    world = World()
    attempt = world.attempt()
    with attempt.abort:
        async for _ in attempt.wait():
            pytest.fail("the limit is shorter than the first pause")
    assert attempt.abort.cancelled_caught
    assert world.recorded == 0
