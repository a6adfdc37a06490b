"""The user: a folder of songs that is separated again and again, while it and the machine are interfered with."""

from __future__ import annotations

import os
from collections.abc import Callable
from math import inf
from pathlib import Path
from random import Random

import httpx
import trio
from attrs import define, field

from mvsep_async import (
    AuthenticationError,
    ClientClosedError,
    InvalidRequestError,
    Job,
    MVSepClient,
    MVSepError,
    NoFreeSlotError,
    Pair,
    ProtocolError,
    ServiceUnavailableError,
    SubmissionUnknownError,
    TransportError,
)
from mvsep_async.jobs.job import entry_of
from mvsep_async.jobs.lifecycle import JobState
from mvsep_async.scheduling.pauses import WaitReason
from mvsep_async.sources import Source

from .machine import Machine
from .network import Network
from .scenario import Scenario
from .service import Service, result_bytes, song_bytes
from .story import Story

__all__ = ["PATIENCE", "User"]

PATIENCE = 1800.0
"""Seconds that the client waits for an unreachable service: its default."""

TASKS_A_SONG = 8
TASKS = 60
"""Tasks that a client may have: some of its own, and a few for each song that is on its way."""

LONGEST_ADRIFT = 120.0
"""Seconds that a job may be queued and in no queue, while a slow disk takes it and the account is asked about it."""
_NOT_THE_SONGS = (AuthenticationError, NoFreeSlotError, ProtocolError, ServiceUnavailableError, TransportError)
"""Errors that say nothing about a song: only an outage longer than patience may end its job with one."""

LONGEST_IDLE = 120.0
"""Seconds that the dispatcher may need to ask for the account: a call's limit, and its wait for the budget."""


@define(eq=False)
class User:
    """Runs `client.map` over a folder, once for each life of the process.

    `songs`: where each audio is now. `given_up`: songs that end without files, for a reason that is allowed.
    """

    scenario: Scenario
    service: Service
    machine: Machine
    network: Network
    story: Story
    rng: Random
    folder: Path
    songs: dict[int, Path] = field(factory=dict)
    client: MVSepClient | None = None
    scope: trio.CancelScope | None = None
    given_up: dict[int, str] = field(factory=dict)
    finished_all: bool = False
    most_tasks: int = 0
    lives: int = 0
    _paths: dict[Path, int] = field(factory=dict)
    _idle_since: float = inf
    """Since when there are queued jobs and nothing that would end their wait."""
    _adrift: dict[str, float] = field(factory=dict)
    """Queued jobs that are in no queue, and since when: while they are written to the journal."""

    @property
    def target(self) -> Path:
        return self.machine.folder / "stems"

    @property
    def keyed(self) -> list[int]:
        """The songs that are submitted with a key."""
        return sorted(self.songs)[: self.scenario.keyed]

    @property
    def unkeyed(self) -> list[int]:
        """The songs that `map` separates: they may be moved and retagged."""
        return sorted(self.songs)[self.scenario.keyed :]

    @property
    def urls(self) -> dict[str, int]:
        """The songs that are given as URLs: with the name of a file, and as links that name none."""
        songs = range(101, 101 + self.scenario.urls)
        return {
            f"https://music.test/SONG{audio:04d}.wav"
            if audio % 2
            else f"https://drive.google.com/file/d/SONG{audio:04d}/view": audio
            for audio in songs
        }

    @property
    def pairs(self) -> list[int]:
        """The songs that are given with a reference."""
        return self.unkeyed[: self.scenario.pairs]

    @property
    def sources(self) -> list[Source]:
        """What `map` is given, other than the songs with keys."""
        reference = self.folder / "reference.wav"
        paths: list[Source] = [
            Pair(self.songs[audio], reference) if audio in self.pairs else self.songs[audio] for audio in self.unkeyed
        ]
        return [*paths, *self.urls]

    def collect_songs(self) -> None:
        """Write the songs."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "reference.wav").write_bytes(song_bytes(0))
        for audio in range(1, self.scenario.songs + 1):
            self.put(audio, self.folder / f"song {audio}.wav", "")

    def put(self, audio: int, path: Path, tag: str) -> None:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(song_bytes(audio, tag))
        stamp = int(self.machine.wall() * 1e9)
        os.utime(path, ns=(stamp, stamp))
        self.songs[audio] = path
        self._paths[path] = audio

    async def live(self, crash_after: int | None) -> None:
        """Run the process once: to its end, or until it crashes."""
        self.lives += 1
        self.finished_all = False
        machine, story = self.machine, self.story
        machine.start()
        self.network.restart()
        self._idle_since = inf
        self._adrift.clear()
        story.say("process", f"starts (life {self.lives})")
        http = httpx.AsyncClient(transport=self.network, trust_env=False)
        self.client = MVSepClient(
            "token-1234567890",
            journal=machine.journal,
            http=http,
            patience=PATIENCE,
            group_cap=self.scenario.group_cap or None,
        )
        counter = None if crash_after is None else _CrashAfter(crash_after, machine.crash)
        try:
            with trio.CancelScope() as self.scope:
                machine.on_crash = self._stop
                if counter is not None:
                    trio.lowlevel.add_instrument(counter)
                await self.client.open()
                await self._map(self.client)
        except* MVSepError as group:
            if not machine.dead:
                story.say("process", f"ends with {group.exceptions[0]}")
        except* OSError as group:
            if not machine.dead:
                story.violate("the client raises its own errors", repr(group.exceptions[0]))
        finally:
            if counter is not None and counter.left > 0:
                trio.lowlevel.remove_instrument(counter)
            with trio.CancelScope(shield=True):
                await self._close(self.client)
            self.client = self.scope = None
            machine.on_crash = None
        if machine.dead:
            machine.lose_power()

    async def _map(self, client: MVSepClient) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._check, client)
            async with trio.open_nursery() as songs:
                for audio in self.keyed:
                    songs.start_soon(self._submit, client, audio)
                failed: list[Source] = []
                async for job in client.map(self.sources, directory=self.target, algorithm=40):
                    self._ended(job)
                    if isinstance(job.error, SubmissionUnknownError):
                        songs.start_soon(self._look_for, client, job.error, self.urls[str(job.source)])
                    elif isinstance(job.error, _NOT_THE_SONGS):
                        failed.append(job.source)
                async for job in client.map(failed, directory=self.target, algorithm=40, retry_failed=True):
                    self.story.say("user", "asks for a song again")
                    self._ended(job)
            self.finished_all = all(job.error is None for job in client.jobs())
            nursery.cancel_scope.cancel()

    async def _submit(self, client: MVSepClient, audio: int) -> None:
        """Submit a song with a key, and download its stems: whatever became of it in an earlier life."""
        path, key = self.songs[audio], f"song {audio}"
        try:
            job = await client.submit(
                path.read_bytes() if audio % 2 else path,
                filename=path.name,
                algorithm=40,
                key=key,
                group=str(audio % 3),
                priority=audio,
                metadata=audio,
            )
            again = await client.find(key=key)
            if again is None or again.id != job.id:
                self.story.violate("a key is one job", f"{key} is {job}, and then {again}")
            await job
            await job.download(self.target)
        except MVSepError as error:
            if self.machine.dead or isinstance(error, ClientClosedError):
                return
            self.story.say("user", f"cannot have song {audio}: {error}")
        else:
            self._ended(job)

    async def _look_for(self, client: MVSepClient, error: SubmissionUnknownError, audio: int) -> None:
        """Attach to the job of a URL among those that may be it, as the error says."""
        self.given_up[audio] = "unknown"  # unless it is found
        found = [job for job in self.service.jobs if job.audio == audio and {job.hash, job.short_hash} & {*error.found}]
        for job in found:
            job.rejected = True
        if not found:
            return
        job = client.attach(found[0].shown_hash(trio.current_time()))
        try:
            await job
            await job.download(self.target)
        except MVSepError as failed:
            self.story.say("user", f"attaches to song {audio} in vain: {failed}")
        else:
            self.story.say("user", f"attaches to song {audio} and gets it")

    def attach_one(self) -> None:
        """Attach to one of the account's jobs: a job that is known already is the same job."""
        client, jobs = self.client, [job for job in self.service.jobs if job.audio is not None]
        if client is None or client._session is None or client._session.closed or not jobs:
            return
        remote = self.rng.choice(jobs)
        known = next((job for job in client.jobs() if job.hash in (remote.hash, remote.short_hash)), None)
        attached = client.attach(remote.shown_hash(trio.current_time()))
        self.story.say("user", f"attaches to job {remote.number}: {attached}")
        if known is not None and known.hash == remote.shown_hash(trio.current_time()) and known.id != attached.id:
            self.story.violate("a key is one job", f"{known} is attached as {attached}")

    def _ended(self, job: Job) -> None:
        audio = self._audio_of(job)
        self.story.say("user", f"gets song {audio}: {job.error or job.stage.value}")
        if audio is not None and isinstance(job.error, InvalidRequestError):
            self.given_up.setdefault(audio, "refused")  # by an answer to a create that gives no reason
        unsent = not entry_of(job).facts.attempts
        if unsent and isinstance(job.error, _NOT_THE_SONGS) and not self.network.long_outage:
            self.story.violate("a short fault ends no queued song", f"song {audio}: {job.error!r}")

    def _audio_of(self, job: Job) -> int | None:
        if isinstance(job.metadata, int):
            return job.metadata
        source = job.source.target if isinstance(job.source, Pair) else job.source
        return self.urls.get(str(source)) or self._paths.get(Path(str(source)))

    def _stop(self) -> None:
        if self.scope is not None:
            self.scope.cancel()
        if self.client is not None and self.client._host is not None:
            self.client._host._scope.cancel()

    async def _close(self, client: MVSepClient) -> None:
        if client._host is None:
            return
        full = self.machine.disk_full  # the last write may fail by this, and closing end only when there is room again
        try:
            await client._host.stop()
        except Exception as error:  # noqa: BLE001 -- what a client that is switched off raises says nothing
            if not self.machine.dead and not (full or self.machine.disk_full):
                self.story.violate("closing raises nothing", repr(error))

    def was_suspended(self, seconds: float) -> None:
        """Leave this time out of how long something waits: nothing could run meanwhile."""
        self._idle_since += seconds
        self._adrift = {job: since + seconds for job, since in self._adrift.items()}

    async def _check(self, client: MVSepClient) -> None:
        """Check what must hold whenever nothing can run: why nothing begins, how far jobs are, how many tasks."""
        fractions: dict[str, float] = {}
        while True:
            await trio.testing.wait_all_tasks_blocked()
            if self.machine.dead:
                return
            self._check_waits(client)
            for job in client.jobs():
                self._check_fraction(job, fractions)
            with trio.move_on_after(5.0):
                await self.network.activity.wait()

    def _check_waits(self, client: MVSepClient) -> None:
        session = client._session
        if session is None or session.closed:
            return
        dispatcher = session.scheduler.dispatcher
        wait, held = dispatcher.wait(), dispatcher._slots.held
        asks = dispatcher.concurrency is None and dispatcher.account.user is None
        ends = wait.until < inf or bool(held) or wait.reason is WaitReason.NOTHING_QUEUED
        self._idle_since = inf if ends or asks else min(self._idle_since, trio.current_time())
        if trio.current_time() - self._idle_since > LONGEST_IDLE:
            self.story.violate("whoever waits knows what for", f"{wait}, {len(dispatcher._queue)} queued, none at work")
        queued, now = {job.id for job in dispatcher._queue}, trio.current_time()
        for entry in session.registry.jobs.values():
            if entry.state is not JobState.QUEUED or entry.id in queued:
                self._adrift.pop(entry.id, None)
            elif now - self._adrift.setdefault(entry.id, now) > LONGEST_ADRIFT:
                self.story.violate("whoever waits knows what for", f"{entry} is in no queue")
            rejected = entry.id in dispatcher._outcomes._rejections
            if entry.state in (JobState.CREATING, JobState.LOST) and entry.id not in held and not rejected:
                self.story.violate("whoever waits knows what for", f"{entry} holds no slot")
        tasks = _count_tasks()
        self.most_tasks = max(self.most_tasks, tasks)
        if tasks > TASKS + TASKS_A_SONG * len(self.songs):
            self.story.violate("tasks are bounded", f"{tasks} tasks for {len(self.songs)} songs")

    def _check_fraction(self, job: Job, fractions: dict[str, float]) -> None:
        fraction = job.progress.fraction
        if fraction is None:
            return
        if fraction < fractions.get(job.id, 0.0) - 1e-9:
            self.story.violate("fraction never falls", f"{job}: from {fractions[job.id]} to {fraction}")
        fractions[job.id] = fraction

    async def cancel_one(self) -> None:
        """Cancel a job at random."""
        client = self.client
        if client is None or client._session is None or client._session.closed:
            return
        jobs = [job for job in client.jobs() if not job.done()]
        if not jobs:
            return
        job = self.rng.choice(jobs)
        audio = self._audio_of(job)
        if audio is not None:
            self.given_up[audio] = "cancelled"  # whatever comes of it: the process may die meanwhile
        try:
            gone = await job.cancel()
        except MVSepError as error:
            self.story.say("user", f"cannot cancel song {audio}: {error}")
            return
        self.story.say("user", f"cancels song {audio}: {gone}")
        if gone and audio is not None and not self.machine.power_losses:
            self.service.cancelled.add(audio)

    def retag_one(self) -> None:
        """Edit the tags of a song: its audio stays."""
        if not self.unkeyed:
            return
        audio = self.rng.choice(self.unkeyed)
        self.story.say("user", f"retags song {audio}")
        self.put(audio, self.songs[audio], f"t{self.rng.randrange(100)}")

    def move_one(self) -> None:
        """Move a song to another folder."""
        if not self.unkeyed:
            return
        audio = self.rng.choice(self.unkeyed)
        before = self.songs[audio]
        after = self.folder / f"album {self.rng.randrange(3)}" / before.name
        if after == before:
            return
        self.story.say("user", f"moves song {audio}")
        after.parent.mkdir(exist_ok=True)
        before.rename(after)
        self.songs[audio] = after
        self._paths[after] = audio

    def delete_one(self) -> None:
        """Delete a stem that was downloaded."""
        stems = sorted(self.target.rglob("*.wav"))
        if stems:
            stem = self.rng.choice(stems)
            self.story.say("user", f"deletes {stem.relative_to(self.target)}")
            stem.unlink()

    def check_end(self) -> None:
        """Check that every song was paid once, and has its whole files."""
        contents = {path: path.read_bytes() for path in self.target.rglob("*") if path.is_file()}
        songs = [*self.songs, *self.urls.values()]
        whole = {result_bytes(audio, stem) for audio in songs for stem in ("vocals", "other")}
        if strange := [str(path.relative_to(self.target)) for path in contents if contents[path] not in whole]:
            self.story.violate("files are whole", f"{strange[:3]} are not the stems of any song")
        for audio in songs:
            paid = self.service.paid(audio)
            failed = [job for job in paid if job.fails]
            if audio in self.given_up or failed:
                continue
            if not paid:
                self.story.violate("no song is lost", f"song {audio} was never accepted")
            missing = [stem for stem in ("vocals", "other") if result_bytes(audio, stem) not in contents.values()]
            if missing:
                self.story.violate("no song is lost", f"song {audio} is paid, but has no {missing}")


class _CrashAfter(trio.abc.Instrument):
    """Calls `crash` after a number of steps of tasks: between any two awaits."""

    def __init__(self, steps: int, crash: Callable[[], object]) -> None:
        self.left = steps
        self._crash = crash

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        self.left -= 1
        if self.left == 0:
            trio.lowlevel.remove_instrument(self)
            self._crash()


def _count_tasks() -> int:
    root = trio.lowlevel.current_root_task()
    count, tasks = 0, [] if root is None else [root]
    while tasks:
        task = tasks.pop()
        count += 1
        for nursery in task.child_nurseries:
            tasks += nursery.child_tasks
    return count
