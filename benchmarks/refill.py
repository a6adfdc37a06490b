"""The time until a free slot is used again, and the use of ten slots, on real sockets."""

from __future__ import annotations

import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import anyio

from benchmarks.report import Row, middle, spread
from benchmarks.service import Service, serving
from mvsep_async import MVSepClient
from mvsep_async.observe import Answered, Event, SlotTaken, Uploaded

__all__ = ["measure"]

_SLOTS: Final = 10


def measure(quick: bool) -> list[Row]:
    """Separate many songs of one second each."""
    songs = 20 if quick else 60
    walls, refills = [], []
    for _ in range(1 if quick else 5):
        with serving(1.0) as service:
            wall, gaps = anyio.run(_bulk, service, songs)
        walls.append(wall)
        refills += gaps
    ideal = songs / _SLOTS
    return [
        Row(
            name=f"{songs} jobs of 1 s on {_SLOTS} slots",
            unit="s",
            ours=middle(walls),
            peer=ideal,
            peer_name="ideal",
            goal=1.15,
            spread=spread(walls),
        ),
        Row(
            name="slot freed → next create begun",
            unit="ms",
            ours=middle(refills),
            spread=spread(refills),
            goal=20,
            note="goal: until it is on the wire",
        ),
    ]


async def _bulk(service: Service, songs: int) -> tuple[float, list[float]]:
    freed: list[float] = []
    gaps: list[float] = []

    def listen(event: Event) -> None:
        match event:
            case Answered():
                freed.append(time.perf_counter())
            case SlotTaken() if freed:
                gaps.append(1000 * (time.perf_counter() - freed.pop(0)))
            case Uploaded() | _:
                pass

    with TemporaryDirectory() as name:
        paths = [Path(name) / f"song {n}.wav" for n in range(songs)]
        for path in paths:
            path.write_bytes(b"RIFF" + bytes(40_000))
        async with MVSepClient(
            service.premium_token, base_url=service.url, poll_interval=0.05, on_event=listen
        ) as client:
            begun = time.perf_counter()
            async for job in client.map(paths, algorithm=63):
                if job.error is not None:
                    raise job.error
            return time.perf_counter() - begun, gaps
