"""The scenarios, who plays them, and how it went beside the goals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from attrs import evolve, frozen

from benchmarks.scheduling.clients import Client, Fixed, Oracle, Ours, Outcome
from benchmarks.scheduling.world import Scenario

__all__ = ["GOALS", "SCENARIOS", "Goals", "Measured", "measure", "play", "table"]


@frozen
class Goals:
    """What the package's own client is to reach; `None`: no goal there."""

    use: float | None = None
    """Least slot use, relative to the oracle's."""
    requests: float | None = None
    """Most requests for a job."""
    noticed: float | None = None
    """Most seconds from done to noticed, median."""
    refused: int | None = 0
    """Most answers 429."""

    def met(self, measured: Measured) -> bool:
        """Tell whether all of them are reached."""
        outcome = measured.outcome
        return (
            (self.use is None or measured.use >= self.use)
            and (self.requests is None or outcome.requests_per_job <= self.requests)
            and (self.noticed is None or outcome.noticed_median <= self.noticed)
            and (self.refused is None or outcome.refused_requests <= self.refused)
        )


@frozen
class Measured:
    """One client in one scenario. `lost` is the slot time that it lost to the oracle for each job, in seconds."""

    scenario: str
    client: str
    outcome: Outcome
    use: float
    lost: float
    goals: Goals | None = None

    def __str__(self) -> str:
        it = self.outcome
        verdict = "" if self.goals is None else "  met" if self.goals.met(self) else "  MISSED"
        return (
            f"{self.scenario:<38} {self.client:<24} {self.use:7.1%} {it.noticed_median:7.1f} {it.noticed_p95:7.1f}"
            f" {it.requests_per_job:9.1f} {self.lost:7.1f} {it.refused_requests:6d} {it.refused_creates:7d}{verdict}"
        )


HEAD: Final = (
    f"{'scenario':<38} {'client':<24} {'use':>7} {'noticed':>7} {'p95':>7} {'req/job':>9} {'lost s':>7} {'429':>6}"
    f" {'refused':>7}"
)

SCENARIOS: Final = {
    "10 slots, 60/min": Scenario(),
    "10 slots, 60/min, fixed minutes": Scenario(window="fixed", seed=8),
    "10 slots, 120/min": Scenario(per_minute=120),
    "1 slot, 60/min": Scenario(slots=1, jobs=200),
    "1 slot, 120/min": Scenario(slots=1, jobs=200, per_minute=120),
    "10 slots, 60/min, account only counts": Scenario(account="count"),
    "10 slots, 60/min, account says nothing": Scenario(account="null"),
    "10 slots, 60/min, lists 10 s late": Scenario(fresh_unlisted=10.0),
    "10 slots, 60/min, shared slots": Scenario(strangers=10.0),
    "10 slots, 60/min, shared requests": Scenario(other_requests=15.0),
    "50 slots, 60/min": Scenario(slots=50),
    "a sandbox: 60 jobs of 1 s, 6000/min": Scenario(
        exact=1.0, jobs=60, per_minute=6000, poll_interval=0.05, latency=0.01
    ),
}

GOALS: Final = {
    "10 slots, 60/min": Goals(use=0.97, requests=8, noticed=3),
    "10 slots, 60/min, fixed minutes": Goals(use=0.97, requests=8, noticed=3),
    "10 slots, 120/min": Goals(use=0.98),
    "1 slot, 60/min": Goals(use=0.98),
    "1 slot, 120/min": Goals(use=0.98),
    "a sandbox: 60 jobs of 1 s, 6000/min": Goals(use=1 / 1.15),
}
"""From the figures that the project set itself, where it did."""

OTHERS: Final[Sequence[tuple[str, Callable[[Scenario], Client]]]] = (
    ("every 5 s, same budget", Fixed),
    ("every 20 s, no budget", partial(Fixed, every=20.0, careful=False)),
    ("every 0.1 s, no budget", partial(Fixed, every=0.1, careful=False)),
)


def play(name: str, scenario: Scenario, clients: Sequence[tuple[str, Callable[[Scenario], Client]]]) -> list[Measured]:
    """Let each client work through the scenario, beside an oracle."""
    oracle = Oracle(scenario).run()
    rows = []
    for client, make in clients:
        outcome = make(scenario).run()
        rows.append(
            Measured(
                name,
                client,
                outcome,
                use=outcome.use / oracle.use,
                lost=(outcome.lasted - oracle.lasted) * scenario.slots / scenario.jobs,
                goals=GOALS.get(name) if client == "ours" else None,
            )
        )
    return rows


def measure(quick: bool = False) -> list[Measured]:
    """Play all scenarios with our client, the first also with others; `quick` takes a tenth of the jobs."""
    rows = []
    for number, (name, scenario) in enumerate(SCENARIOS.items()):
        if quick:
            scenario = evolve(scenario, jobs=max(60, scenario.jobs // 10))
        rows += play(name, scenario, [("ours", Ours), *(() if number else OTHERS)])
    return rows


def table(rows: Sequence[Measured]) -> str:
    """Return the rows as text."""
    return "\n".join([HEAD, *map(str, rows)])
