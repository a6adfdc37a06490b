"""`python -m benchmarks soak`: memory and descriptors of a process that separates songs for minutes.

The process has an unreliable network, a journal, and a clock that is set again and again. It prunes every job and
deletes its files.
"""

from __future__ import annotations

import os
import random
import statistics
import sys
import tempfile
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Final

import anyio
import psutil
from anyio.streams.text import TextReceiveStream
from attrs import define, field, frozen

from benchmarks.chaos_weather import Weather
from benchmarks.report import Row
from mvsep_async.sandbox import Quirks, Sandbox

__all__ = ["Sample", "measure", "soak"]

_SAMPLES: Final = 300
"""How often the process is looked at."""


@frozen
class Sample:
    """The resources of the process at one moment."""

    memory: int
    descriptors: int
    threads: int


@define
class Soaked:
    """The results of a soak."""

    printed: Counter[str] = field(factory=Counter)
    samples: list[Sample] = field(factory=list)
    faults: int = 0
    code: int | None = None

    @property
    def failed(self) -> int:
        return sum(count for line, count in self.printed.items() if line.startswith("failed"))

    def growth(self, attribute: str) -> float:
        """Return the median of the last fifth over that of the second fifth; in the first one, caches fill."""
        values = [getattr(sample, attribute) for sample in self.samples]
        fifth = max(1, len(values) // 5)
        return statistics.median(values[-fifth:]) / statistics.median(values[fifth : 2 * fifth] or values)

    def most(self, attribute: str) -> int:
        return max(getattr(sample, attribute) for sample in self.samples)


def measure(quick: bool) -> list[Row]:
    """Soak for ten minutes; `quick` for a few seconds."""
    seconds = 2.0 if quick else 600.0
    found = anyio.run(soak, seconds)
    name = f"soak: {seconds:.0f} s, {found.printed['finished']} songs, {found.faults} faults: "
    return [
        Row(name=name + "songs that failed", unit="", ours=found.failed, goal=0),
        _level(name + "memory at the end over the beginning", found, "memory", f"{found.most('memory') >> 20} MiB"),
        _level(name + "descriptors at the end over the beginning", found, "descriptors"),
        _level(name + "threads at the end over the beginning", found, "threads"),
    ]


def _level(name: str, found: Soaked, attribute: str, most: str = "") -> Row:
    return Row(
        name=name, unit="", ours=found.growth(attribute), goal=1.1, note=f"at most {most or found.most(attribute)}"
    )


async def soak(seconds: float, *, seed: int = 1) -> Soaked:
    """Run the process over an unreliable network, and sample its resources."""
    found = Soaked()
    weather = Weather(random.Random(seed))
    quirks = Quirks(early_not_found=0.2, history_delay=0.3)
    with tempfile.TemporaryDirectory(prefix="mvsep-soak-") as name:
        async with Sandbox(
            stems="copy", job_seconds=lambda serial: serial % 7 / 10, keep_input=False, quirks=quirks, seed=seed
        ) as sandbox:
            async with weather.over(sandbox):
                await _run(sandbox, Path(name), seconds, found)
            found.faults = sandbox.faults.triggered
    if found.code != 0:
        raise RuntimeError(f"the process ended with {found.code}")
    return found


async def _run(sandbox: Sandbox, folder: Path, seconds: float, found: Soaked) -> None:
    command = [sys.executable, "-m", "benchmarks.chaos_child", sandbox.url]
    command += [str(folder / "songs"), str(folder / "journal.db"), str(folder / "stems")]
    command += ["--clock", "1", "--soak", str(seconds)]
    environment = {**os.environ, "MVSEP_API_TOKEN": sandbox.premium_token}
    root = Path(__file__).parents[1]
    async with (
        await anyio.open_process(command, stderr=None, env=environment, cwd=root) as process,
        anyio.create_task_group() as tasks,
    ):
        assert process.stdout is not None
        rest = ""
        async for text in TextReceiveStream(process.stdout):
            *lines, rest = (rest + text).split("\n")
            if "open" in lines:
                tasks.start_soon(_sample, psutil.Process(process.pid), seconds / _SAMPLES, found.samples)
            found.printed.update(lines)
        found.code = await process.wait()
        tasks.cancel_scope.cancel()


async def _sample(process: psutil.Process, pause: float, samples: list[Sample]) -> None:
    with suppress(psutil.NoSuchProcess):
        while True:
            with process.oneshot():
                samples.append(Sample(process.memory_info().rss, process.num_fds(), process.num_threads()))
            await anyio.sleep(pause)
