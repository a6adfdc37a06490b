"""The helpers for users' tests, such as `no_waiting`."""

from __future__ import annotations

from pathlib import Path

import anyio

from mvsep_async import MVSepClient
from mvsep_async.config import POLL_INTERVAL, default_poll_interval, time_scale_of
from mvsep_async.sandbox import Sandbox
from mvsep_async.testing import no_waiting


def test_only_clients_made_in_the_block_hurry() -> None:
    assert default_poll_interval.get() == POLL_INTERVAL
    with no_waiting():
        assert time_scale_of(default_poll_interval.get(), local=True) <= 0.01
        with no_waiting():
            pass
        assert time_scale_of(default_poll_interval.get(), local=True) <= 0.01
    assert default_poll_interval.get() == POLL_INTERVAL


async def test_other_tasks_continue_as_they_did() -> None:
    seen: list[float] = []

    async def look(begun: anyio.Event, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        task_status.started()
        await begun.wait()
        seen.append(default_poll_interval.get())

    begun = anyio.Event()
    async with anyio.create_task_group() as tasks:
        await tasks.start(look, begun)
        with no_waiting():
            begun.set()
            await anyio.lowlevel.checkpoint()
    assert seen == [POLL_INTERVAL]


async def test_outages_are_waited_out_in_no_time(song: Path, tmp_path: Path) -> None:
    async with Sandbox(stems="copy", job_seconds=0.0) as sandbox:
        for path in ("separation/create", "separation/get", "/storage/*"):
            sandbox.faults.add(kind="html", path=path, count=5, status=503)
        with no_waiting():
            client = MVSepClient(sandbox.premium_token, base_url=sandbox.url, requests_per_minute=6000)
        with anyio.fail_after(60):  # at the usual pace the pauses alone would be longer
            async with client:
                assert await client.separate(song, tmp_path, algorithm=40)
