"""The machine that the client runs on: its clocks, threads and disk, and the ways in which it fails."""

from __future__ import annotations

import errno
import random
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, Final, Protocol
from unittest import mock

import anyio
import trio
from attrs import define, field
from trio._core import _run as trio_run

from mvsep_async.download.part_file import PartFile
from mvsep_async.errors import JournalError
from mvsep_async.journal.store import Store
from mvsep_async.journal.thread import WorkThread

from .story import Story

__all__ = ["EPOCH", "Machine", "Platform", "simulated"]

EPOCH: Final = 1_780_000_000.0
"""The Unix time at which every run begins."""

_WRITES: Final = frozenset({"begin", "write", "_write", "finish", "check_writable"})
"""Functions run in threads that need room on the disk."""


@define(eq=False)
class Machine:
    """One machine. It is switched off by `crash` and switched on by `start`."""

    story: Story
    folder: Path
    rng: Random
    journal_latency: float = 0.0
    power_losses: bool = False
    name: str = "machine"
    wall_offset: float = 0.0
    disk_full: bool = False
    dead: bool = False
    died: trio.Event = field(factory=trio.Event)
    on_crash: Callable[[], object] | None = None
    _snapshots: list[dict[str, bytes]] = field(factory=list)
    _steps: float = 0.0

    @property
    def journal(self) -> Path:
        """The journal's path."""
        return self.folder / "journal.db"

    def wall(self) -> float:
        """The wall clock, which the user or NTP may set."""
        return EPOCH + trio.current_time() + self.wall_offset

    def monotonic(self) -> float:
        """The monotonic clock."""
        return trio.current_time()

    def busy(self) -> float:
        """A clock by which loops yield: each question takes half a millisecond, the same in every run."""
        self._steps += 0.0005
        return self._steps

    def start(self) -> None:
        """Switch it on."""
        self.dead, self.died = False, trio.Event()
        self._snapshots = [self._snapshot()]

    def crash(self) -> None:
        """Switch it off between two steps of any two tasks: nothing that runs afterwards has an effect."""
        if self.dead:
            return
        self.story.say(self.name, "crashes")
        self.dead = True
        self.died.set()
        if self.on_crash is not None:
            self.on_crash()

    def lose_power(self) -> None:
        """After a crash: keep what the journal synced, and any part of what it wrote since."""
        if not self.power_losses or self.rng.random() < 0.5:
            return
        kept = self.rng.randrange(len(self._snapshots))
        if kept < len(self._snapshots) - 1:
            self.story.say(self.name, f"loses power, and {len(self._snapshots) - 1 - kept} transactions of the journal")
        for name in ("journal.db", "journal.db-wal", "journal.db-shm"):
            (self.folder / name).unlink(missing_ok=True)
        for name, content in self._snapshots[kept].items():
            (self.folder / name).write_bytes(content)

    def _snapshot(self) -> dict[str, bytes]:
        if not self.power_losses:
            return {}
        names = ("journal.db", "journal.db-wal")
        return {name: (self.folder / name).read_bytes() for name in names if (self.folder / name).exists()}

    async def run_in_thread(self, function: Callable[..., Any], *args: Any, **_: Any) -> Any:
        """What stands for a worker thread: the call happens at once, on the loop, between two checkpoints."""
        await trio.lowlevel.checkpoint()
        self.check(function)
        result = function(*args)
        await trio.lowlevel.cancel_shielded_checkpoint()
        return result

    def work_thread(self, name: str) -> WorkThread:
        """Return what stands for the journal's thread."""
        return SimulatedThread(self, name)

    def check(self, function: Callable[..., Any]) -> None:
        """Raise `OSError` for a call that this machine does not make as it is now."""
        if self.dead:
            if isinstance(part := getattr(function, "__self__", None), PartFile):
                part.close()  # with its lock, as the system does for a process that ended
            raise OSError(errno.EIO, "the machine is off")
        name = getattr(function, "__name__", getattr(getattr(function, "func", None), "__name__", ""))
        if self.disk_full and name in _WRITES:
            raise OSError(errno.ENOSPC, "No space left on device")

    def write(self, call: partial[None]) -> None:
        """Write to the journal, unless the disk is full."""
        if self.disk_full:
            raise JournalError("the journal cannot be written: no space left on device")
        call()
        if self.power_losses:
            if call.keywords["synced"]:
                self._snapshots.clear()
            self._snapshots.append(self._snapshot())


class Platform(Protocol):
    """What the product uses of the machine that it runs on."""

    rng: Random

    def wall(self) -> float: ...

    def monotonic(self) -> float: ...

    def busy(self) -> float: ...

    async def run_in_thread(self, function: Callable[..., Any], *args: Any, **options: Any) -> Any: ...

    def work_thread(self, name: str) -> WorkThread: ...


class SimulatedThread(WorkThread):
    """What stands for the journal's thread: a task that works off the calls, each after a while."""

    def __init__(self, machine: Machine, name: str) -> None:
        self._machine = machine
        self._calls: deque[tuple[Callable[[], Any], Callable[[Any, Exception | None], None]] | None] = deque()
        self._posted = trio.Event()
        trio.lowlevel.spawn_system_task(self._work, name=name)

    def post(self, work: Callable[[], Any], then: Callable[[Any, Exception | None], None]) -> None:
        self._calls.append((work, then))
        self._posted.set()

    def stop(self) -> None:
        self._calls.append(None)
        self._posted.set()

    async def _work(self) -> None:
        machine = self._machine
        while True:
            while not self._calls:
                self._posted = trio.Event()
                await self._posted.wait()
            post = self._calls.popleft()
            if post is None:
                return
            work, then = post
            with trio.move_on_after(machine.journal_latency * machine.rng.random()):
                await machine.died.wait()
            name = getattr(getattr(work, "func", work), "__name__", "")
            result, error = None, None
            try:
                if name == Store.close.__name__:
                    work()
                elif machine.dead:
                    raise JournalError("the machine is off")
                elif name == Store.write.__name__:
                    assert isinstance(work, partial)
                    machine.write(work)
                else:
                    result = work()
            except Exception as raised:  # noqa: BLE001 -- passed to `then`, as by the real thread
                error = raised
            then(result, error)


@contextmanager
def simulated(machine: Platform) -> Iterator[None]:
    """Put this machine's clocks, threads and randomness in the place of the real ones."""
    state = random.getstate()
    random.seed(machine.rng.random())
    trio_run._r.seed(machine.rng.random())
    drawn = Random(machine.rng.random())
    with ExitStack() as stack:
        for target, name, value in (
            (time, "time", machine.wall),
            (time, "monotonic", machine.monotonic),
            (anyio.to_thread, "run_sync", machine.run_in_thread),
            (trio_run, "_ALLOW_DETERMINISTIC_SCHEDULING", True),
            (_module("concurrency"), "monotonic", machine.busy),
            (_module("download.writer"), "_LINGER", 0.0),
            (_module("jobs.request"), "urandom", drawn.randbytes),
            (_module("journal.sqlite"), "WorkThread", machine.work_thread),
        ):
            stack.enter_context(mock.patch.object(target, name, value))
        stack.callback(random.setstate, state)
        yield


def _module(name: str) -> Any:
    import importlib

    return importlib.import_module(f"mvsep_async.{name}")


def fresh(folder: Path) -> Path:
    """Return an empty folder of this name."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
