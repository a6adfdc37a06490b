"""Running one seed: from the first song to the checks at the end."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Awaitable, Callable
from operator import itemgetter
from pathlib import Path
from random import Random
from typing import Any, Final, TypeAlias

import trio
import trio.testing
from attrs import fields, frozen

from .machine import Machine, simulated
from .network import Network
from .scenario import DURING_OUTAGE, Scenario
from .service import Service
from .story import Story, Violation
from .user import PATIENCE, User

__all__ = ["Result", "run", "shrink"]

Action: TypeAlias = "Callable[[], Awaitable[Any] | None]"

_LAST_LIVES: Final = 6
"""Times that the process may need to be started after everything is quiet, before songs count as lost."""

_LONGEST_LIFE: Final = 6 * 3600.0
"""Seconds that one life may take once everything is quiet."""

_MOST_LIVES: Final = 60

_FIXED: Final = frozenset({"seed", "quiet_after", "job_seconds", "requests_per_minute", "longest"})
"""What makes a run no smaller when it is changed."""


@frozen
class Result:
    """What became of a run."""

    scenario: Scenario
    story: Story
    seconds: float
    lives: int
    jobs: int
    faults: int
    most_tasks: int

    def describe(self) -> str:
        """Return the story of the run, and how to run it again."""
        return f"{self.scenario}\n{self.story.text()}\n{self.violation or 'every promise held'}"

    @property
    def violation(self) -> Violation | None:
        """The promise that did not hold, if any."""
        return self.story.violation


def run(scenario: Scenario) -> Result:
    """Run one scenario in virtual time and return its result; the same scenario gives the same story."""
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None) as folder:
        return _run(scenario, Path(folder))


def _run(scenario: Scenario, folder: Path) -> Result:
    def drawn(name: str) -> Random:
        return Random(f"{name} {scenario.seed}")

    story = Story()
    machine = Machine(
        story,
        folder,
        drawn("machine"),
        journal_latency=scenario.journal_latency,
        power_losses=scenario.power_losses,
    )
    seconds = 0.0
    world: list[tuple[Service, Network, User]] = []

    async def main() -> None:
        nonlocal seconds
        story.clock = trio.current_time
        began = trio.current_time()
        service = Service(scenario, story, drawn("service"))
        network = Network(scenario, service, machine, story, drawn("network"))
        user = User(scenario, service, machine, network, story, drawn("user"), folder / "songs")
        world.append((service, network, user))
        user.collect_songs()
        with trio.CancelScope() as everything:

            def stop() -> None:
                machine.crash()
                everything.cancel()

            story.on_violation = stop
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_disturb, scenario, drawn("disturb"), machine, network, service, user)
                await _live(scenario, drawn("lives"), machine, network, user)
                nursery.cancel_scope.cancel()
            user.check_end()
        seconds = trio.current_time() - began

    logging.disable(logging.CRITICAL)
    try:
        with simulated(machine):
            trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    finally:
        logging.disable(logging.NOTSET)
    service, network, user = world[0]
    accepted = sum(job.audio is not None for job in service.jobs)
    return Result(scenario, story, seconds, user.lives, accepted, sum(network.injected.values()), user.most_tasks)


def shrink(result: Result, *, most: int = 40, again: Callable[[Any], Result] = run) -> Result:
    """Return a smaller run that breaks the same promise: parts are switched off for as long as it stays broken.

    `most`: runs that this may take. `again`: runs a scenario.
    """
    assert result.violation is not None
    smallest, tried, changed = result, 0, True
    while changed:
        changed = False
        parts = (attribute.name for attribute in fields(type(result.scenario)))
        for part in (name for name in parts if name not in _FIXED):
            smaller = smallest.scenario.without(part)
            if smaller == smallest.scenario or tried == most:
                continue
            tried += 1
            tried_one = again(smaller)
            if tried_one.violation is not None and tried_one.violation.promise == result.violation.promise:
                smallest, changed = tried_one, True
    return smallest


async def _live(scenario: Scenario, rng: Random, machine: Machine, network: Network, user: User) -> None:
    """Start the process again and again, until everything is quiet and all songs are finished."""
    crashes = scenario.crashes
    quiet_lives = 0
    while quiet_lives < _LAST_LIVES and user.lives < _MOST_LIVES:
        quiet = trio.current_time() >= scenario.quiet_after
        crash_after = None
        if crashes and not quiet:
            crashes -= 1
            crash_after = int(10 ** rng.uniform(1.0, 4.3))
        with trio.move_on_after(max(scenario.quiet_after - trio.current_time(), 0.0) + _LONGEST_LIFE) as scope:
            await user.live(crash_after)
        if scope.cancelled_caught:
            user.story.violate("no song is lost", "the run does not end after everything is quiet")
        if quiet:
            quiet_lives += 1
            if user.finished_all:
                return
        await trio.sleep(rng.choice((0.1, 5.0, 60.0, 900.0)))


async def _disturb(
    scenario: Scenario, rng: Random, machine: Machine, network: Network, service: Service, user: User
) -> None:
    """Let things happen at their times, until everything is quiet."""

    async def cancel() -> None:
        await user.cancel_one()

    def step() -> None:
        machine.wall_offset += rng.choice((-1, 1)) * rng.choice((2.0, 400.0, 7200.0, 1e6))
        machine.story.say("machine", f"sets its clock: {machine.wall_offset:+.0f} s")

    def suspend() -> None:
        minutes = rng.choice((0.5, 5.0, 60.0))
        machine.story.say("machine", f"is suspended for {minutes} minutes")
        clock = trio.lowlevel.current_clock()
        assert isinstance(clock, trio.testing.MockClock)
        clock.jump(minutes * 60.0)
        user.was_suspended(minutes * 60.0)

    async def fill_disk() -> None:
        machine.disk_full = True
        machine.story.say("machine", "has no room left on its disk")
        await trio.sleep(rng.choice((1.0, 60.0, 1200.0)))
        machine.disk_full = False
        machine.story.say("machine", "has room on its disk again")

    async def outage() -> None:
        network.outage = rng.choice(DURING_OUTAGE)
        machine.story.say("network", f"outage: {network.outage}")
        seconds = rng.choice((2.0, 60.0, 600.0, 2400.0))
        network.long_outage |= seconds > PATIENCE / 2 or scenario.outages > 1
        await trio.sleep(seconds)
        network.outage = None
        machine.story.say("network", "outage is over")

    plan: list[tuple[int, Action]] = [
        (scenario.clock_steps, step),
        (scenario.suspensions, suspend),
        (scenario.full_disks, fill_disk),
        (scenario.outages, outage),
        (scenario.cancels, cancel),
        (scenario.retags, user.retag_one),
        (scenario.moves, user.move_one),
        (scenario.deletions, user.delete_one),
        (scenario.attaches, user.attach_one),
        (int(scenario.strangers * scenario.quiet_after / 3600), service.stranger),
    ]
    moments: list[tuple[float, Action]] = []
    for index, (times, action) in enumerate(plan):
        drawn = Random(f"{scenario.seed} {index}")  # so that one part can be switched off without the others
        # Most of the work is done in the first minutes.
        moments += [(scenario.quiet_after * drawn.random() ** 3, action) for _ in range(times)]
    async with trio.open_nursery() as nursery:
        for at, action in sorted(moments, key=itemgetter(0)):  # one task sleeps: the tasks of a run are counted
            await trio.sleep_until(at)
            nursery.start_soon(_perform, action)
        await trio.sleep_until(scenario.quiet_after)
        nursery.cancel_scope.cancel()
    machine.disk_full, network.outage, network.calm = False, None, True
    machine.story.say("world", "everything is quiet")


async def _perform(action: Action) -> None:
    result = action()
    if result is not None:
        await result
