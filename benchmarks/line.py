"""How near a run comes to its lower bound, where uploads take as long as separations.

Nothing can be faster than max(bytes ÷ rate of the line, seconds of work ÷ slots), and the time of one song more, since
the first song has to be sent before any is separated, and the last is separated when all are sent. Each row divides
what a run took, less that one song, by this bound.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import anyio
from attrs import frozen

from benchmarks.report import Row, middle, spread
from benchmarks.service import Service, serving
from mvsep_async import MVSepClient

__all__ = ["measure"]

_MB: Final = 1_000_000
ROUNDS: Final = 3


@frozen
class Case:
    """Songs of one size, each separated for so long, through a line of `rate` bytes per second."""

    slots: int
    rate: float
    songs: int
    size: int
    seconds: float

    @property
    def bound(self) -> float:
        return max(self.songs * self.size / self.rate, self.songs * self.seconds / self.slots)

    @property
    def one_song(self) -> float:
        return self.size / self.rate + self.seconds

    @property
    def name(self) -> str:
        slots = "1 slot" if self.slots == 1 else f"{self.slots} slots"
        songs = f"{self.songs} songs of {self.size / _MB:g} MB, {self.seconds:g} s"
        return f"{slots}, {self.rate / _MB:g} MB/s: {songs}"


CASES: Final = (
    Case(slots=1, rate=0.5 * _MB, songs=6, size=_MB, seconds=2.0),
    Case(slots=1, rate=_MB, songs=6, size=_MB, seconds=1.0),
    Case(slots=1, rate=_MB, songs=6, size=_MB, seconds=3.0),
    Case(slots=1, rate=10 * _MB, songs=8, size=10 * _MB, seconds=1.0),
    Case(slots=10, rate=0.5 * _MB, songs=14, size=_MB // 2, seconds=7.0),
    Case(slots=10, rate=_MB, songs=14, size=_MB, seconds=7.0),
    Case(slots=10, rate=10 * _MB, songs=30, size=5 * _MB, seconds=4.0),
)


def measure(quick: bool) -> list[Row]:
    """Run all cases; `quick` runs only the second one, with fewer songs."""
    rows = []
    for case in [Case(1, _MB, 3, _MB, 1.0)] if quick else CASES:
        walls = []
        refused = 0
        for _ in range(1 if quick else ROUNDS):
            with serving(case.seconds, link_bytes_per_second=case.rate) as service:
                wall, refusals = anyio.run(_run, service, case)
            walls.append(wall - case.one_song)
            refused += refusals
        note = f"{refused} creates refused" if refused else "no create refused"
        rows.append(
            Row(
                name=case.name,
                unit="s",
                ours=middle(walls),
                peer=case.bound,
                peer_name="bound",
                goal=1.1,
                spread=spread(walls),
                note=note,
            )
        )
    return rows


async def _run(service: Service, case: Case) -> tuple[float, int]:
    refused = 0

    def listen(event: object) -> None:
        nonlocal refused
        refused += type(event).__name__ == "Retried"

    with TemporaryDirectory() as folder:
        paths = [Path(folder) / f"song {number}.wav" for number in range(case.songs)]
        for path in paths:
            path.write_bytes(b"RIFF" + os.urandom(case.size - 4))
        async with MVSepClient(
            service.premium_token,
            base_url=service.url,
            concurrency=case.slots,
            poll_interval=0.05,
            requests_per_minute=6000,
            on_event=listen,
        ) as client:
            await client.catalogue()  # which is fetched once, and would take a part of a slow line
            begun = time.perf_counter()
            async for job in client.map(paths, algorithm=63):
                if job.error is not None:
                    raise job.error
            return time.perf_counter() - begun, refused
