"""What several tests of the shared journal use: songs, and waiting for something."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import anyio

from mvsep_async import Job, Stage
from tests.conftest import wav

WAIT = 60.0


def songs(folder: Path, count: int) -> list[Path]:
    """Write different songs."""
    made = []
    for number in range(count):
        path = folder / f"song {number}.wav"
        path.write_bytes(wav(0.1 + number / 100))
        made.append(path)
    return made


async def until(job: Job, stage: Stage) -> None:
    """Wait until a job is in a stage; fail if it ends before."""
    async for progress in job:
        if progress.stage is stage:
            return
    raise AssertionError(f"{job} was never {stage.value}")


async def eventually(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds."""
    with anyio.fail_after(WAIT):
        while not condition():
            await anyio.sleep(0.02)
