"""Many transfers at once in a process of their own: `python -m benchmarks.transfer.child`, driven by `crowd`.

Prints one line of JSON: the memory above idle at its highest, and how late the event loop was.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import anyio
import psutil  # type: ignore[import-untyped]
from attrs import frozen

from benchmarks.transfer.bench import Bench, Scheme, curl, curl_upload_arguments, upload
from mvsep_async.download.fetch import fetch

_TICK = 0.002
"""Seconds between two looks at the loop's punctuality."""


@frozen
class Crowd:
    """What a crowd of transfers took: MiB above idle, and the loop's lateness in ms at its 99th percentile."""

    memory: float
    lag: float


def crowd(bench: Bench, scheme: Scheme, *, uploads: int, downloads: int, by: str = "ours") -> Crowd:
    """Run that many transfers at once in a fresh process; `by="curl"` has them done by curls beside an idle loop.

    The latter is how late any loop is on this machine under that load.
    """
    given = [str(bench.folder), scheme, bench.urls[scheme], str(uploads), str(downloads), by]
    command = [sys.executable, "-m", "benchmarks.transfer.child", *given]
    return Crowd(**json.loads(subprocess.run(command, check=True, capture_output=True).stdout))


async def _run(bench: Bench, scheme: Scheme, uploads: int, downloads: int, by: str) -> dict[str, float]:
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

        async def tick() -> None:
            while True:
                due = time.perf_counter() + _TICK
                await anyio.sleep(_TICK)
                lags.append(time.perf_counter() - due)

        poller = threading.Thread(target=watch)
        poller.start()
        async with anyio.create_task_group() as group:
            group.start_soon(tick)
            async with anyio.create_task_group() as transfers:
                url = bench.urls[scheme]
                for _ in range(uploads):
                    if by == "curl":
                        transfers.start_soon(anyio.run_process, curl(bench, *curl_upload_arguments(bench, url)))
                    else:
                        transfers.start_soon(upload, http, bench, scheme)
                for number in range(downloads):
                    target = bench.out / f"{number}.wav"
                    if by == "curl":
                        transfers.start_soon(anyio.run_process, curl(bench, url, "-o", str(target)))
                    else:
                        transfers.start_soon(partial(fetch, http, url, target, root=bench.out))
            group.cancel_scope.cancel()
        over.set()
        poller.join()
    lags.sort()
    return {"memory": (highest - idle) / 2**20, "lag": lags[int(len(lags) * 0.99)] * 1000}


def main() -> None:
    folder, name, url, uploads, downloads, by = sys.argv[1:]
    scheme: Scheme = "TLS" if name == "TLS" else "plain"
    path = Path(folder)
    bench = Bench(path, path / "song.wav", path / "ca.pem", {scheme: url})
    print(json.dumps(anyio.run(_run, bench, scheme, int(uploads), int(downloads), by)))


if __name__ == "__main__":
    main()
