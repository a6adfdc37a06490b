"""What varies between runs of several clients with one journal."""

from __future__ import annotations

from random import Random
from typing import Any, Final, Self

from attrs import asdict, evolve, frozen

from benchmarks.simulation.scenario import LATER, OFF, Scenario

__all__ = ["SharedScenario"]


@frozen(kw_only=True)
class SharedScenario(Scenario):
    """One drawn world of several clients. `0` and `False` switch a part off."""

    clients: int
    lease: float
    submitters: int
    """Most clients that submit one song."""
    mapped: float
    """The part of the songs that are separated by `map`; the others are submitted with a key."""
    song_scale: int
    """How long songs are: large ones are sent ahead of their slots."""
    machines: bool
    """Whether each client runs on a machine of its own."""
    shared_files: bool
    kills: int
    closes: int
    freezes: int
    """Times that a process is suspended."""
    freeze_points: float
    """The part of the awkward moments, such as the end of a create's body, at which a process is suspended."""
    partitions: int
    """Times that one client cannot reach the database."""
    database_outages: int
    """Times that no client can."""
    commit_faults: float
    """The part of all transactions with an unknown outcome, or that are repeated, rolled back or slow."""
    deaf: int
    """Times that a client gets no notices, although it does not know that."""
    pooled: bool
    """Whether no notices arrive at all, as through a pooler in transaction mode."""
    database_latency: float
    departures: bool
    """Whether the first client ends at some time and does not start again."""
    longest: float = 7200.0
    """Seconds that everything may take once all is quiet."""
    finders: float
    """The part of the songs that another client finds, and awaits or downloads."""

    @classmethod
    def of(cls, seed: int, *, hours: float = 0.25) -> Self:
        """Draw the scenario of a seed. `hours`: how long things go wrong, in virtual time."""
        rng = Random(f"shared scenario {seed}")
        base = Scenario.of(seed, hours=hours)
        calm = rng.random() < 0.1
        known: dict[str, Any] = asdict(base)
        known |= {
            "songs": rng.choice((1, 2, 4, 6, 10)),
            "kinds": tuple(kind for kind in base.kinds if kind not in LATER),
            "pairs": 0,
            "urls": 0,
            "attaches": 0,
            "strangers": 0.0,
            "crashes": 0,
            "power_losses": False,
            "full_disks": 0,
            "suspensions": 0,
            "retags": 0,
            "moves": 0,
            "deletions": 0,
            "keyed": 0,
            "outages": 0 if calm else rng.choice((0, 0, 0, 1)),
            "faults": 0.0 if calm else rng.choice((0.0, 0.02, 0.1, 0.3)),
            "rate": rng.choice((2e4, 2e5, 1e7)),
            "old_jobs": rng.choice((0, 9)),
            "cancels": rng.choice((0, 0, 2)),
            "clock_steps": 0 if calm else rng.choice((0, 0, 2)),
        }
        return cls(
            **known,
            clients=rng.choice((2, 2, 3, 5)),
            lease=rng.choice((10.0, 30.0)),
            submitters=rng.choice((1, 2, 3)),
            mapped=rng.choice((0.0, 0.5, 1.0)),
            song_scale=rng.choice((1, 1, 150)),
            machines=(machines := rng.random() < 0.3),
            shared_files=rng.random() < 0.5,
            kills=0 if calm else rng.choice((0, 0, 1, 4)),
            closes=0 if calm else rng.choice((0, 0, 1, 3)),
            freezes=0 if calm else rng.choice((0, 1, 4)),
            freeze_points=0.0 if calm else rng.choice((0.0, 0.05, 0.3)),
            partitions=0 if calm else rng.choice((0, 0, 1, 3)),
            database_outages=0 if calm else rng.choice((0, 0, 1, 2)),
            commit_faults=0.0 if calm else rng.choice((0.0, 0.0, 0.02, 0.2)),
            deaf=0 if calm else rng.choice((0, 0, 2)),
            pooled=rng.random() < 0.15,
            database_latency=rng.choice((0.001, 0.02, 0.3)),
            # Songs on the disk of a machine that is gone wait for it to come back.
            departures=rng.random() < 0.2 and not machines,
            finders=rng.choice((0.0, 0.5)),
        )

    def without(self, part: str) -> Self:
        """Return the scenario with one of its parts switched off or made smaller."""
        if part in _OFF:
            return evolve(self, **{part: _OFF[part]})  # type: ignore[arg-type]
        if part == "clients":
            return evolve(self, clients=max(2, self.clients - 1))
        return super().without(part)


_OFF: Final[dict[str, object]] = {
    **OFF,
    "lease": 30.0,
    "submitters": 1,
    "mapped": 0.0,
    "song_scale": 1,
    "machines": False,
    "shared_files": False,
    "pooled": False,
    "database_latency": 0.001,
    "departures": False,
}
