"""The parts at work together: the benchmark's model of the service, and the goals that they must reach in it."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.scheduling.clients import Fixed, Oracle, Ours
from benchmarks.scheduling.measure import measure, table
from benchmarks.scheduling.world import Scenario

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("world", "use", "gap", "shown"),
    [
        ({}, 0.97, 15.0, 9.0),
        ({"window": "fixed", "seed": 8}, 0.97, 15.0, 9.0),
        ({"per_minute": 120}, 0.98, 8.0, 5.0),
        ({"slots": 1, "jobs": 40}, 0.98, 5.0, 2.0),
        ({"slots": 3, "jobs": 100}, 0.98, 5.0, 3.0),
        ({"account": "count"}, 0.96, 15.0, 9.0),
        ({"account": "null"}, 0.95, 15.0, 9.0),
        ({"fresh_unlisted": 10.0}, 0.97, 16.0, 9.0),
        ({"slots": 50, "jobs": 400}, 0.92, 300.0, 12.0),
    ],
    ids=str,
)
def test_the_slots_are_used_almost_as_by_an_oracle(world: dict[str, Any], use: float, gap: float, shown: float) -> None:
    scenario = Scenario(**{"jobs": 250, **world})
    ours, oracle = Ours(scenario).run(), Oracle(scenario).run()
    assert ours.use / oracle.use >= use
    assert ours.longest_gap <= gap
    assert ours.shown_median <= shown
    assert ours.poll_share <= 0.81
    assert ours.slowest_create <= 2.0
    assert ours.refused_requests == 0
    assert ours.refused_creates == 0


def test_jobs_of_a_second_in_a_sandbox_are_noticed_fast() -> None:
    scenario = Scenario(exact=1.0, jobs=60, per_minute=6000, poll_interval=0.05, latency=0.01)
    ours, oracle = Ours(scenario).run(), Oracle(scenario).run()
    assert oracle.use / ours.use <= 1.15


@pytest.mark.parametrize("seed", range(4))
def test_ten_jobs_that_end_together_are_noticed_within_8_s(seed: int) -> None:
    ours = Ours(Scenario(exact=60.0, jobs=10, seed=seed))
    ours.fill()
    ours.clock.run(lambda: ours.finished)
    assert max(at - ours.service.jobs[job][2] for job, at in ours.noticed.items()) <= 8.0
    assert ours.service.limiter.refusals == 0


@pytest.mark.parametrize("world", [{}, {"slots": 50, "jobs": 100}, {"other_jobs": 30.0}], ids=str)
def test_the_policy_is_asked_only_when_it_may_have_changed_its_mind(world: dict[str, Any]) -> None:
    ours = Ours(Scenario(**{"jobs": 150, **world}))
    ours.run()
    assert ours.asked <= 6 * ours.polls


def test_polls_at_fixed_intervals_are_worse_with_the_same_budget() -> None:
    scenario = Scenario(jobs=150)
    ours, fixed = Ours(scenario).run(), Fixed(scenario).run()
    assert ours.use > fixed.use


@pytest.mark.parametrize("account", ["list", "count", "null"])
def test_slots_shared_with_other_programs_are_used_and_refusals_stay_few(account: Any) -> None:
    scenario = Scenario(jobs=200, other_jobs=30.0, account=account)
    ours, oracle = Ours(scenario).run(), Oracle(scenario).run()
    assert ours.use >= 0.95 * oracle.use
    assert ours.refused_creates <= oracle.refused_creates + (15 if account == "list" else 60)


def test_requests_of_other_programs_are_left_room_for() -> None:
    ours = Ours(Scenario(jobs=150, other_requests=20.0)).run()
    assert ours.refused_requests <= 5


def test_the_benchmark_runs_and_names_its_goals() -> None:
    rows = measure(quick=True)
    assert all(row.goals is None or row.goals.met(row) for row in rows)
    assert "MISSED" not in table(rows)


def test_the_model_repeats_itself() -> None:
    assert Ours(Scenario(jobs=60)).run() == Ours(Scenario(jobs=60)).run()
    assert Ours(Scenario(jobs=60)).run() != Ours(Scenario(jobs=60, seed=8)).run()
