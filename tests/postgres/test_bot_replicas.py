"""Two replicas of the Discord bot with one journal: one of them ends, and the other one answers its songs."""

from __future__ import annotations

from pathlib import Path

import pytest

from examples import discord_bot
from mvsep_async.sandbox import Sandbox
from tests.client.support import until
from tests.conftest import NewClient
from tests.examples.test_discord_bot import world_of


async def test_the_songs_of_a_replica_that_ends_are_answered_by_the_other_one(
    held: Sandbox, database: str, client_of: NewClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(discord_bot, "LOOK_EVERY", 0.1)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    one, other = (client_of(held, journal=database) for _ in range(2))
    async with other, world_of(other, tmp_path / "other") as there:
        async with one, world_of(one, tmp_path / "one") as here:
            mine = await here.separate(1)
            await there.separate(2)
            await until(lambda: len(held.jobs) == 2)
            for job in held.jobs:
                await until(lambda job=job: job.hash in {known.hash for known in (*one.jobs(), *other.jobs())})
        for job in held.jobs:
            held.finish(job.hash)
        assert len((await there.says(mine, "Done: Song.wav")).files) == 2
        await until(lambda: other.jobs() == [])
    assert len(held.jobs) == 2
