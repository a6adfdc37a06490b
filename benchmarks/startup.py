"""The time to import the client, compared with its dependencies, to open it, and to block the event loop meanwhile."""

from __future__ import annotations

import subprocess
import sys
from typing import Final

from benchmarks.report import Row, middle, spread

__all__ = ["measure"]

_TIMED: Final = "import time; t = time.perf_counter(); {imports}; print(time.perf_counter() - t)"
_BASE: Final = "import httpx, anyio, attrs, cattrs"
_OPEN: Final = """
import time
began = time.perf_counter()
import anyio
from mvsep_async import MVSepClient

async def main():
    worst, last = 0.0, time.perf_counter()
    async def beat():
        nonlocal worst, last
        while True:
            await anyio.sleep(0.001)
            now = time.perf_counter()
            worst, last = max(worst, now - last), now
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(beat)
        await anyio.sleep(0.05)
        worst = 0.0
        async with MVSepClient("token", base_url="http://127.0.0.1:9"):
            opened = time.perf_counter() - began
            await anyio.sleep(0.01)
        print(worst, opened - 0.05)
        tasks.cancel_scope.cancel()

anyio.run(main)
"""


def measure(quick: bool) -> list[Row]:
    """Import in new processes, alternately."""
    rounds = 2 if quick else 15
    package, client, base, stalls, opens = [], [], [], [], []
    for _ in range(rounds):
        base.append(_run(_TIMED.format(imports=_BASE))[0])
        package.append(_run(_TIMED.format(imports="import mvsep_async"))[0])
        client.append(_run(_TIMED.format(imports="from mvsep_async import MVSepClient"))[0])
        stall, opened = _run(_OPEN)
        stalls.append(stall)
        opens.append(opened)
    peer = "httpx, anyio, attrs, cattrs"
    return [
        Row.beside("from mvsep_async import MVSepClient", "s", client, base, peer, goal=1.8),
        Row.beside("the same, and open the first client, which loads the rest", "s", opens, base, peer, goal=None),
        Row.beside("import mvsep_async, which loads nothing else", "s", package, base, peer, goal=1.1),
        Row(
            name="longest stall of the loop while the first client opens",
            unit="s",
            ours=middle(stalls),
            spread=spread(stalls),
            goal=0.05,
            note="goal: our own",
        ),
    ]


def _run(code: str) -> list[float]:
    done = subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE, text=True)
    return [float(figure) for figure in done.stdout.split()]
