"""What runs in a process of its own and dies before its n-th step outward.

What a crash can leave differs only by what has reached the disk, the service or the journal until then. So dying before
each system call that changes a file, in the middle of each write, before each word to or from the network and around
each transaction is dying at every instruction, as far as anybody could tell afterwards.
"""

from __future__ import annotations

import encodings.idna  # noqa: F401 -- loaded once here, not by each forked process
import os
import ssl
import threading
import traceback
from collections.abc import Awaitable, Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

import anyio
import httpx
from attrs import define, field, frozen

import mvsep_async.scheduling.assembly  # noqa: F401 -- loaded once here, not by each forked process
from mvsep_async import MVSepClient
from mvsep_async.download.part_file import PartFile
from mvsep_async.journal import buffer
from mvsep_async.journal.store import Store
from mvsep_async.transport.client import FastTransport
from mvsep_async.transport.streams import SocketStream

KILLED: Final = 77

STEMS: Final = ("Vocals", "Bass")
POLL: Final = 0.01

_NO_AUTHORITIES: Final = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Made once, before the processes are forked: reading the authorities would cost each a third of its life."""

anyio.run(anyio.sleep, 0)  # loads anyio's backend, for the same reason

_CHANGING: Final = ("fsync", "ftruncate", "link", "mkdir", "rename", "replace", "unlink")


@frozen
class World:
    """A service, an account of its own, and a folder of its own."""

    url: str
    token: str
    folder: Path

    @property
    def journal(self) -> Path:
        return self.folder / "journal.db"

    @property
    def stems(self) -> Path:
        return self.folder / "stems"

    @property
    def song(self) -> Path:
        return self.folder / "A Song.wav"

    def client(self, **settings: Any) -> MVSepClient:
        http = httpx.AsyncClient(transport=FastTransport(httpx.Limits(), _NO_AUTHORITIES), timeout=30.0)
        return MVSepClient(
            self.token, base_url=self.url, poll_interval=POLL, journal=self.journal, http=http, **settings
        )


@frozen
class End:
    """What a process tells that was not killed: the steps that it took, or what it raised."""

    steps: list[str]
    error: str | None = None


@define
class Steps:
    """Counts what is done outward, and ends the process before the one that it is told."""

    last: int | None
    taken: list[str] = field(factory=list)
    _lock: threading.Lock = field(factory=threading.Lock)

    def take(self, name: str) -> None:
        with self._lock:
            if len(self.taken) == self.last:
                os._exit(KILLED)
            self.taken.append(name)

    def count(self) -> None:
        """Have every step counted from now on, in this process for ever."""
        # Only what somebody waited for is written: nothing is saved by luck.
        buffer._LINGER = 3600.0  # type: ignore[misc]
        for name in _CHANGING:
            setattr(os, name, self._before(name, getattr(os, name)))
        self._count_writes()
        Store.write = self._around("transaction", Store.write)  # type: ignore[method-assign]
        PartFile.begin = self._before("begin", PartFile.begin)  # type: ignore[method-assign]
        for kind, name in (("send", "write"), ("read", "read")):
            setattr(SocketStream, name, self._before(kind, getattr(SocketStream, name)))

    def _before(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def stepping(*args: Any, **kwargs: Any) -> Any:
            self.take(name)
            return function(*args, **kwargs)

        return stepping

    def _around(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def stepping(*args: Any, **kwargs: Any) -> Any:
            self.take(name)
            result = function(*args, **kwargs)
            self.take(f"{name} done")
            return result

        return stepping

    def _count_writes(self) -> None:
        write = os.write

        def torn(fd: int, data: Any) -> int:
            view = memoryview(data)
            half = len(view) // 2
            self.take("write")
            written = write(fd, view[:half])
            self.take("half a write")
            return written + write(fd, view[half:])

        os.write = torn


async def map_a_song(world: World, tell: Callable[[Any], None]) -> None:
    """A song with two of its stems, through `map`."""
    async with world.client() as client:
        async for job in client.map([world.song], directory=world.stems, stems=STEMS, algorithm=63):
            tell(str(job.error) if job.error else [str(path) for path in job.paths])


async def submit_bytes(world: World, tell: Callable[[Any], None]) -> None:
    """A song that comes as bytes, under a key of the caller's; once it is accepted, the caller has it no more."""
    async with world.client() as client:
        await client.submit(world.song.read_bytes(), filename="A Song.wav", algorithm=63, key="a key")
        tell("accepted")
        await run_out(client, tell)


async def submit_a_url(world: World, tell: Callable[[Any], None]) -> None:
    """A URL: nothing at the service can be told to come of it."""
    async with world.client() as client:
        await client.submit(f"{world.url}/a-song.wav", algorithm=63, key="a key")
        tell("accepted")
        await run_out(client, tell)


async def submit_and_cancel_at_once(world: World, tell: Callable[[Any], None]) -> None:
    """Two jobs for one slot, both cancelled: the one in line here, the other wherever it has come to."""
    await submit_and_cancel(world, tell, there=False)


async def submit_and_cancel(world: World, tell: Callable[[Any], None], *, there: bool = True) -> None:
    """The same, but the other is at the service by then."""
    async with world.client(concurrency=1) as client:
        jobs = [await client.submit(world.song, algorithm=63) for _ in range(2)]
        async for _ in jobs[0]:
            if jobs[0].hash is not None or not there:
                break
        for job in reversed(jobs):
            if await job.cancel():
                tell(job.id)


async def resume(world: World, tell: Callable[[Any], None]) -> None:
    """What the journal holds, to its end."""
    async with world.client() as client:
        await run_out(client, tell)


async def run_out(client: MVSepClient, tell: Callable[[Any], None]) -> None:
    for job in client.jobs():
        async for _ in job:
            pass
        tell((job.id, job.stage.value, None if job.error is None else type(job.error).__name__))


def live(scenario: Callable[..., Awaitable[None]], world: World, last: int | None, told: Connection) -> None:
    """Run `scenario` and die before step `last`; tell what it tells, and at its end `End`."""
    steps = Steps(last)
    send = told.send  # a pipe of ours is no step
    write = os.write

    def tell(what: Any) -> None:
        stepping, os.write = os.write, write
        try:
            send(what)
        finally:
            os.write = stepping

    steps.count()
    try:
        anyio.run(scenario, world, tell)
    except BaseException:
        tell(End([], traceback.format_exc()))
        raise
    tell(End(steps.taken))
