"""Small helpers for tests of the whole client."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

import anyio

from mvsep_async import Job, Progress, Stage
from mvsep_async.sandbox import Sandbox


async def until(true: Callable[[], Any], *, within: float = 60.0) -> None:
    """Return as soon as `true()` is; fails loudly when it never becomes so."""
    with anyio.fail_after(within):
        while not true():
            await anyio.sleep(0.002)


async def reached(job: Job, *stages: Stage) -> None:
    """Return when the job is in one of these stages."""
    await until(lambda: job.stage in stages)


async def all_of(changes: AsyncIterator[Progress]) -> list[Progress]:
    """Return everything that an iterator gives."""
    return [progress async for progress in changes]


def stages(seen: Iterable[Progress]) -> list[Stage]:
    """Return the stages of a course, each run of the same one once."""
    course: list[Stage] = []
    for progress in seen:
        if not course or course[-1] is not progress.stage:
            course.append(progress.stage)
    return course


def paid(sandbox: Sandbox) -> int:
    """Return how many jobs were made at the service by whoever is tested."""
    return sum(not job.foreign for job in sandbox.jobs)


def calls(sandbox: Sandbox, path: str) -> int:
    """Return how many requests came for that path below `/api/`."""
    return sum(request.path == f"/api/{path}" for request in sandbox.requests)


class Stream:
    """An async iterable of bytes that stops half-way until it is let go on."""

    def __init__(self, *pieces: bytes, held_before: int | None = None) -> None:
        self._pieces, self._held_before = pieces, held_before
        self.reached, self.go_on = anyio.Event(), anyio.Event()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for number, piece in enumerate(self._pieces):
            if number == self._held_before:
                self.reached.set()
                await self.go_on.wait()
            yield piece
