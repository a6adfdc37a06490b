"""Seeds of the simulation: no promise of the client is broken in any of them."""

from __future__ import annotations

import pytest
from attrs import evolve

from benchmarks.simulation.run import run, shrink
from benchmarks.simulation.scenario import Scenario

# A process that is switched off closes nothing.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

SEEDS = range(50)


def small(seed: int) -> Scenario:
    """Return the scenario of a seed with at most 3 songs and 20 minutes of faults: more find little more."""
    whole = Scenario.of(seed)
    return evolve(whole, songs=min(whole.songs, 3), quiet_after=min(whole.quiet_after, 1200.0))


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_every_promise_holds(seed: int) -> None:
    result = run(small(seed))
    if result.violation is not None:
        pytest.fail(shrink(result).describe(), pytrace=False)


def test_a_seed_tells_the_same_story_each_time() -> None:
    scenario = Scenario.of(18)  # many jobs, and short
    first, second = run(scenario), run(scenario)
    assert first.story.lines == second.story.lines
    assert first.jobs == scenario.songs + scenario.urls
