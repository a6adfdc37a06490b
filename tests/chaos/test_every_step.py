"""A process dies at every possible step, and the next one continues."""

from __future__ import annotations

import multiprocessing
import signal
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio import CapacityLimiter, to_thread
from attrs import frozen

from mvsep_async.sandbox import Sandbox
from tests.chaos import victim
from tests.chaos.victim import STEMS, End, World
from tests.conftest import wav

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs processes that can be forked"),
]

AT_ONCE = 6
"""Worlds tried at one time: most of their time goes by waiting."""

Scenario = Callable[..., Awaitable[None]]


@frozen
class Crash:
    """Died before step `step`, having told `told`; then a second process ran to its end and told `then`."""

    step: int
    world: World
    told: list[Any]
    then: list[Any]


@pytest.fixture(scope="module")
def processes() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.chaos.victim"])
    return context


@pytest.fixture
def service() -> Iterator[Sandbox]:
    with Sandbox(stems="copy", job_seconds=0.0) as sandbox:
        yield sandbox


def run(
    processes: ForkServerContext, scenario: Scenario, world: World, last: int | None
) -> tuple[list[Any], End | None]:
    """Run a scenario in a process that dies before step `last`; return what it told, and its end if it did not die."""
    told, teller = processes.Pipe(duplex=False)
    process = processes.Process(target=victim.live, args=(scenario, world, last, teller))
    process.start()
    teller.close()
    heard = []
    with told:
        while True:
            try:
                heard.append(told.recv())
            except EOFError:
                break
    process.join()
    end = heard.pop() if heard and isinstance(heard[-1], End) else None
    assert end is None or end.error is None, end.error
    return heard, end


async def crash_at_every_step(
    processes: ForkServerContext, service: Sandbox, folder: Path, first: Scenario, second: Scenario
) -> tuple[list[Crash], list[str]]:
    """Die before step 0, 1, 2… until there is none left; return what came of each, and the names of the steps."""
    crashes: list[Crash] = []
    steps: list[str] = []
    limiter = CapacityLimiter(AT_ONCE)
    over = anyio.Event()

    async def die_and_come_back(step: int) -> None:
        world = new_world(service, folder / str(step))
        told, end = await to_thread.run_sync(run, processes, first, world, step, limiter=limiter)
        if end is not None:
            steps[:] = end.steps
            over.set()
            return
        then, end = await to_thread.run_sync(run, processes, second, world, None, limiter=limiter)
        assert end is not None
        crashes.append(Crash(step, world, told, then))

    async with anyio.create_task_group() as tasks:
        step = 0
        while not over.is_set():
            while limiter.statistics().tasks_waiting and not over.is_set():
                await anyio.sleep(0.005)
            tasks.start_soon(partial(die_and_come_back, step))
            step += 1
            await anyio.sleep(0.005)
    return sorted(crashes, key=lambda crash: crash.step), steps


def new_world(service: Sandbox, folder: Path) -> World:
    folder.mkdir(parents=True)
    world = World(service.url, service.add_account(premium=True, minutes=100.0), folder)
    world.song.write_bytes(wav(1.0))
    return world


def paid(service: Sandbox, world: World) -> int:
    return sum(job.token == world.token and not job.cancelled for job in service.jobs)


def files_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}


async def test_a_song_is_paid_once_and_complete_whatever_step_is_the_last(
    processes: ForkServerContext, service: Sandbox, tmp_path: Path
) -> None:
    crashes, steps = await crash_at_every_step(processes, service, tmp_path, victim.map_a_song, victim.map_a_song)
    kinds = Counter(steps)
    for kind in ("transaction", "send", "read", "write", "fsync", "link", "unlink", "mkdir", "rename"):
        assert kinds[kind], f"no {kind} among the steps: {kinds}"
    wrong = []
    for crash in crashes:
        world = crash.world
        expected = {f"stems/A Song/{stem}.mp3" for stem in STEMS}
        found = files_below(world.folder)
        stray = found - expected - {"A Song.wav", "journal.db", "journal.db.lock"}
        whole = all(
            (world.folder / name).is_file() and (world.folder / name).read_bytes() == world.song.read_bytes()
            for name in expected
        )
        if paid(service, world) != 1 or stray or not whole:
            wrong.append(
                (crash.step, steps[crash.step : crash.step + 1], paid(service, world), stray, whole, crash.then)
            )
    assert not wrong, "\n".join(map(str, wrong))


async def test_bytes_once_accepted_are_kept_until_they_are_separated_and_no_longer(
    processes: ForkServerContext, service: Sandbox, tmp_path: Path
) -> None:
    crashes, _ = await crash_at_every_step(processes, service, tmp_path, victim.submit_bytes, victim.resume)
    wrong = []
    for crash in crashes:
        stray = files_below(crash.world.folder) - {"A Song.wav", "journal.db", "journal.db.lock"}
        ends = [end[1:] for end in crash.then]
        # Until the caller is told that it is accepted, it may or may not be.
        right = ends == [("done", None)] or (ends == [] and "accepted" not in crash.told)
        if stray or not right or paid(service, crash.world) != len(ends):
            wrong.append((crash, stray, paid(service, crash.world)))
    assert not wrong, "\n".join(map(str, wrong))


async def test_a_url_is_never_paid_twice_and_never_silently_lost(
    processes: ForkServerContext, service: Sandbox, tmp_path: Path
) -> None:
    (tmp_path / "a-song.wav").write_bytes(wav())
    service.remote_file(f"{service.url}/a-song.wav", tmp_path / "a-song.wav")
    crashes, _ = await crash_at_every_step(processes, service, tmp_path, victim.submit_a_url, victim.resume)
    ends = Counter(end[1:] for crash in crashes for end in crash.then)
    assert ends.keys() == {("done", None), ("failed", "SubmissionUnknownError")}
    wrong = [
        (crash, paid(service, crash.world))
        for crash in crashes
        if paid(service, crash.world) > 1
        or ("accepted" in crash.told and not crash.then)
        or (crash.then and crash.then[0][1] == "done" and paid(service, crash.world) != 1)
    ]
    assert not wrong, "\n".join(map(str, wrong))


async def test_what_was_cancelled_stays_cancelled(
    processes: ForkServerContext, service: Sandbox, tmp_path: Path
) -> None:
    service.job_seconds = 0.3
    cancelled: set[str] = set()
    for scenario in (victim.submit_and_cancel_at_once, victim.submit_and_cancel):
        folder = tmp_path / scenario.__name__
        crashes, _ = await crash_at_every_step(processes, service, folder, scenario, victim.resume)
        cancelled |= {id for crash in crashes for id in crash.told}
    assert len(cancelled) > 1
    assert not [job for job in service.jobs if job.filename.split("-")[0] in cancelled and not job.cancelled]
