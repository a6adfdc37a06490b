"""The cost of a journal for the event loop: its thread's processor time per job, with a journal and without."""

from __future__ import annotations

import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import anyio

from benchmarks.report import Row, middle, spread
from mvsep_async import MVSepClient
from mvsep_async.sandbox import Sandbox

__all__ = ["measure"]

_JOBS: Final = 300


def measure(quick: bool) -> list[Row]:
    """Run the same jobs alternately with a journal and without one."""
    jobs, rounds = (20, 1) if quick else (_JOBS, 5)
    differences, whole = [], []
    with TemporaryDirectory() as name, Sandbox(stems="copy", job_seconds=0.0) as sandbox:
        song = Path(name) / "song.wav"
        song.write_bytes(b"RIFF\0\0\0\0WAVEfmt " + bytes(10_000))
        for number in range(rounds):
            without = anyio.run(_loop_seconds, sandbox, song, jobs, None)
            with_one = anyio.run(_loop_seconds, sandbox, song, jobs, Path(name) / f"{number}.db")
            differences.append(1000 * (with_one - without) / jobs)
            whole.append(1000 * with_one / jobs)
    return [
        Row(name="journal: added to the event loop, a job", unit="ms", ours=middle(differences), goal=5),
        Row(name="a job's whole time on it, with a journal", unit="ms", ours=middle(whole), spread=spread(whole)),
    ]


async def _loop_seconds(sandbox: Sandbox, song: Path, jobs: int, journal: Path | None) -> float:
    async with MVSepClient(
        sandbox.premium_token, base_url=sandbox.url, poll_interval=0.05, journal=journal, requests_per_minute=100_000
    ) as client:
        began = time.thread_time()
        for job in [await client.submit(song, algorithm=40) for _ in range(jobs)]:
            await job
        return time.thread_time() - began
