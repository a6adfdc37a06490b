"""A dry run over a large library, and the first song of a real one: time, memory, and delays of the event loop."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tempfile
import time
import wave
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks.report import Row

if TYPE_CHECKING:
    from mvsep_async.sandbox import Sandbox

__all__ = ["make_library", "measure"]

SONGS: Final = 50_000
ALBUM: Final = 12
"""Songs a folder, as albums have."""


def make_library(folder: Path, songs: int) -> None:
    """Write short songs with tags, in folders by artist and album. They differ in their tags only."""
    tail = b""
    for number in range(songs):
        if number % ALBUM == 0:
            place = folder / f"Artist {number // (ALBUM * 8)}" / f"Album {number // ALBUM}"
            place.mkdir(parents=True)
            tail = _id3(f"Artist {number // (ALBUM * 8)}", f"Album {number // ALBUM}", "@@@@@")
        (place / f"{number % ALBUM + 1:02} Song.wav").write_bytes(_riff(tail.replace(b"@@@@@", b"%05d" % number)))


def measure(quick: bool) -> list[Row]:
    """Walk and plan libraries of two sizes in processes of their own, then begin a real run over the larger one."""
    from mvsep_async.sandbox import Sandbox  # not for the children, whose memory is measured

    songs = 500 if quick else SONGS
    with tempfile.TemporaryDirectory(prefix="mvsep-library-") as folder:
        large, small = Path(folder, "large"), Path(folder, "small")
        make_library(large, songs)
        make_library(small, songs // 10)
        # The service is in this process, the library in others: each has its own memory and its own collector.
        with Sandbox(stems="copy", manual=True) as sandbox:
            _child(sandbox, "dry", large)  # so that both find the files in the system's cache
            half, whole = _child(sandbox, "dry", small), _child(sandbox, "dry", large)
            first = _child(sandbox, "first", large)
    return [
        Row(name=f"dry run over {songs:,} songs, tags read", unit="s", ours=whole["seconds"], note=_rate(songs, whole)),
        Row(
            name="… its peak memory over that of a tenth of them",
            unit="MB",
            ours=whole["peak"] / 1e6,
            peer=half["peak"] / 1e6,
            peer_name="a tenth",
            goal=1.15,
        ),
        *_lags(whole),
        Row(
            name=f"a library of {songs:,} songs: first song submitted after", unit="s", ours=first["seconds"], goal=1.0
        ),
        *_lags(first),
    ]


def _lags(run: dict[str, Any]) -> list[Row]:
    """Return the longest times that the event loop was blocked, as processor time of its thread.

    The delays that others see depend on the other users of the processors, so they are given with those of an idle loop
    in the same process just before.
    """
    return [
        Row(name="… the loop's thread worked in one go at most", unit="ms", ours=run["busy"] * 1e3, goal=20),
        Row(
            name="… a timer was late at most", unit="ms", ours=run["lag"] * 1e3, note=f"idle {run['idle'] * 1e3:.1f} ms"
        ),
    ]


def _rate(songs: int, run: dict[str, Any]) -> str:
    assert run["songs"] == songs, run
    return f"{songs / run['seconds']:,.0f} songs a second"


def _child(sandbox: Sandbox, what: str, library: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.library", what, str(library), sandbox.url, sandbox.premium_token]
    answer: dict[str, Any] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    return answer


def _riff(tail: bytes) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(bytes(1600))
    body = file.getvalue()[8:] + b"id3 " + len(tail).to_bytes(4, "little") + tail + b"\0" * (len(tail) % 2)
    return b"RIFF" + len(body).to_bytes(4, "little") + body


def _id3(artist: str, album: str, title: str) -> bytes:
    from mutagen import id3

    tags = id3.ID3()
    for frame in (id3.TPE1, id3.TPE2):
        tags.add(frame(encoding=0, text=[artist]))
    tags.add(id3.TALB(encoding=0, text=[album]))
    tags.add(id3.TIT2(encoding=0, text=[title]))
    file = io.BytesIO()
    tags.save(file, padding=lambda info: 0)
    return file.getvalue()


async def _run(what: str, library: Path, url: str, token: str) -> dict[str, Any]:
    import resource

    import anyio

    from mvsep_async import MVSepClient
    from mvsep_async.library import EventKind, LibraryEvent, separate_library

    lag = busy = 0.0
    reached = 0.0
    dry = what == "dry"

    async def watch() -> None:
        nonlocal lag, busy
        while True:
            begun, worked = time.perf_counter(), time.thread_time()
            await anyio.sleep(0.002)
            lag = max(lag, time.perf_counter() - begun - 0.002)
            busy = max(busy, time.thread_time() - worked)

    def note(event: LibraryEvent) -> None:
        nonlocal reached
        if event.kind is EventKind.STARTED and not reached:
            reached = time.perf_counter() - begun
            tasks.cancel_scope.cancel()

    result = None
    idle = 0.0
    async with MVSepClient(token, base_url=url) as client, anyio.create_task_group() as tasks:
        tasks.start_soon(watch)
        await anyio.sleep(1)
        idle, lag, busy = lag, 0.0, 0.0
        begun = time.perf_counter()
        result = await separate_library(
            client,
            library,
            library.parent / "Stems",
            algorithms=40,
            layout="{albumartist}/{album}/{title}/{stem}.{ext}",
            dry_run=dry,
            on_event=(lambda event: None) if dry else note,
        )
        reached = time.perf_counter() - begun
        tasks.cancel_scope.cancel()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    songs = 0 if result is None else result.tally.songs
    return {"seconds": reached, "lag": lag, "idle": idle, "busy": busy, "peak": peak, "songs": songs}


if __name__ == "__main__":
    import anyio

    print(json.dumps(anyio.run(_run, sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])))
