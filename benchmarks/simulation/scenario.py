"""What varies between runs: everything about the service, the machine and the user that a seed decides."""

from __future__ import annotations

from random import Random
from typing import Final, Self

from attrs import evolve, frozen

__all__ = ["AFTER", "BEFORE", "DURING_OUTAGE", "LATER", "OFF", "Scenario"]

BEFORE: Final = ("no connection", "connect timeout", "cut upload", "cut tail", "page", "junk", "5xx", "429")
"""Faults by which the service did not do what it was asked for."""

AFTER: Final = ("lost", "silent", "page after", "redirect", "junk after", "cut answer", "slow")
"""Faults after which it has done what it was asked for."""

LATER: Final = ("moved", "refused after")
"""More of both kinds: a GET is redirected to another host of the service; a create is done and answered with an error.
They are drawn apart, so that the seeds stay what they were."""

DURING_OUTAGE: Final = ("no connection", "connect timeout", "page", "junk", "5xx")


@frozen(kw_only=True)
class Scenario:
    """One drawn world. `0`, `()` and `False` switch a part off."""

    seed: int
    songs: int
    premium: bool
    quiet_after: float
    """Seconds after which faults, crashes and the user stop."""
    job_seconds: tuple[float, float]
    page_size: int
    """Most entries of a page of the history, whatever is asked for."""
    holes: bool
    """Whether lists have nulls, and pages are shorter than they need be."""
    listed_after: float
    """Seconds, the longest until a job is in the lists."""
    found_after: float
    """Seconds, the longest until `get` finds a job."""
    queue_shape: str
    old_jobs: int
    """Jobs in the history before the run."""
    strangers: float
    """Jobs an hour of other programs with the same account."""
    regions: bool
    """Whether jobs live in regions, which alone know them."""
    time_zone: float
    """Hours by which the dates of the service differ from UTC."""
    latency: float
    rate: float
    """Bytes a second of the network."""
    requests_per_minute: int
    faults: float
    """The part of all requests that something happens to."""
    kinds: tuple[str, ...]
    outages: int
    crashes: int
    power_losses: bool
    clock_steps: int
    suspensions: int
    full_disks: int
    cancels: int
    retags: int
    moves: int
    deletions: int
    failures: float
    """The part of all jobs that the service fails."""
    journal_latency: float
    keyed: int = 0
    """Songs that are submitted one by one with a key, a group and a priority, every second one as bytes."""
    group_cap: int = 0
    quota: int = 0
    """Separations in half an hour of a free account."""
    pairs: int = 0
    """Songs that are submitted with a reference, as two files of one job."""
    urls: int = 0
    """Songs that are given as URLs."""
    fetch_seconds: float = 0.0
    """Seconds, the longest that the service takes to fetch the song of a URL; meanwhile its job has a short hash."""
    attaches: int = 0
    """How often the user attaches to one of the account's jobs by its hash."""

    @classmethod
    def of(cls, seed: int, *, hours: float = 1.0) -> Self:
        """Draw the scenario of a seed. `hours`: how long things go wrong, in virtual time."""
        rng, later = Random(f"scenario {seed}"), Random(f"scenario {seed}, later")
        calm = rng.random() < 0.1
        kinds = (*BEFORE, *AFTER)
        return cls(
            seed=seed,
            songs=rng.choice((1, 2, 3, 5, 8, 12)),
            premium=rng.random() < 0.75,
            quiet_after=rng.uniform(0.2, 1.0) * hours * 3600,
            job_seconds=rng.choice(((1.0, 5.0), (20.0, 200.0), (60.0, 900.0))),
            page_size=rng.choice((1, 3, 10, 19, 20)),
            holes=rng.random() < 0.5,
            listed_after=rng.choice((0.0, 5.0, 60.0, 150.0)),
            found_after=rng.choice((0.0, 2.0, 60.0)),
            queue_shape=rng.choice(("jobs", "hashes", "count", "text")),
            old_jobs=rng.choice((0, 3, 9, 25, 60)),
            strangers=rng.choice((0.0, 0.0, 5.0, 40.0)),
            regions=rng.random() < 0.5,
            time_zone=rng.choice((0.0, 3.0, -8.0, 12.0)),
            latency=rng.choice((0.01, 0.1, 2.0)),
            rate=rng.choice((1e3, 2e4, 1e7)),
            requests_per_minute=rng.choice((60, 60, 120)),
            faults=0.0 if calm else rng.choice((0.02, 0.1, 0.3, 0.5)),
            kinds=(
                *rng.sample(kinds, rng.choice((1, 3, len(kinds)))),
                *later.sample(LATER, later.choice((0, 0, 1, len(LATER)))),
            ),
            outages=0 if calm else rng.choice((0, 0, 1, 4)),
            crashes=0 if calm else rng.choice((0, 1, 3, 10)),
            power_losses=rng.random() < 0.3,
            clock_steps=0 if calm else rng.choice((0, 0, 1, 4)),
            suspensions=0 if calm else rng.choice((0, 0, 1, 3)),
            full_disks=0 if calm else rng.choice((0, 0, 1, 2)),
            cancels=rng.choice((0, 0, 0, 2)),
            retags=rng.choice((0, 0, 2)),
            moves=rng.choice((0, 0, 2)),
            deletions=rng.choice((0, 0, 2)),
            failures=rng.choice((0.0, 0.0, 0.1)),
            journal_latency=rng.choice((0.0, 0.01, 0.5)),
            keyed=rng.choice((0, 1, 4)),
            group_cap=rng.choice((0, 0, 1, 3)),
            quota=rng.choice((0, 0, 4, 10)),
            pairs=later.choice((0, 0, 1, 2)),
            urls=later.choice((0, 0, 1, 2)),
            fetch_seconds=later.choice((0.0, 5.0, 90.0)),
            attaches=later.choice((0, 0, 2)),
        )

    def without(self, part: str) -> Self:
        """Return the scenario with one of its parts switched off or made smaller."""
        smaller: dict[str, object] = {
            "songs": max(1, self.songs // 2),
            "kinds": self.kinds[: max(1, len(self.kinds) // 2)],
            "crashes": self.crashes // 2,
        }
        return evolve(self, **{part: smaller.get(part, OFF.get(part, 0))})  # type: ignore[arg-type]


OFF: Final[dict[str, object]] = {
    "premium": True,
    "page_size": 20,
    "holes": False,
    "listed_after": 0.0,
    "found_after": 0.0,
    "queue_shape": "jobs",
    "regions": False,
    "time_zone": 0.0,
    "latency": 0.01,
    "rate": 1e7,
    "power_losses": False,
    "journal_latency": 0.0,
}
