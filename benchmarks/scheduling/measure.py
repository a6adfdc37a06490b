"""The scenarios, the clients that run them, and the results with their goals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from attrs import evolve, frozen

from benchmarks.scheduling.clients import Client, Fixed, Oracle, Ours, Outcome
from benchmarks.scheduling.world import Clock, Scenario, Service

__all__ = ["GOALS", "SCENARIOS", "TWO_CLIENTS", "Goals", "Measured", "measure", "play", "table"]


@frozen
class Goals:
    """The goals of the package's own client; `None`: no goal."""

    use: float | None = None
    """Least slot use, relative to the oracle's."""
    gap: float | None = None
    """Most seconds in which a followed job is not polled."""
    poll_share: float | None = 0.81
    """Most of the requests of a minute that polls use: four fifths, and a poll that began within the minute."""
    create: float | None = 2.0
    """Most seconds that a create waits for the budget."""
    refused: int | None = 0
    """Most answers 429."""

    def met(self, measured: Measured) -> bool:
        """Return whether all of them are reached."""
        outcome = measured.outcome
        return (
            (self.use is None or measured.use >= self.use)
            and (self.gap is None or outcome.longest_gap <= self.gap)
            and (self.poll_share is None or outcome.poll_share <= self.poll_share)
            and (self.create is None or outcome.slowest_create <= self.create)
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
            f" {it.shown_median:7.1f} {it.shown_p95:7.1f} {it.longest_gap:7.1f} {it.poll_share:7.1%}"
            f" {it.requests_per_job:8.1f} {self.lost:7.1f} {it.refused_requests:5d} {it.refused_creates:7d}"
            f" {it.slowest_create:7.1f}{verdict}"
        )


HEAD: Final = (
    f"{'scenario':<38} {'client':<24} {'use':>7} {'noticed':>7} {'p95':>7} {'shown':>7} {'p95':>7} {'gap':>7}"
    f" {'polls':>7} {'req/job':>8} {'lost s':>7} {'429':>5} {'refused':>7} {'create':>7}"
)

SCENARIOS: Final = {
    "10 slots, 60/min": Scenario(),
    "10 slots, 60/min, fixed minutes": Scenario(window="fixed", seed=8),
    "10 slots, 120/min": Scenario(per_minute=120),
    "1 slot, 60/min": Scenario(slots=1, jobs=200),
    "1 slot, 120/min": Scenario(slots=1, jobs=200, per_minute=120),
    "3 slots, 60/min": Scenario(slots=3, jobs=400),
    "3 slots, 120/min": Scenario(slots=3, jobs=400, per_minute=120),
    "10 slots, 60/min, account only counts": Scenario(account="count"),
    "10 slots, 60/min, account says nothing": Scenario(account="null"),
    "10 slots, 60/min, lists 10 s late": Scenario(fresh_unlisted=10.0),
    "10 slots, 60/min, shared slots": Scenario(other_jobs=10.0),
    "10 slots, 60/min, shared requests": Scenario(other_requests=15.0),
    "50 slots, 60/min": Scenario(slots=50),
    "a sandbox: 60 jobs of 1 s, 6000/min": Scenario(
        exact=1.0, jobs=60, per_minute=6000, poll_interval=0.05, latency=0.01
    ),
}

TWO_CLIENTS: Final = {
    "two clients, 10 slots, 60/min": Scenario(jobs=500),
    "two clients, 10 slots, 120/min": Scenario(jobs=500, per_minute=120),
}
"""Both with the same account, half of the songs each."""

GOALS: Final = {
    "10 slots, 60/min": Goals(use=0.97, gap=15),
    "10 slots, 60/min, fixed minutes": Goals(use=0.97, gap=15),
    "10 slots, 120/min": Goals(use=0.975, gap=8),
    "1 slot, 60/min": Goals(use=0.98, gap=5),
    "1 slot, 120/min": Goals(use=0.98, gap=5),
    "3 slots, 60/min": Goals(use=0.97, gap=5),
    "3 slots, 120/min": Goals(use=0.98, gap=5),
    "a sandbox: 60 jobs of 1 s, 6000/min": Goals(use=1 / 1.15),
    "two clients, 10 slots, 60/min": Goals(poll_share=None),
    "two clients, 10 slots, 120/min": Goals(poll_share=None),
}
"""What the project promises. A followed job is polled every 15 s at 60 requests a minute and 10 slots."""

OTHERS: Final[Sequence[tuple[str, Callable[[Scenario], Client]]]] = (
    ("every 5 s, same budget", Fixed),
    ("every 20 s, no budget", partial(Fixed, every=20.0, careful=False)),
    ("every 0.1 s, no budget", partial(Fixed, every=0.1, careful=False)),
)


def play(name: str, scenario: Scenario, clients: Sequence[tuple[str, Callable[[Scenario], Client]]]) -> list[Measured]:
    """Run each client in the scenario, and an oracle."""
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
    """Run all scenarios with our client, the first one also with others; `quick` takes a tenth of the jobs."""
    rows = []
    for number, (name, scenario) in enumerate(SCENARIOS.items()):
        if quick:
            scenario = evolve(scenario, jobs=max(60, scenario.jobs // 10))
        rows += play(name, scenario, [("ours", Ours), *(() if number else OTHERS)])
    for name, scenario in TWO_CLIENTS.items():
        if quick:
            scenario = evolve(scenario, jobs=60)
        rows += play_two(name, scenario)
    return rows


def play_two(name: str, scenario: Scenario) -> list[Measured]:
    """Run two of our clients that share one account, and an oracle that separates all songs alone."""
    oracle = Oracle(evolve(scenario, jobs=2 * scenario.jobs))
    oracle.run()
    service = Service(scenario, Clock())
    clients = [Ours(evolve(scenario, seed=scenario.seed + number), service, f"{number}-") for number in range(2)]
    for client in clients:
        client.fill()
    service.clock.run(lambda: all(client.finished for client in clients))
    use, best = (occupied(it, scenario.slots) for it in (clients, [oracle]))
    return [
        Measured(
            name,
            f"ours, {number + 1}",
            evolve(client.outcome(), use=use),
            use=use / best,
            lost=0.0,
            goals=GOALS.get(name),
        )
        for number, client in enumerate(clients)
    ]


def occupied(clients: Sequence[Client], slots: int) -> float:
    """Return the share of the slots' time in which the service had a job, until the first client has no more songs.

    Uploads do not count: two clients may upload for one slot at the same time.
    """
    until = min(client.last_start for client in clients)
    spans = [client.service.jobs[job] for client in clients for job in client.songs]
    return sum(max(0.0, min(end, until) - accepted) for accepted, _, end in spans) / (until * slots)


def table(rows: Sequence[Measured]) -> str:
    """Return the rows as text."""
    return "\n".join([HEAD, *map(str, rows)])
