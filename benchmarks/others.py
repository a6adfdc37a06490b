"""Separate a folder of songs with this client and with the published `mvsep-cli`, on the same sandbox."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import anyio

from benchmarks.report import Row
from benchmarks.service import serving
from mvsep_async import MVSepClient

__all__ = ["measure"]

_SONG: Final = 5_000_000
_LAUNCHER: Final = Path(__file__).parent.parent / "tests" / "peers" / "launcher.py"


def measure(quick: bool) -> list[Row]:
    """Separate songs of 5 MB, with ten slots and with one; `mvsep-cli` separates one after the other."""
    songs = 3 if quick else 40
    rows = []
    for slots, goal in ((10, 1 / 8), (1, 0.9)):
        with serving(1.0, free_per_day=2 * songs) as service, TemporaryDirectory() as name:
            folder = Path(name)
            token = service.premium_token if slots > 1 else service.free_token
            paths = [folder / f"song {n}.wav" for n in range(songs)]
            for path in paths:
                path.write_bytes(b"RIFF" + os.urandom(_SONG - 4))
            ours = anyio.run(_ours, service.url, token, paths, folder / "ours")
            theirs = _theirs(service.url, token, paths, folder)
        rows.append(
            Row(
                name=f"{songs} songs of 5 MB, {slots} slot{'s' * (slots > 1)}",
                unit="s",
                ours=ours,
                peer=theirs,
                peer_name="mvsep-cli",
                goal=goal,
                note="jobs of 1 s",
            )
        )
    return rows


async def _ours(url: str, token: str, paths: list[Path], out: Path) -> float:
    async with MVSepClient(token, base_url=url, poll_interval=0.2) as client:
        begun = time.perf_counter()
        async for job in client.map(paths, directory=out, algorithm=63):
            if job.error is not None:
                raise job.error
        return time.perf_counter() - begun


def _theirs(url: str, token: str, paths: list[Path], home: Path) -> float:
    environment = os.environ | {"HOME": str(home), "MVSEP_API_TOKEN": token}
    begun = time.perf_counter()
    for path in paths:
        command = [sys.executable, str(_LAUNCHER), url, "run", str(path), "-t", "63", "-i", "1", "-o", "theirs"]
        subprocess.run(command, check=True, env=environment, cwd=home, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begun
