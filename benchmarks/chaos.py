"""`python -m benchmarks.chaos [--kills N] [--songs N] [--seed N]`: kill processes many times and check all songs.

Two processes of one account separate songs against the sandbox, over an unreliable network, with clocks
that are set again and again, and are killed again and again. Prints the table of docs/guarantees.md.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Final

import anyio

from benchmarks.chaos_harness import Chaos, Outcome
from benchmarks.report import Row, machine
from mvsep_async import MVSepClient
from mvsep_async.observe.events import Downloaded, Event
from mvsep_async.sandbox import Sandbox

__all__ = ["cuts", "measure"]

_MEGABYTE: Final = 1_000_000


def measure(quick: bool) -> list[Row]:
    """Run the series of kills; `quick` kills only a few times."""
    outcome = anyio.run(_chaos, *((5, 4) if quick else (200, 60)), 1)
    ratio = anyio.run(cuts, 3 if quick else 20)
    name = f"chaos: {outcome.kills} kills, {outcome.songs} songs: "
    return [
        Row(name=name + "songs lost", unit="", ours=outcome.lost, goal=0),
        Row(name=name + "songs paid twice", unit="", ours=outcome.paid_twice, goal=0),
        Row(name=name + "files with wrong bytes", unit="", ours=outcome.wrong, goal=0),
        Row(name=name + "stray files", unit="", ours=len(outcome.stray), goal=0),
        Row(name="bytes fetched over needed, a cut every megabyte", unit="", ours=ratio, goal=1.1),
    ]


async def cuts(megabytes: int) -> float:
    """Download files of that size with the connection cut at every megabyte; return bytes received over needed."""
    received = 0

    def add(event: Event) -> None:
        nonlocal received
        received += event.received if isinstance(event, Downloaded) else 0

    with tempfile.TemporaryDirectory() as name:
        song = Path(name) / "song.wav"
        song.write_bytes(b"RIFF\0\0\0\0WAVEfmt " + bytes(megabytes * _MEGABYTE))
        async with Sandbox(stems="copy", job_seconds=0.0) as sandbox:
            sandbox.faults.add(kind="cut_response", path="/storage/*", after_bytes=_MEGABYTE, count=None)
            async with MVSepClient(
                sandbox.premium_token, base_url=sandbox.url, poll_interval=0.05, on_event=add
            ) as client:
                paths = await client.separate(song, name, algorithm=40)
        assert {path.read_bytes() for path in paths} == {song.read_bytes()}
        return received / sum(path.stat().st_size for path in paths)


async def _chaos(kills: int, songs: int, seed: int) -> Outcome:
    with tempfile.TemporaryDirectory(prefix="mvsep-chaos-") as name:
        return await Chaos(Path(name), kills, songs, seed=seed).run()


def _table(outcome: Outcome, ratio: float) -> str:
    def some(counts: dict[str, int]) -> str:
        return ", ".join(f"{count} {name}" for name, count in counts.items())

    rows = [
        ("kills", f"{outcome.kills} ({some(outcome.signals)})", "≥ 200"),
        ("unfinished jobs at the kills, by state", some(outcome.caught), ""),
        ("times a clock was set, by up to days", f"{outcome.clock_steps}", ""),
        ("requests with an injected fault", f"{outcome.faults}", ""),
        ("times the service was down", f"{outcome.outages}", ""),
        ("songs", f"{outcome.songs}", "≥ 60"),
        ("songs lost", f"{outcome.lost}", "0"),
        ("jobs paid", f"{outcome.jobs}", f"{outcome.songs}"),
        ("paid twice", f"{outcome.paid_twice}", "0"),
        ("files with wrong bytes", f"{outcome.wrong}", "0"),
        ("stray files", f"{len(outcome.stray)} {' '.join(outcome.stray)}".strip(), "0"),
        ("bytes fetched over needed, through all kills", f"{outcome.ratio:.3f}", ""),
        ("the same, with no kill and a cut every megabyte", f"{ratio:.3f}", "≤ 1.1"),
    ]
    lines = ["| | found | goal |", "|---|---|---|", *(f"| {name} | {found} | {goal} |" for name, found, goal in rows)]
    where = "{system}, {cpus} cpus, Python {python}".format(**machine())
    return "\n".join([*lines, "", f"{outcome.seconds:.0f} s, {where}."])


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chaos", description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--songs", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    outcome = anyio.run(_chaos, arguments.kills, arguments.songs, arguments.seed)
    print(_table(outcome, anyio.run(cuts, 20)))
    return 0 if outcome.flawless else 1


if __name__ == "__main__":
    sys.exit(main())
