"""One of several processes with a shared journal: it separates its songs, is killed, suspended and started again."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, Final
from weakref import WeakKeyDictionary, WeakValueDictionary

import httpx
import trio
import trio.testing
from attrs import define, evolve, field

from benchmarks.simulation.machine import Machine
from benchmarks.simulation.service import Service, result_bytes
from benchmarks.simulation.story import Story
from benchmarks.simulation.user import PATIENCE
from mvsep_async import ClientClosedError, Job, JobCancelledError, JobFailedError, MVSepClient, MVSepError
from mvsep_async.config import ClientConfig
from mvsep_async.download.part_file import PartFile
from mvsep_async.errors import JournalError
from mvsep_async.jobs.entry import JobEntry
from mvsep_async.jobs.journal import Record
from mvsep_async.postgres.coordinator import SharedCoordinator, open_coordinator

from .database import MemoryBackend, MemoryDatabase
from .network import SharedNetwork
from .scenario import SharedScenario
from .suspension import Suspendable

__all__ = ["Process", "ProcessMachine", "Song"]

_TAG: Final = re.compile(rb'filename="([0-9a-z]+)')
_HASH: Final = re.compile(rb"hash=([^&]+)")


@define
class Song:
    """A song of the account. `submitters`, `finders`: the numbers of the processes that want it."""

    audio: int
    path: Path
    mapped: bool
    as_bytes: bool
    submitters: tuple[int, ...]
    finders: tuple[int, ...]
    given_up: str | None = None
    """Why it may end without files."""

    @property
    def key(self) -> str:
        return f"song {self.audio}"


@define(eq=False)
class ProcessMachine(Machine):
    """The machine of one process. `before_rename` is called before a download gets its name."""

    before_rename: Callable[[], object] = lambda: None
    _parts: WeakValueDictionary[int, PartFile] = field(factory=WeakValueDictionary)

    def crash(self) -> None:
        """Kill the process. The system closes its files, and so ends its locks."""
        super().crash()
        for part in list(self._parts.values()):
            part.close()

    def check(self, function: Callable[..., Any]) -> None:
        super().check(function)
        if isinstance(part := getattr(function, "__self__", None), PartFile):
            self._parts[id(part)] = part
        if getattr(getattr(function, "func", function), "__name__", "") == "finish":
            self.before_rename()


@define(eq=False, kw_only=True)
class Process(Suspendable):
    """A process that starts again whenever it has ended, until `ended` is set."""

    number: int
    scenario: SharedScenario
    story: Story
    rng: Random
    service: Service
    database: MemoryDatabase
    machine: ProcessMachine
    network: SharedNetwork
    songs: list[Song]
    machine_id: str
    target: Path
    ended: trio.Event
    on_point: Callable[[Process, str], None]
    lives: int = 0
    departs: bool = False
    """Whether it does not start again."""
    finished: bool = False
    """Whether all its songs are finished."""
    client: MVSepClient | None = None
    backend: MemoryBackend | None = None
    scope: trio.CancelScope | None = None
    nursery: trio.Nursery | None = None

    def __attrs_post_init__(self) -> None:
        self.machine.before_rename = lambda: self._check_lease("names a file")

    @property
    def name(self) -> str:
        return self.machine.name

    async def run(self) -> None:
        """Live again and again."""
        self.adopt_current_task()
        while not self.ended.is_set() and not self.departs:
            await self._live()
            await trio.sleep(self.rng.choice((0.1, 5.0, 60.0)))
        self.finished = True

    def kill(self) -> None:
        """Kill it between two steps."""
        if self.client is not None and not self.machine.dead:
            if self.suspended:
                self.resume()
            self.machine.crash()

    def close(self) -> None:
        """Let it close its client, whatever it is doing, and start again."""
        if self.scope is not None and not self.machine.dead:
            self.story.say(self.name, "closes its client")
            self.scope.cancel()

    async def _live(self) -> None:
        self.lives += 1
        self.finished = False
        self.machine.start()
        self.network.restart()
        self.backend = self.database.backend(self.machine, self.machine_id)
        self.backend.on_point = partial(self.on_point, self)
        self.story.say(self.name, f"starts (life {self.lives})")
        client = self.client = MVSepClient(
            "token-1234567890",
            journal="postgresql://simulated/journal",
            lease=self.scenario.lease,
            shared_files=self.scenario.shared_files,
            http=httpx.AsyncClient(transport=self.network, trust_env=False),
            patience=PATIENCE,
            group_cap=self.scenario.group_cap or None,
        )
        client._config = evolve(client._config, open_journal=self._open_journal)
        try:
            with trio.CancelScope() as self.scope:
                self.machine.on_crash = self._stop
                await client.open()
                await self._work(client)
        except* MVSepError as group:
            if not self.machine.dead:
                self.story.say(self.name, f"ends with {group.exceptions[0]}")
        except* OSError as group:
            if not self.machine.dead:
                self.story.violate("the client raises its own errors", repr(group.exceptions[0]))
        finally:
            with trio.CancelScope(shield=True):
                await self._close(client)
            self.client = self.scope = self.nursery = None
            self.machine.on_crash = None

    @asynccontextmanager
    async def _open_journal(self, config: ClientConfig) -> AsyncIterator[tuple[SharedCoordinator, Sequence[Record]]]:
        assert self.backend is not None
        async with open_coordinator(
            self.backend,
            lease=config.lease,
            shared_files=config.shared_files,
            patience=config.patience,
            requests_per_minute=config.requests_per_minute,
            clock=trio.current_time,
            unix_time=self.machine.wall,
        ) as coordinator:
            yield coordinator, ()

    def _stop(self) -> None:
        if self.scope is not None:
            self.scope.cancel()
        if self.client is not None and self.client._host is not None:
            self.client._host._scope.cancel()

    async def _close(self, client: MVSepClient) -> None:
        if client._host is None:
            return
        try:
            await client._host.stop()
        except MVSepError as error:
            self.story.say(self.name, f"closes with {error}")
        except Exception as error:  # noqa: BLE001 -- what a client that was killed raises says nothing
            if not self.machine.dead:
                self.story.violate("closing raises nothing", repr(error))

    async def _work(self, client: MVSepClient) -> None:
        async with trio.open_nursery() as self.nursery:
            nursery = self.nursery
            nursery.start_soon(self._check, client)
            async with trio.open_nursery() as songs:
                for song in self.songs:
                    if self.number in song.submitters and not song.mapped:
                        songs.start_soon(self._patiently, self._submit, song)
                    if self.number in song.finders:
                        songs.start_soon(self._patiently, self._find, song)
                mapped = [song for song in self.songs if self.number in song.submitters and song.mapped]
                songs.start_soon(self._map, client, mapped)
            self.finished = True
            if not self.departs:
                await self.ended.wait()  # others may need it to take over their jobs
            nursery.cancel_scope.cancel()

    async def _map(self, client: MVSepClient, songs: list[Song]) -> None:
        by_path = {str(song.path): song for song in songs}
        async for job in client.map([song.path for song in songs], directory=self.target, algorithm=40):
            self._ended(by_path[str(job.source)], job, job.error)

    async def _submit(self, client: MVSepClient, song: Song) -> None:
        """Submit a song with its key, whatever became of it in an earlier life or in another process."""
        job = await client.submit(
            song.path.read_bytes() if song.as_bytes else song.path,
            filename=song.path.name,
            algorithm=40,
            key=song.key,
            group=str(song.audio % 3),
            priority=song.audio % 2,
            metadata=song.audio,
        )
        again = await client.find(key=song.key)
        if again is None or again.id != job.id:
            self.story.violate("a key is one job", f"{song.key} is {job}, and then {again}")
        await job
        await job.download(self.target)
        self._ended(song, job, None)

    async def _find(self, client: MVSepClient, song: Song) -> None:
        """Find the job of a song that other processes submit, and await it, or download it."""
        while (job := await client.find(key=song.key)) is None:
            if song.given_up is not None or self.ended.is_set():
                return
            await trio.sleep(7.0)
        await job
        if self.rng.random() < 0.5:
            await job.download(self.target)
        self._ended(song, job, None)

    async def _patiently(self, work: Callable[[MVSepClient, Song], Awaitable[None]], song: Song) -> None:
        """Do this again for as long as the database cannot be reached, as any user would."""
        assert self.client is not None
        while True:
            try:
                await work(self.client, song)
            except JournalError as error:
                if self.machine.dead or self.ended.is_set():
                    return
                self.story.say(self.name, f"must wait for song {song.audio}: {error}")
                await trio.sleep(20.0)
            except MVSepError as error:
                self._ended(song, None, error)
                return
            else:
                return

    def _ended(self, song: Song, job: Job | None, error: BaseException | None) -> None:
        if self.machine.dead or isinstance(error, ClientClosedError):
            return
        self.story.say(self.name, f"gets song {song.audio}: {error or (job and job.stage.value)}")
        if isinstance(error, JobCancelledError | JobFailedError):
            song.given_up = song.given_up or str(error)

    async def cancel_one(self) -> None:
        """Cancel the job of a song, wherever it is."""
        client = self.client
        songs = [song for song in self.songs if not song.mapped and song.given_up is None]
        if client is None or client._session is None or client._session.closed or not songs:
            return
        song = self.rng.choice(songs)
        try:
            job = await client.find(key=song.key)
            if job is None or job.done():
                return
            song.given_up = "cancelled"
            gone = await job.cancel()
        except MVSepError as error:
            self.story.say(self.name, f"cannot cancel song {song.audio}: {error}")
            return
        self.story.say(self.name, f"cancels song {song.audio}: {gone}")
        if gone:
            self.service.cancelled.add(song.audio)

    # What must hold

    def _check_lease(self, deed: str) -> bool:
        """Check that the lease of this process is valid in the database."""
        assert self.backend is not None
        valid = self.backend.me.process in self.database.tables.alive()
        if not valid and not self.machine.dead:
            self.story.violate("who has lost its lease does nothing", f"{self.name} {deed}")
        return valid

    def before_deed(self, path: str, body: bytes) -> None:
        """Check that a create or a cancellation is sent by the process that has the job."""
        assert self.backend is not None
        create = path.endswith("create")
        if not self._check_lease("finishes a create" if create else "cancels a job"):
            return
        found = (_TAG if create else _HASH).search(body)
        name = "" if found is None else found[1].decode()
        # A hash just found in the lists of the service is not in the journal yet, but it contains the id of the job.
        job = next((job for job in self.database.tables.jobs.values() if job["id"] in name), None)
        if job is None or job["owner"] != self.backend.me.process:
            owner = None if job is None else job["owner"]
            self.story.violate(
                "who has lost its lease does nothing", f"{self.name} sends {path} for {name}, which is {owner}'s"
            )

    async def _check(self, client: MVSepClient) -> None:
        """Check how far jobs are, whenever nothing can run."""
        fractions: WeakKeyDictionary[JobEntry, float] = WeakKeyDictionary()  # a new handle begins anew
        while True:
            await trio.testing.wait_all_tasks_blocked()
            session = client._session
            if self.machine.dead or session is None:
                return
            for entry in (*session.registry.jobs.values(), *session.registry.elsewhere.values()):
                self._check_fraction(entry, fractions)
            with trio.move_on_after(5.0):
                await self.network.activity.wait()

    def _check_fraction(self, job: JobEntry, fractions: WeakKeyDictionary[JobEntry, float]) -> None:
        fraction = job.progress.fraction
        if fraction is None:
            return
        if fraction < fractions.get(job, 0.0) - 1e-9:
            self.story.violate("fraction never falls", f"{self.name}, {job}: from {fractions[job]} to {fraction}")
        fractions[job] = fraction

    def has_files(self, song: Song) -> bool:
        """Tell whether the stems of a song are in the target."""
        contents = [path.read_bytes() for path in self.target.rglob("*.wav")]
        return all(result_bytes(song.audio, stem) in contents for stem in ("vocals", "other"))
