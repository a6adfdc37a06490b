"""The table of processes: renew their leases, and take over the jobs of those that have ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from attrs import frozen

from mvsep_async.jobs.lifecycle import JobState
from mvsep_async.postgres.connection import Connection
from mvsep_async.postgres.decisions import may_take
from mvsep_async.postgres.notices import Notice, NoticeKind
from mvsep_async.postgres.schema import HOLDING, WITHOUT_SLOT, check_version
from mvsep_async.postgres.slots import SlotTable
from mvsep_async.postgres.statements import EPOCH, FREE, VIEW, AccountLock, Statements

__all__ = ["ProcessTable", "Snapshot"]

_TAKEOVER_BATCH: Final = 500
"""Most jobs taken over in one transaction, so that several processes share the work."""


@frozen
class Snapshot:
    """What the shared journal says when a process renews its lease."""

    now: float
    """Unix time by the database's clock."""
    elsewhere: Mapping[str, str | None]
    processes: int
    """How many processes have a valid lease, this one included."""
    holding: int
    """How many slots this process holds."""
    own: frozenset[str] | None
    """This process's unfinished jobs, if asked for, or if its lease was over."""
    cancelling: tuple[str, ...]
    """Own jobs that another process asks to cancel."""
    reported: tuple[str, ...]
    """Own jobs whose progress another process has requested."""
    found: Mapping[str, tuple[str | None, str | None, str | None]]
    """Own lost jobs whose answer another process has received: hash, remote, host."""


@frozen
class ProcessTable(Statements):
    """The table of processes."""

    slots: SlotTable

    async def register(self, connection: Connection, *, name: str, lease: float) -> bool:
        """Add the account, if it is not known, and this process with a new lease; return whether it had a valid one."""
        if not await self.lock_account(connection, AccountLock.RENEW):
            await connection.execute(
                "INSERT INTO mvsep.accounts (id) VALUES (%s) ON CONFLICT DO NOTHING", (self.me.account,)
            )
            await self.lock_account(connection, AccountLock.RENEW)
        valid = await self.rows(
            connection,
            "SELECT 1 FROM mvsep.processes WHERE id = %s AND lease_until > clock_timestamp()",
            (self.me.process,),
        )
        if not valid:
            await check_version(connection)
        await connection.execute(
            """
            INSERT INTO mvsep.processes (id, account, machine, name, lease_until)
            VALUES (%s, %s, %s, %s, clock_timestamp() + make_interval(secs => %s))
            ON CONFLICT (id) DO UPDATE SET lease_until = excluded.lease_until
            """,
            (self.me.process, self.me.account, self.me.machine, name, lease),
        )
        return bool(valid)

    async def renew(self, connection: Connection, *, name: str, lease: float, all_jobs: bool) -> Snapshot:
        """Renew the lease and return a snapshot of the journal.

        `all_jobs`: include `Snapshot.own`. It is also included if the lease was over, since this process may have lost
        jobs.
        """
        all_jobs = not await self.register(connection, name=name, lease=lease) or all_jobs
        rows = await self._active(connection)
        now, processes = await self._account(connection)
        return Snapshot(
            now=now,
            elsewhere=await self.slots.elsewhere(connection),
            processes=processes,
            holding=sum(holds for _, holds, *_ in rows),
            own=frozenset(await self.own(connection)) if all_jobs else None,
            cancelling=tuple(id for id, *_, cancelling, _ in rows if cancelling),
            reported=tuple(id for id, *_, reported in rows if reported),
            found={
                id: (hash, remote, host) for id, _, hash, remote, host, lost, *_ in rows if lost and (hash or remote)
            },
        )

    async def _active(self, connection: Connection) -> list[tuple[Any, ...]]:
        """Return this process's jobs that hold a slot, or of which another process wants something."""
        return await self.rows(
            connection,
            f"""
            SELECT id, state IN ({HOLDING}), hash, remote, host, state IN ('creating', 'lost'), cancelling,
                   coalesce(followed_until > clock_timestamp(), false)
            FROM mvsep.jobs WHERE account = %s AND owner = %s AND state NOT IN ('finished', 'failed', 'cancelled')
              AND (state IN ({HOLDING}) OR cancelling OR followed_until > clock_timestamp())
            """,  # noqa: S608
            (self.me.account, self.me.process),
        )

    async def _account(self, connection: Connection) -> tuple[float, int]:
        """Return the time of the database, and how many processes have a valid lease."""
        rows = await self.rows(
            connection,
            f"""
            SELECT {EPOCH}, (SELECT count(*) FROM mvsep.processes
                              WHERE account = a.id AND lease_until > clock_timestamp())
            FROM mvsep.accounts a WHERE id = %s
            """,  # noqa: S608
            (self.me.account,),
        )
        now, processes = rows[0]
        return now, processes

    async def own(self, connection: Connection) -> list[str]:
        """Return this process's unfinished jobs."""
        rows = await self.rows(
            connection,
            """
            SELECT id FROM mvsep.jobs WHERE account = %s AND owner = %s
              AND state NOT IN ('finished', 'failed', 'cancelled')
            """,
            (self.me.account, self.me.process),
        )
        return [id for (id,) in rows]

    async def leave(self, connection: Connection) -> None:
        """End the lease, so that other processes may take over the jobs at once."""
        await connection.execute("DELETE FROM mvsep.processes WHERE id = %s", (self.me.process,))
        await self.notify(connection, Notice(NoticeKind.JOBS))

    async def take_over(self, connection: Connection, also: Sequence[str] = ()) -> list[tuple[Any, ...]]:
        """Move jobs of processes that have ended to this process, and return their rows and those of `also`."""
        jobs = await self._left_jobs(connection)
        if jobs:  # most often there are none, which is found out without a lock
            await self.lock_account(connection, AccountLock.MOVE)
            jobs = await self._left_jobs(connection, lock=True)
        ids = [
            id
            for id, state, file, target, machine in jobs
            if may_take(JobState(state), needs_file=file, has_target=target, machine=machine, mine=self.me.machine)
        ]
        if not ids and not also:
            return []
        await self._own(connection, ids)
        await self._forget_processes(connection)
        return await self._views(connection, [*ids, *also])

    async def _left_jobs(self, connection: Connection, *, lock: bool = False) -> list[tuple[Any, ...]]:
        """Return unfinished jobs of processes that have ended: id, state, whether they have a file and a target, and
        their machine. This process's own lease may be over, too, if it was just suspended: its jobs stay its own."""
        return await self.rows(
            connection,
            f"""
            SELECT id, state, source_kind NOT IN ('url', 'none'), target IS NOT NULL, machine FROM mvsep.jobs
            WHERE account = %(account)s AND state NOT IN ('finished', 'failed', 'cancelled') AND {FREE}
              AND owner IS DISTINCT FROM %(me)s AND NOT (state = 'done' AND target IS NULL)
              AND (resume_at IS NULL OR resume_at <= clock_timestamp())
              AND (machine IS NULL OR machine = %(machine)s OR source_kind IN ('url', 'none')
                   OR state NOT IN ({WITHOUT_SLOT}, 'done', 'downloading'))
            ORDER BY number LIMIT {_TAKEOVER_BATCH} {"FOR UPDATE SKIP LOCKED" if lock else ""}
            """,  # noqa: S608
            {"account": self.me.account, "machine": self.me.machine, "me": self.me.process},
        )

    async def _own(self, connection: Connection, jobs: Sequence[str]) -> None:
        """Make jobs this process's."""
        await connection.execute(
            "UPDATE mvsep.jobs SET owner = %s, failure = NULL, resume_at = NULL WHERE id = ANY(%s)",
            (self.me.process, list(jobs)),
        )

    async def _views(self, connection: Connection, jobs: Sequence[str]) -> list[tuple[Any, ...]]:
        return await self.rows(connection, f"{VIEW} WHERE j.id = ANY(%s) ORDER BY j.number", (list(jobs),))

    async def _forget_processes(self, connection: Connection) -> None:
        await connection.execute(
            """
            DELETE FROM mvsep.processes p WHERE account = %s AND lease_until < clock_timestamp() - interval '1 hour'
            """,
            (self.me.account,),
        )

    async def hand_back(self, connection: Connection, jobs: Sequence[str]) -> None:
        """Release jobs, so that a process that can read their files takes them over."""
        await connection.execute(
            "UPDATE mvsep.jobs SET owner = NULL WHERE id = ANY(%s) AND owner = %s", (list(jobs), self.me.process)
        )
        await self.notify(connection, Notice(NoticeKind.JOBS))
