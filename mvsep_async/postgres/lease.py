"""Renew the lease of this process on its jobs, and check it before a step that must not be taken without it."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Awaitable, Callable
from math import inf
from typing import Final

import anyio
from attrs import define, field

from mvsep_async.concurrency import Wakeup
from mvsep_async.errors import JournalError
from mvsep_async.postgres.backend import POLL, RETRY, Availability
from mvsep_async.postgres.connection import DatabaseUnavailableError, Transactions
from mvsep_async.postgres.decisions import Lease
from mvsep_async.postgres.processes import ProcessTable, Snapshot

__all__ = ["LeaseKeeper", "suspend_proof_clock"]

_RENEWALS: Final = 3
"""How often a lease is renewed before it ends."""

_MARGIN: Final = 1 / 6
"""The part of a lease by which it ends earlier here than in the database."""

_CONFIRM: Final = 3.0
"""Seconds to wait for a renewed lease before the last byte of a create: a held body costs a connection."""


def suspend_proof_clock() -> float:
    """Return the seconds of a clock that also runs while the process or the machine is suspended."""
    boottime = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boottime is None else time.clock_gettime(boottime)


@define(eq=False)
class LeaseKeeper:
    """Renews the lease of this process by the database's clock, also at the request of other parts (`renew_soon`).

    While the lease may have expired, no create is finished, no job is cancelled and no downloaded file gets its name,
    since another process may have taken over the jobs.

    `on_snapshot` is called with the answer to each renewal, before the lease counts as renewed. `clock`: the seconds of
    a clock that also runs while the process is suspended. `unix_time`: this machine's clock.
    """

    _database: Transactions
    _processes: ProcessTable
    _availability: Availability
    _seconds: float
    _on_snapshot: Callable[[Snapshot], None]
    _clock: Callable[[], float]
    _unix_time: Callable[[], float]
    listening: bool = False
    """Whether notices of the other processes arrive."""
    _lease: Lease = field(init=False)
    _name: str = field(factory=lambda: f"{socket.gethostname()} {os.getpid()}")
    _offset: float = 0.0
    """Seconds to add to this machine's Unix time to get the database's."""
    _wake: Wakeup = field(factory=Wakeup)
    _renewed: anyio.Event = field(factory=anyio.Event)

    def __attrs_post_init__(self) -> None:
        self._lease = Lease(self._seconds, self._seconds * _MARGIN)

    def wall(self) -> float:
        """Return the Unix time by the database's clock."""
        return self._unix_time() + self._offset

    def valid(self) -> bool:
        """Tell whether the jobs certainly belong to this process."""
        return self._lease.valid(self._clock())

    def ended(self) -> None:
        """Record that the lease is over."""
        self._lease.ended()

    def renew_soon(self) -> None:
        """Let `run` renew the lease at once."""
        self._wake.set()

    async def run(self, on_renewed: Callable[[Snapshot], Awaitable[None]]) -> None:
        """Renew the lease until cancelled, and await `on_renewed` each time."""
        while True:
            pause = self._seconds / _RENEWALS
            try:
                await on_renewed(await self.renew())
            except JournalError as error:
                self._availability.unreachable(error)
                pause = RETRY
            with anyio.move_on_after(pause if self.listening else min(pause, POLL)):
                await self._wake.wait()

    async def renew(self) -> Snapshot:
        """Renew the lease. Raises `JournalError` if the database cannot be reached."""
        sent_at, wall = self._clock(), self._unix_time()
        lapsed = not self._lease.valid(sent_at)
        snapshot = await self._database.run(
            lambda connection: self._processes.renew(connection, name=self._name, lease=self._seconds, all_jobs=lapsed)
        )
        self._on_snapshot(snapshot)
        self._lease.renewed(sent_at)
        self._offset = snapshot.now - (wall + self._unix_time()) / 2
        self._availability.reachable()
        self._renewed.set()
        self._renewed = anyio.Event()
        return snapshot

    async def check(self, job: str, *, patient: bool) -> None:
        """Return while the lease is valid, else when it is renewed.

        Raises `DatabaseUnavailableError` if that takes longer than a few seconds, unless `patient`.
        """
        while not self.valid():
            self.renew_soon()
            renewed = self._renewed
            with anyio.move_on_after(inf if patient else _CONFIRM) as scope:
                await renewed.wait()
            if scope.cancelled_caught:
                raise DatabaseUnavailableError(
                    "the shared journal cannot be reached, so another process may have taken over the job", job=job
                )
