"""The database of several simulated clients: transactions in memory, and the ways in which they fail."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from math import inf
from pathlib import Path
from random import Random
from typing import Any, Final, TypeVar, cast

import anyio
import trio
from attrs import define, field

from benchmarks.simulation.machine import EPOCH, Machine
from benchmarks.simulation.story import Story
from mvsep_async.concurrency import uncancelled
from mvsep_async.errors import JournalError
from mvsep_async.postgres.connection import Connection, DatabaseUnavailableError
from mvsep_async.postgres.notices import Notice
from mvsep_async.postgres.statements import Identity
from mvsep_async.postgres.store import Store

from .scenario import SharedScenario
from .tables import Tables, store_of

__all__ = ["COMMITTED", "MemoryBackend", "MemoryDatabase"]

T = TypeVar("T")

_OFFSET: Final = 3.7
"""Seconds by which the database's clock differs from the machines'."""

COMMITTED: Final = "after a transaction"
"""The moment at which a transaction is committed, and its client does not know it yet."""

_CLOSING: Final = 1.0
_CONNECT: Final = 6.0
_STATEMENT: Final = 10.0
_DETECTED: Final = 17.0
"""Seconds until a listener notices that its connection is lost."""


@define(eq=False)
class MemoryDatabase:
    """The server. `on_commit` is called after each transaction that changes something, or may have."""

    scenario: SharedScenario
    story: Story
    rng: Random
    tables: Tables = field(init=False)
    away: bool = False
    calm: bool = False
    transactions: int = 0
    faults: int = 0
    backends: list[MemoryBackend] = field(factory=list)
    on_commit: Callable[[], object] = lambda: None

    def __attrs_post_init__(self) -> None:
        self.tables = Tables(lambda: EPOCH + _OFFSET + trio.current_time())

    def backend(self, machine: Machine, machine_id: str) -> MemoryBackend:
        """Return the connection of a new process."""
        process = f"{machine.name}.{sum(one.machine is machine for one in self.backends) + 1}"
        made = MemoryBackend(self, machine, Identity("account", process, machine_id))
        self.backends.append(made)
        return made

    def deliver(self, notices: list[Notice]) -> None:
        """Send the notices of a committed transaction."""
        for backend in self.backends:
            backend.notice_all(notices)

    def draw_fault(self) -> str | None:
        if self.calm or self.rng.random() >= self.scenario.commit_faults:
            return None
        self.faults += 1
        return self.rng.choice(("refused", "not applied", "applied", "repeated", "slow", "no answer"))


@define(eq=False)
class MemoryBackend:
    """The database as one process uses it: a `Backend`, and its own `Transactions`.

    `unreachable`: whether this process cannot reach it. `deaf`: whether notices are lost on the way to it.
    """

    database: MemoryDatabase
    machine: Machine
    me: Identity
    unreachable: bool = False
    deaf: bool = False
    on_point: Callable[[str], None] = lambda point: None
    _lock: anyio.Lock = field(factory=anyio.Lock)
    _closed: bool = False
    _limit: float = inf
    _scope: anyio.CancelScope | None = None
    _notices: deque[tuple[float, Notice]] | None = None
    _arrived: trio.Event = field(factory=trio.Event)

    @property
    def transactions(self) -> MemoryBackend:
        return self

    @property
    def spool(self) -> Path:
        return self.machine.folder / "spool" / self.me.machine

    async def open(self) -> tuple[Store, Path]:
        """See `Backend.open`."""
        self.spool.mkdir(parents=True, exist_ok=True)
        return store_of(self.database.tables, self.me), self.spool

    def closing(self) -> None:
        """See `Backend.closing`."""
        self._limit = _CLOSING
        if self._scope is not None:
            self._scope.deadline = min(self._scope.deadline, anyio.current_time() + _CLOSING)

    async def close(self) -> None:
        """See `Backend.close`."""
        self._closed = True
        await trio.lowlevel.checkpoint()

    def __str__(self) -> str:
        return "postgresql://simulated/journal"

    async def run(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """See `Transactions.run`."""
        async with self._lock:
            return await uncancelled(lambda: self._run(work))

    async def _run(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        if self._closed:
            raise JournalError("the journal is closed")
        with anyio.move_on_after(self._limit) as self._scope:
            try:
                return await self._try(work)
            except DatabaseUnavailableError:
                self._closed = self._limit < inf
                raise
        self._closed = True
        raise DatabaseUnavailableError("the database does not answer, and the client is closing")

    async def _try(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        database, rng = self.database, self.database.rng
        for attempt in (1, 2):
            if self.is_away():
                await self._wait(rng.choice((0.01, _CONNECT)))
                raise DatabaseUnavailableError("the database cannot be reached")
            fault = database.draw_fault() if attempt == 1 else None
            if fault is not None:
                database.story.say(self.machine.name, f"a transaction: {fault}")
            await self._wait(database.scenario.database_latency * rng.random())
            if fault == "slow":
                await self._wait(rng.uniform(0.0, _STATEMENT))
            if fault == "refused":
                raise DatabaseUnavailableError("the connection was lost before the transaction")
            if fault == "not applied":
                await self._roll_back(work)
                raise DatabaseUnavailableError("the connection was lost in the transaction")
            with database.tables.transaction():
                result = await work(cast("Connection", None))
            database.transactions += 1
            notices, database.tables.notices = database.tables.notices, []
            database.deliver(notices)
            database.on_commit()
            self.on_point(COMMITTED)
            if fault == "no answer":
                await self._wait(_STATEMENT)
            else:
                await self._wait(database.scenario.database_latency * rng.random())
            if fault in ("applied", "no answer"):
                raise DatabaseUnavailableError("the connection was lost after the transaction")
            if fault != "repeated":
                return result
        raise AssertionError("the second attempt returns or raises")

    async def _roll_back(self, work: Callable[[Connection], Awaitable[Any]]) -> None:
        try:
            with self.database.tables.transaction():
                await work(cast("Connection", None))
                raise _RollBack
        except _RollBack:
            return

    def is_away(self) -> bool:
        return self.unreachable or self.database.away

    async def _wait(self, seconds: float) -> None:
        with trio.move_on_after(seconds):
            await self.machine.died.wait()
        if self.machine.dead:
            raise DatabaseUnavailableError("the process was killed")

    # Notices

    def notice_all(self, notices: list[Notice]) -> None:
        """Send notices to this process, if it listens; they arrive in order, some of them late."""
        if self._notices is None or self.deaf or self.is_away():
            return
        rng, scenario = self.database.rng, self.database.scenario
        for notice in notices:
            late = rng.random() < scenario.commit_faults
            at = trio.current_time() + (5.0 if late else scenario.database_latency) * rng.random()
            self._notices.append((at, notice))
        self._arrived.set()

    async def listen(
        self, account: str, on_notice: Callable[[Notice], None], on_listening: Callable[[bool], None]
    ) -> None:
        """See `Backend.listen`."""
        if self.database.scenario.pooled:
            await trio.sleep_forever()
        while True:
            if not self.is_away():
                self._notices = deque()
                await trio.sleep(self.database.scenario.database_latency)
                on_listening(True)
                try:
                    await self._receive(on_notice)
                finally:
                    self._notices = None
                    on_listening(False)
            await trio.sleep(1.0)

    async def _receive(self, on_notice: Callable[[Notice], None]) -> None:
        """Pass on notices until the connection is found to be lost."""
        checked = trio.current_time()
        while trio.current_time() < checked + _DETECTED:
            if not (self.deaf or self.is_away()):
                checked = trio.current_time()
            if not self._notices:
                self._arrived = trio.Event()
            with trio.move_on_after(self.database.rng.uniform(2.0, _DETECTED)):
                await self._arrived.wait()
            while self._notices:
                at, notice = self._notices.popleft()
                await trio.sleep_until(at)
                on_notice(notice)


class _RollBack(Exception):
    """Raised to roll back a transaction."""
