"""The process that is killed: it separates all songs of a folder, and tells on stdout how far it is.

`python -m benchmarks.chaos_child URL SONGS OUT [DNS_SECONDS]`, with the token in MVSEP_API_TOKEN. For the first
DNS_SECONDS, no name is found.
"""

from __future__ import annotations

import socket
import sys
import time
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


async def main(url: str, songs: Path, out: Path) -> None:
    async with MVSepClient(
        base_url=url, concurrency=SLOTS, poll_interval=POLL, journal=out / "journal.db", on_event=on_event
    ) as client:
        tell("open")
        sources = sorted(songs.rglob("*.wav"))
        async for job in client.map(sources, directory=out / "stems", stems=STEMS, algorithm=ALGORITHM):
            tell("finished" if job.error is None else f"failed {type(job.error).__name__}: {job.error}")
    tell("end")


def fail_names_for(seconds: float) -> None:
    """Let the resolver know no name for a while."""
    until, ask = time.monotonic() + seconds, socket.getaddrinfo

    def unsure(*args: Any, **kwargs: Any) -> Any:
        if time.monotonic() < until:
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return ask(*args, **kwargs)

    socket.getaddrinfo = unsure


if __name__ == "__main__":
    if len(sys.argv) > 4:
        fail_names_for(float(sys.argv[4]))
    anyio.run(main, sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
