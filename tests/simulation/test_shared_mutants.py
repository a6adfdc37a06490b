"""Faults put into clients with a shared journal: the simulation finds each of them."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve

from benchmarks.simulation.run import Result
from benchmarks.simulation.shared.run import run_shared
from benchmarks.simulation.shared.scenario import SharedScenario
from benchmarks.simulation.shared.tables import MemorySlots
from mvsep_async.endpoints.separations import SeparationsAPI
from mvsep_async.jobs.entry import JobEntry
from mvsep_async.jobs.lifecycle import JobEvent, JobState
from mvsep_async.postgres import lease as lease_module
from mvsep_async.postgres.connection import Connection
from mvsep_async.postgres.coordinator import SharedCoordinator
from mvsep_async.scheduling.scheduler import Scheduler

# A process that is killed closes nothing.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")]

CALM = evolve(
    SharedScenario.of(0),
    songs=4,
    premium=True,
    quiet_after=300.0,
    longest=2400.0,
    job_seconds=(5.0, 20.0),
    page_size=20,
    holes=False,
    listed_after=2.0,
    found_after=0.0,
    queue_shape="count",
    old_jobs=0,
    regions=False,
    time_zone=0.0,
    latency=0.1,
    rate=2e4,
    requests_per_minute=120,
    faults=0.0,
    outages=0,
    clock_steps=0,
    cancels=0,
    failures=0.0,
    group_cap=0,
    quota=0,
    clients=2,
    lease=10.0,
    submitters=1,
    mapped=0.0,
    song_scale=1,
    machines=False,
    shared_files=False,
    kills=0,
    closes=0,
    freezes=0,
    freeze_points=0.0,
    partitions=0,
    database_outages=0,
    commit_faults=0.0,
    deaf=0,
    pooled=False,
    database_latency=0.02,
    departures=False,
    finders=0.0,
)
FROZEN_CREATES = evolve(CALM, freezes=2, freeze_points=1.0, rate=2e3)
CUT_OFF = evolve(CALM, partitions=3, database_outages=1, song_scale=150, premium=False)
KILLED = evolve(CALM, kills=6, rate=1e3, latency=2.0)
UNKNOWN_COMMITS = evolve(CALM, commit_faults=0.3, quiet_after=100.0, longest=600.0)
FULL = evolve(CALM, premium=False, songs=6)


def broken(scenario: SharedScenario, *promises: str, seeds: int = 40) -> Result:
    """Return the first run that breaks one of the promises."""
    for seed in range(seeds):
        result = run_shared(evolve(scenario, seed=seed))
        if result.violation is not None and result.violation.promise in promises:
            return result
    raise AssertionError(f"no seed below {seeds} breaks {promises}")


@pytest.mark.parametrize("scenario", [FROZEN_CREATES, CUT_OFF, KILLED, UNKNOWN_COMMITS, FULL])
def test_the_clients_as_they_are_hold_their_promises(scenario: SharedScenario) -> None:
    for seed in range(2):
        result = run_shared(evolve(scenario, seed=seed))
        assert result.violation is None, result.describe()


def test_it_finds_clients_that_do_not_confirm_their_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    async def confirm(coordinator: SharedCoordinator, job: str, *, patient: bool = False) -> None:
        return

    monkeypatch.setattr(SharedCoordinator, "confirm", confirm)
    result = broken(FROZEN_CREATES, "who has lost its lease does nothing", "no audio is paid twice")
    assert "is suspended" in result.describe()


def test_it_finds_a_lease_that_is_longer_here_than_in_the_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease_module, "_MARGIN", -3.0)
    broken(FROZEN_CREATES, "who has lost its lease does nothing", "no audio is paid twice")


def test_it_finds_creates_that_are_finished_without_a_look_at_the_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    create = SeparationsAPI.create

    async def unchecked(api: SeparationsAPI, **arguments: Any) -> Any:
        return await create(api, **{**arguments, "before_last": None})

    monkeypatch.setattr(SeparationsAPI, "create", unchecked)
    result = broken(FROZEN_CREATES, "who has lost its lease does nothing", "no audio is paid twice")
    assert "finishes a create" in result.describe()


def test_it_finds_a_create_that_is_taken_over_as_if_it_was_never_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    resume = Scheduler.resume

    def careless(scheduler: Scheduler, job: JobEntry) -> None:
        if job.state is JobState.CREATING:
            scheduler.registry.apply(job, JobEvent.NOT_ACCEPTED)
        resume(scheduler, job)

    monkeypatch.setattr(Scheduler, "resume", careless)
    result = broken(KILLED, "no audio is paid twice")
    assert "crashes" in result.describe()


def test_it_finds_an_unknown_commit_that_counts_as_not_applied(monkeypatch: pytest.MonkeyPatch) -> None:
    claim = SharedCoordinator.claim

    async def forgetful(coordinator: SharedCoordinator, *arguments: Any, **more: Any) -> str | None:
        granted = await claim(coordinator, *arguments, **more)
        coordinator._claim = None
        return granted

    monkeypatch.setattr(SharedCoordinator, "claim", forgetful)
    broken(UNKNOWN_COMMITS, "no job waits for ever")


def test_it_finds_slots_that_are_counted_for_one_process_only(monkeypatch: pytest.MonkeyPatch) -> None:
    holders = MemorySlots._holders

    async def own(slots: MemorySlots, connection: Connection) -> list[tuple[Any, ...]]:
        return [row for row in await holders(slots, connection) if row[2] == slots.me.process]

    monkeypatch.setattr(MemorySlots, "_holders", own)
    broken(FULL, "the limit is kept", "no create is refused for lack of a slot")
