"""The process that is killed: it separates all songs of a folder, and reports its progress on stdout.

`python -m benchmarks.chaos_child URL SONGS JOURNAL STEMS [--no-names SECONDS] [--clock SEED]`, with the token in
MVSEP_API_TOKEN. For the first seconds no host name is resolved; with a seed, the wall clock is set again and again.
With `--soak SECONDS` it makes songs itself for that time, and removes everything of them.
"""

from __future__ import annotations

import argparse
import random
import socket
import sys
import time
import wave
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any, Final

import anyio

from mvsep_async import MVSepClient
from mvsep_async.observe.events import Event

ALGORITHM: Final = 63
STEMS: Final = ("vocals", "bass")
POLL: Final = 0.03
SLOTS: Final = 4


def tell(what: str) -> None:
    sys.stdout.write(what + "\n")
    sys.stdout.flush()


def on_event(event: Event) -> None:
    tell(type(event).__name__)


async def main(url: str, songs: Path, journal: Path, stems: Path) -> None:
    async with MVSepClient(
        base_url=url, concurrency=SLOTS, poll_interval=POLL, journal=journal, on_event=on_event
    ) as client:
        tell("open")
        sources = sorted(songs.rglob("*.wav"))
        async for job in client.map(sources, directory=stems, stems=STEMS, algorithm=ALGORITHM):
            tell("finished" if job.error is None else f"failed {type(job.error).__name__}: {job.error}")
    tell("end")


async def soak(url: str, songs: Path, journal: Path, stems: Path, seconds: float) -> None:
    songs.mkdir()
    async with MVSepClient(
        base_url=url, concurrency=SLOTS, poll_interval=POLL, journal=journal, on_event=on_event
    ) as client:
        tell("open")
        async for job in client.map(new_songs(songs, seconds), directory=stems, algorithm=40):
            tell("finished" if job.error is None else f"failed {type(job.error).__name__}: {job.error}")
            for path in (Path(str(job.source)), *(job.paths or ())):
                path.unlink()
            await client.prune([job])
    tell("end")


def new_songs(folder: Path, seconds: float) -> Iterator[Path]:
    """Yield new songs until the time is over."""
    until, drawn = time.monotonic() + seconds, random.Random(1)
    for number in count():
        if time.monotonic() > until:
            return
        path = folder / f"Song {number}.wav"
        with wave.open(str(path), "wb") as file:
            file.setparams((2, 2, 44100, 0, "NONE", ""))
            file.writeframes(drawn.randbytes(drawn.randrange(20_000, 60_000) & ~3))
        yield path


def fail_names_for(seconds: float) -> None:
    """Make name resolution fail for a while."""
    until, ask = time.monotonic() + seconds, socket.getaddrinfo

    def unsure(*args: Any, **kwargs: Any) -> Any:
        if time.monotonic() < until:
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return ask(*args, **kwargs)

    socket.getaddrinfo = unsure


def step_clock(seed: int) -> None:
    """Set the wall clock of this process forward or back by up to days, several times a second."""
    drawn, ask = random.Random(seed), time.time
    offset, until = 0.0, 0.0

    def stepped() -> float:
        nonlocal offset, until
        if time.monotonic() >= until:
            offset = drawn.choice((-1.0, 1.0)) * 10 ** drawn.uniform(-1.0, 5.5)
            until = time.monotonic() + drawn.uniform(0.05, 0.5)
            tell("clock set")
        return ask() + offset

    time.time = stepped


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chaos_child")
    parser.add_argument("url")
    parser.add_argument("songs", type=Path)
    parser.add_argument("journal", type=Path)
    parser.add_argument("stems", type=Path)
    parser.add_argument("--no-names", type=float, default=0.0, metavar="SECONDS")
    parser.add_argument("--clock", type=int, metavar="SEED")
    parser.add_argument("--soak", type=float, metavar="SECONDS")
    arguments = parser.parse_args()
    if arguments.no_names:
        fail_names_for(arguments.no_names)
    if arguments.clock is not None:
        step_clock(arguments.clock)
    where = (arguments.url, arguments.songs, arguments.journal, arguments.stems)
    if arguments.soak is None:
        anyio.run(main, *where)
    else:
        anyio.run(soak, *where, arguments.soak)
