"""Seeds of the simulation with several clients: no promise is broken in any of them."""

from __future__ import annotations

import pytest
from attrs import evolve

from benchmarks.simulation.run import shrink
from benchmarks.simulation.shared.run import run_shared
from benchmarks.simulation.shared.scenario import SharedScenario

# A process that is killed closes nothing.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

# 74: a client is suspended before it repeats a cancel; 108: a job of a group without other jobs is queued again;
# 2008: one is lost and taken back while it is downloaded; 78: a client dies that downloads a job of another machine.
SEEDS = (0, *range(2, 8), 74, 78, 108, 2008)


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_every_promise_holds(seed: int) -> None:
    result = run_shared(SharedScenario.of(seed))
    if result.violation is not None:
        pytest.fail(shrink(result, again=run_shared).describe(), pytrace=False)


def test_a_seed_tells_the_same_story_each_time() -> None:
    short = evolve(
        SharedScenario.of(1), songs=2, clients=2, quiet_after=60.0, job_seconds=(5.0, 20.0), commit_faults=0.1
    )
    first, second = run_shared(short), run_shared(short)
    assert first.story.lines == second.story.lines
