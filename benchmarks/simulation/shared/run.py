"""Running one seed with several clients: from the first song to the checks at the end."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable
from operator import itemgetter
from pathlib import Path
from random import Random
from typing import Any, Final

import httpx
import trio
import trio.testing
from attrs import define, field

from benchmarks.simulation.machine import EPOCH, simulated
from benchmarks.simulation.run import Result
from benchmarks.simulation.scenario import DURING_OUTAGE
from benchmarks.simulation.service import Answer, Service, result_bytes, song_bytes
from benchmarks.simulation.story import Story
from mvsep_async.jobs.lifecycle import HOLDS_SLOT, OVER
from mvsep_async.journal.thread import WorkThread

from .database import COMMITTED, MemoryDatabase
from .network import SharedNetwork
from .process import Process, ProcessMachine, Song
from .scenario import SharedScenario
from .suspension import owner_of_task, suspensions

__all__ = ["run_shared"]

_FREEZES: Final = (3.0, 8.0, 20.0, 40.0, 90.0, 400.0, 2000.0)
"""Seconds for which a process is suspended: shorter and longer than a lease, a held connection and a search."""


_QUOTA: Final = 600.0
"""Seconds that a song may wait for the daily limit of a free account."""

_NO_SLOT: Final = b"unprocessed file"

_OFTEN: Final = 0.02
"""How much less likely a process is suspended after a transaction, since there are many of them."""


def run_shared(scenario: SharedScenario) -> Result:
    """Run one scenario in virtual time and return its result; the same scenario gives the same story."""
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None) as folder:
        world = World(scenario, Path(folder))
        logging.disable(logging.CRITICAL)
        try:
            with simulated(world):
                trio.run(world.run, clock=trio.testing.MockClock(autojump_threshold=0))
        finally:
            logging.disable(logging.NOTSET)
        return world.result()


@define(eq=False)
class SharedService(Service):
    """The service of an account without other programs: a refused create and a 429 are the clients' own fault."""

    def handle(self, request: httpx.Request, body: bytes) -> Answer:
        answer = super().handle(request, body)
        if answer.status == 429:
            self.story.violate("the budget is kept", f"429 for {request.url.path}")
        if answer.status == 400 and _NO_SLOT in answer.body:
            self.story.violate(
                "no create is refused for lack of a slot", f"{len(self.unfinished())} jobs are unfinished"
            )
        return answer


@define(eq=False)
class World:
    """Everything of a run: the service, the database and the processes. It stands for the machines of all tasks."""

    scenario: SharedScenario
    folder: Path
    story: Story = field(factory=Story)
    service: Service = field(init=False)
    database: MemoryDatabase = field(init=False)
    processes: list[Process] = field(factory=list)
    songs: list[Song] = field(factory=list)
    ended: trio.Event = field(factory=trio.Event)
    quiet: bool = False
    seconds: float = 0.0
    rng: Random = field(init=False)
    _nursery: trio.Nursery = field(init=False)
    _steps: float = 0.0

    def __attrs_post_init__(self) -> None:
        self.rng = self.drawn("world")
        self.service = SharedService(self.scenario, self.story, self.drawn("service"))
        self.database = MemoryDatabase(self.scenario, self.story, self.drawn("database"))
        self.database.on_commit = self._check_slots
        self._collect_songs()

    def drawn(self, name: str) -> Random:
        return Random(f"{name} {self.scenario.seed}")

    def result(self) -> Result:
        """Return what became of the run."""
        paid = sum(job.audio is not None for job in self.service.jobs)
        struck = sum(sum(process.network.injected.values()) for process in self.processes) + self.database.faults
        lives = sum(process.lives for process in self.processes)
        return Result(self.scenario, self.story, self.seconds, lives, paid, struck, 0)

    # The machine of each task

    def wall(self) -> float:
        process = self._current()
        return EPOCH + trio.current_time() if process is None else process.machine.wall()

    def monotonic(self) -> float:
        return trio.current_time()

    def busy(self) -> float:
        self._steps += 0.0005
        return self._steps

    async def run_in_thread(self, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        process = self._current()
        assert process is not None
        return await process.machine.run_in_thread(function, *args, **options)

    def work_thread(self, name: str) -> WorkThread:
        raise AssertionError("a shared journal has no thread")

    def _current(self) -> Process | None:
        process = owner_of_task(trio.lowlevel.current_task())
        assert process is None or isinstance(process, Process)
        return process

    # The course of a run

    async def run(self) -> None:
        """Run all processes until every song is finished."""
        self.story.clock = trio.current_time
        with suspensions(), trio.CancelScope() as everything:

            def stop() -> None:
                for process in self.processes:
                    process.kill()
                everything.cancel()

            self.story.on_violation = stop
            async with trio.open_nursery() as self._nursery:
                for number in range(self.scenario.clients):
                    self.processes.append(self._process(number))
                async with trio.open_nursery() as lives:
                    for process in self.processes:
                        lives.start_soon(process.run)
                    self._nursery.start_soon(self._disturb)
                    await self._wait_for_the_end()
                self._nursery.cancel_scope.cancel()
            self._check_end()
        self.seconds = trio.current_time()

    def _collect_songs(self) -> None:
        rng, folder = self.drawn("songs"), self.folder / "songs"
        folder.mkdir()
        clients = range(self.scenario.clients)
        for audio in range(1, self.scenario.songs + 1):
            path = folder / f"song {audio}.wav"
            path.write_bytes(song_bytes(audio, scale=self.scenario.song_scale))
            submitters = rng.sample(clients, min(rng.randint(1, self.scenario.submitters), len(clients)))
            others = [number for number in clients if number not in submitters]
            mapped = rng.random() < self.scenario.mapped
            found = bool(others) and not mapped and rng.random() < self.scenario.finders
            finders = (rng.choice(others),) if found else ()
            self.songs.append(Song(audio, path, mapped, rng.random() < 0.3, tuple(sorted(submitters)), finders))

    def _process(self, number: int) -> Process:
        scenario, name = self.scenario, f"client {number}"
        folder = self.folder / name if scenario.machines else self.folder
        machine = ProcessMachine(self.story, folder, self.drawn(name), name=name)
        network = SharedNetwork(
            scenario,
            self.service,
            machine,
            self.story,
            self.drawn(f"network {number}"),
            world=self._nursery,
            before_deed=lambda path, body: process.before_deed(path, body),
        )
        process = Process(
            number=number,
            scenario=scenario,
            story=self.story,
            rng=self.drawn(f"user {number}"),
            service=self.service,
            database=self.database,
            machine=machine,
            network=network,
            songs=self.songs,
            machine_id=name if scenario.machines else "machine",
            target=folder / "stems",
            ended=self.ended,
            on_point=self._at_point,
        )
        network.on_point = lambda point: self._at_point(process, point)
        return process

    def _at_point(self, process: Process, point: str) -> None:
        likely = self.scenario.freeze_points * (_OFTEN if point == COMMITTED else 1.0)
        if not self.quiet and self.rng.random() < likely:
            self._freeze(process, point)

    def _freeze(self, process: Process, point: str) -> None:
        """Suspend a process for a while."""
        if process.client is None or process.suspended or process.machine.dead:
            return
        seconds = self.rng.choice(_FREEZES)
        self.story.say(process.name, f"is suspended {point} for {seconds} s")
        life = process.lives
        process.suspend()

        async def resume() -> None:
            await trio.sleep(seconds)
            if process.suspended and process.lives == life:
                self.story.say(process.name, "continues")
                process.resume()

        self._nursery.start_soon(resume)

    async def _wait_for_the_end(self) -> None:
        scenario = self.scenario
        a_song = scenario.job_seconds[1] + 3 * scenario.job_seconds[0] + (_QUOTA if scenario.quota else 0.0)
        longest = scenario.longest + (0.0 if scenario.premium else scenario.songs * a_song)
        with trio.move_on_at(scenario.quiet_after + longest) as scope:
            while not all(process.finished for process in self.processes) or self._unfinished():
                await trio.sleep(10.0)
        if scope.cancelled_caught:
            busy = [process.name for process in self.processes if not process.finished]
            self.story.violate("no job waits for ever", f"{busy} are not finished, nor are {self._unfinished()}")
        self.ended.set()

    def _unfinished(self) -> list[str]:
        """Return the jobs in the journal that are not over."""
        return [
            f"{job['id']} ({job['source']}, {job['state']}, {job['owner']})"
            for job in self.database.tables.jobs.values()
            if job["state"] not in OVER and not (job["state"] == "done" and job["target"] is None)
        ]

    async def _disturb(self) -> None:
        """Let things happen at their times, until everything is quiet."""
        scenario, database, story = self.scenario, self.database, self.story
        moments: list[tuple[float, Callable[[Random], Any]]] = []
        plan: list[tuple[int, Callable[[Random], Any]]] = [
            (scenario.kills, lambda rng: rng.choice(self.processes).kill()),
            (scenario.closes, lambda rng: rng.choice(self.processes).close()),
            (scenario.freezes, lambda rng: self._freeze(rng.choice(self.processes), "")),
            (scenario.partitions, self._cut_off),
            (scenario.database_outages, self._away),
            (scenario.deaf, self._deafen),
            (scenario.outages, self._outage),
            (scenario.cancels, self._cancel),
            (scenario.clock_steps, self._set_clock),
            (int(scenario.departures), self._depart),
        ]
        for index, (times, action) in enumerate(plan):
            drawn = Random(f"{scenario.seed} {index}")  # so that one part can be switched off without the others
            moments += [(scenario.quiet_after * drawn.random() ** 3, action) for _ in range(times)]
        rng = self.drawn("disturb")
        for at, action in sorted(moments, key=itemgetter(0)):
            await trio.sleep_until(at)
            action(rng)
        await trio.sleep_until(scenario.quiet_after)
        self.quiet = database.calm = True
        database.away = False
        for process in self.processes:
            process.network.outage, process.network.calm = None, True
        for backend in database.backends:
            backend.unreachable = backend.deaf = False
        story.say("world", "everything is quiet")

    def _for_a_while(self, seconds: float, end: Callable[[], None]) -> None:
        async def wait() -> None:
            await trio.sleep(seconds)
            if not self.quiet:
                end()

        self._nursery.start_soon(wait)

    def _cut_off(self, rng: Random) -> None:
        self._set_backend(rng, "unreachable", "cannot reach the database", rng.choice((1.0, 20.0, 60.0, 400.0)))

    def _deafen(self, rng: Random) -> None:
        self._set_backend(rng, "deaf", "gets no notices", rng.choice((1.0, 10.0, 60.0)))

    def _set_backend(self, rng: Random, name: str, text: str, seconds: float) -> None:
        process = rng.choice(self.processes)
        backend = process.backend
        if backend is not None:
            self.story.say(process.name, f"{text} for {seconds} s")
            setattr(backend, name, True)
            self._for_a_while(seconds, lambda: setattr(backend, name, False))

    def _away(self, rng: Random) -> None:
        seconds = rng.choice((5.0, 25.0, 60.0, 300.0))
        self.story.say("database", f"is away for {seconds} s")
        self.database.away = True
        self._for_a_while(seconds, lambda: setattr(self.database, "away", False))

    def _outage(self, rng: Random) -> None:
        fault, seconds = rng.choice(DURING_OUTAGE), rng.choice((2.0, 60.0, 600.0))
        self.story.say("network", f"outage for {seconds} s: {fault}")
        for process in self.processes:
            process.network.outage = fault
            self._for_a_while(seconds, lambda process=process: setattr(process.network, "outage", None))  # type: ignore[misc]

    def _cancel(self, rng: Random) -> None:
        process = rng.choice(self.processes)
        if process.nursery is not None and not process.machine.dead:
            process.nursery.start_soon(process.cancel_one)
            if rng.random() < self.scenario.freeze_points:
                self._for_a_while(rng.random(), lambda: self._freeze(process, "while it cancels a job"))

    def _depart(self, rng: Random) -> None:
        self.processes[0].departs = True
        for song in self.songs:
            if song.submitters == (0,):
                song.given_up = song.given_up or "its only client ended, perhaps before it was submitted"
        self.processes[0].close()

    def _set_clock(self, rng: Random) -> None:
        process = rng.choice(self.processes)
        process.machine.wall_offset += rng.choice((-1, 1)) * rng.choice((2.0, 400.0, 7200.0, 1e6))
        self.story.say(process.name, f"sets its clock: {process.machine.wall_offset:+.0f} s")

    # What must hold

    def _check_slots(self) -> None:
        """Check after each transaction that no more slots are held than there are."""
        holding = sum(job["state"] in HOLDS_SLOT for job in self.database.tables.jobs.values())
        if holding > self.service.limit:
            self.story.violate("the limit is kept", f"{holding} jobs hold one of {self.service.limit} slots")

    def _check_end(self) -> None:
        """Check that every song was paid once, and has its whole files."""
        whole = {result_bytes(song.audio, stem) for song in self.songs for stem in ("vocals", "other")}
        for target in {process.target for process in self.processes}:
            for path in target.rglob("*"):
                # A client that is killed or closed after a suspension, before it knows of a takeover, leaves its own.
                unfinished = path.name.endswith((".part", ".part.json"))
                if path.is_file() and not unfinished and path.read_bytes() not in whole:
                    self.story.violate("files are whole", f"{path.relative_to(target)} is not a stem of any song")
        for song in self.songs:
            paid = self.service.paid(song.audio)
            if song.given_up is not None or any(job.fails for job in paid):
                continue
            if not paid:
                self.story.violate("no song is lost", f"song {song.audio} was never accepted")
            if paid and not any(process.has_files(song) for process in self.processes):
                self.story.violate("no song is lost", f"song {song.audio} is paid, but its stems are missing")
