"""Many transfers at once in a process of their own: `python -m benchmarks.transfer.child`, driven by `crowd`.

Prints one line of JSON: the memory above idle at its highest, how long the loop's thread worked in one go, and how
late timers were, on this event loop and at the same time on an idle one in another process.
"""

from __future__ import annotations

import json
import selectors
import subprocess
import sys
import threading
import time
from asyncio import SelectorEventLoop
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anyio
import psutil  # type: ignore[import-untyped]
from anyio.abc import TaskStatus
from attrs import frozen

from benchmarks.transfer.bench import Bench, Scheme, upload
from mvsep_async.download.fetch import Fetch

_TICK = 0.002
"""Seconds between two looks at the loop's punctuality."""


@frozen
class Crowd:
    """The cost of many transfers at once: MiB above idle, and milliseconds at the 99th percentile.

    `work`: processor time of a pass of the event loop, of those in which a timer falls due: what delays timers by our
    doing. `lag`: how late a timer was. `idle_lag`: how late one was on an idle loop in another process, at that time:
    what the machine does.
    """

    memory: float
    work: float
    lag: float
    idle_lag: float


def crowd(bench: Bench, scheme: Scheme, *, uploads: int, downloads: int) -> Crowd:
    """Run that many transfers at once in a fresh process, beside an idle event loop in another one."""
    given = [str(bench.folder), scheme, bench.urls[scheme], str(uploads), str(downloads)]
    command = [sys.executable, "-m", "benchmarks.transfer.child"]
    with subprocess.Popen([*command, "idle"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as idle:
        assert idle.stdout is not None
        idle.stdout.readline()  # its timers run: a short crowd may be over before a busy machine has started it
        found = json.loads(subprocess.run([*command, *given], check=True, stdout=subprocess.PIPE).stdout)
        out, _ = idle.communicate()
    return Crowd(**found, idle_lag=json.loads(out))


class _Timed(selectors.DefaultSelector):
    """Notes the processor time that the loop's thread takes between two waits."""

    def __init__(self) -> None:
        super().__init__()
        self.passes: list[float] = []
        self.since = time.thread_time()

    def select(self, timeout: float | None = None) -> Any:
        self.passes.append(time.thread_time() - self.since)
        try:
            return super().select(timeout)
        finally:
            self.since = time.thread_time()


async def _run(bench: Bench, scheme: Scheme, uploads: int, downloads: int, selector: _Timed) -> dict[str, float]:
    process = psutil.Process()
    async with bench.client() as http:
        idle = process.memory_info().rss
        highest = idle
        lags: list[float] = []
        over = threading.Event()

        def watch() -> None:
            nonlocal highest
            while not over.wait(0.01):
                highest = max(highest, process.memory_info().rss)

        poller = threading.Thread(target=watch)
        poller.start()
        selector.passes.clear()
        async with anyio.create_task_group() as group:
            await group.start(_tick, lags)
            async with anyio.create_task_group() as transfers:
                url = bench.urls[scheme]
                for _ in range(uploads):
                    transfers.start_soon(upload, http, bench, scheme)
                for number in range(downloads):
                    fetch = Fetch(http=http, url=url, target=bench.out / f"{number}.wav", root=bench.out)
                    transfers.start_soon(fetch.run)
            group.cancel_scope.cancel()
        over.set()
        poller.join()
    return {
        "memory": (highest - idle) / 2**20,
        "work": _percentile(selector.passes, weights=selector.passes) * 1000,
        "lag": _percentile(lags) * 1000,
    }


async def _tick(lags: list[float], *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
    """Note how late a timer is, again and again; started once there is a first figure."""
    while True:
        due = time.perf_counter() + _TICK
        await anyio.sleep(_TICK)
        lags.append(time.perf_counter() - due)
        if len(lags) == 1:
            task_status.started()


async def _idle() -> float:
    """Return the delays of timers on an idle event loop, until stdin ends."""
    lags: list[float] = []
    async with anyio.create_task_group() as group:
        await group.start(_tick, lags)
        print("running", flush=True)
        await anyio.to_thread.run_sync(sys.stdin.read)
        group.cancel_scope.cancel()
    return _percentile(lags) * 1000


def _percentile(values: Sequence[float], weights: Sequence[float] | None = None) -> float:
    """Return the value below which 99 % of the values are, each counted once or by its weight."""
    pairs = sorted(zip(values, weights or [1.0] * len(values), strict=True))
    left = sum(weight for _, weight in pairs) * 0.99
    for value, weight in pairs:
        left -= weight
        if left <= 0:
            return value
    return pairs[-1][0]


def main() -> None:
    if sys.argv[1] == "idle":
        print(json.dumps(anyio.run(_idle)))
        return
    folder, name, url, uploads, downloads = sys.argv[1:]
    scheme: Scheme = "TLS" if name == "TLS" else "plain"
    path = Path(folder)
    bench = Bench(path, path / "song.wav", path / "ca.pem", {scheme: url})
    selector = _Timed()
    options = {"loop_factory": lambda: SelectorEventLoop(selector)}
    found = anyio.run(_run, bench, scheme, int(uploads), int(downloads), selector, backend_options=options)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
