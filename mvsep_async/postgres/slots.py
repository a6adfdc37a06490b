"""Take a slot of the account for the job whose turn it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from math import inf
from typing import Any, Final

from attrs import field, frozen

from mvsep_async.postgres.connection import Connection
from mvsep_async.postgres.decisions import (
    SKIPPED,
    TURN_PATIENCE,
    Candidate,
    ProcessRow,
    alive,
    choose,
    full_groups,
    ready,
)
from mvsep_async.postgres.notices import Notice, NoticeKind
from mvsep_async.postgres.schema import HOLDING, WITHOUT_SLOT
from mvsep_async.postgres.statements import EPOCH, AccountLock, Statements

__all__ = ["Account", "Claimed", "LeaseOverError", "SlotTable"]

_CANDIDATES: Final = f"""
    SELECT j.id, j.owner, t.turn_group, t.turn FROM mvsep.turns t CROSS JOIN LATERAL (
        SELECT x.id, x.owner FROM unnest(%(owners)s::text[]) o CROSS JOIN LATERAL (
            SELECT id, owner, priority, number FROM mvsep.jobs
            WHERE account = t.account AND turn_group = t.turn_group AND owner = o AND state IN ({WITHOUT_SLOT})
            ORDER BY priority DESC, number LIMIT 1
        ) x ORDER BY x.priority DESC, x.number LIMIT 1
    ) j WHERE t.account = %(account)s AND t.turn_group <> ALL(%(full)s) ORDER BY t.turn LIMIT 1
"""  # noqa: S608

_PROCESSES: Final = f"""
    SELECT a.stalled_job, extract(epoch FROM clock_timestamp() - a.stalled_at)::float8, {EPOCH},
           p.id, extract(epoch FROM p.lease_until)::float8,
           coalesce(extract(epoch FROM p.skipped_until)::float8, '-infinity')
    FROM mvsep.accounts a JOIN mvsep.processes p ON p.account = a.id WHERE a.id = %s
"""  # noqa: S608

_GRANT: Final = f"""
    WITH job AS (
        UPDATE mvsep.jobs SET state = 'creating', attempts = attempts + 1, intent_at = %(stamp)s, claim = %(token)s
        WHERE id = %(job)s AND owner = %(me)s AND state IN ({WITHOUT_SLOT}) RETURNING id
    ), turn AS (
        UPDATE mvsep.turns SET turn = nextval('mvsep.turn_numbers')
        WHERE account = %(account)s AND turn_group = %(group)s
    ) SELECT pg_notify(%(channel)s, %(notice)s) FROM job
"""  # noqa: S608

_TURNS_UNTIL_TIDY: Final = 16
"""Number of granted slots after which the turns of groups without jobs are removed."""


class LeaseOverError(Exception):
    """The process's lease has expired by the database's clock: it must be renewed first."""


@frozen
class Account:
    """An account while a slot is claimed: its processes, and the job for which a slot waits."""

    stalled_job: str | None
    stalled_for: float | None
    """Seconds for which the slot has waited."""
    now: float
    processes: tuple[ProcessRow, ...]

    def has_stalled(self, job: str) -> bool:
        """Tell whether a slot has waited long enough for this job."""
        return self.stalled_job == job and self.stalled_for is not None and self.stalled_for >= TURN_PATIENCE


@frozen
class Claimed:
    """The result of a claim. `job`: the job that has a slot now; `turn_of`: the process whose turn it is instead."""

    job: str | None = None
    turn_of: str | None = None
    elsewhere: Mapping[str, str | None] = field(factory=dict)
    """The jobs of other processes that hold a slot."""


@frozen
class SlotTable(Statements):
    """The jobs as holders of slots, and the turns of their groups."""

    async def claim(
        self, connection: Connection, token: str, *, limit: int, group_cap: int | None, stamp: float
    ) -> Claimed:
        """Give a slot to the job whose turn it is, if it is one of this process and fewer than `limit` are held.

        The same `token` gives the same job again, in case the outcome of the first transaction is unknown.
        """
        me = self.me
        account = await self._account(connection)
        if account is None or me.process not in alive(account.processes, account.now):
            raise LeaseOverError
        rows = await self._holders(connection)
        elsewhere = {id: hash for id, _, owner, _, hash in rows if owner != me.process}
        for id, _, owner, claim, _ in rows:
            if claim == token and owner == me.process:
                return Claimed(id, elsewhere=elsewhere)
        if len(rows) >= limit:
            return Claimed(elsewhere=elsewhere)
        full = full_groups(Counter(group for _, group, *_ in rows), group_cap)
        owners = ready(account.processes, account.now, me.process)
        chosen = await self._choose(connection, owners, full)
        if chosen is not None and chosen.owner != me.process:
            if account.has_stalled(chosen.job):
                await self._skip(connection, chosen.owner)
                chosen = await self._choose(connection, owners - {chosen.owner}, full)
            elif account.stalled_job != chosen.job:
                await self._wait_for(connection, chosen.job)
                await self.notify(connection, Notice(NoticeKind.TURN, chosen.owner))
        if chosen is None or chosen.owner != me.process:
            return Claimed(turn_of=None if chosen is None else chosen.owner, elsewhere=elsewhere)
        if not await self._grant(connection, chosen, token, stamp):
            return Claimed(elsewhere=elsewhere)
        if any(process.id == me.process and process.skipped_until > -inf for process in account.processes):
            await self._unskip(connection)
        if chosen.turn % _TURNS_UNTIL_TIDY == 0:
            await self._drop_empty_turns(connection, chosen.turn)
        return Claimed(chosen.job, elsewhere=elsewhere)

    async def _account(self, connection: Connection) -> Account | None:
        """Lock the account and return it with its processes; `None` if it has no process."""
        await self.lock_account(connection, AccountLock.COUNT)
        rows = await self.rows(connection, _PROCESSES, (self.me.account,))  # with the time after the wait for the lock
        if not rows:
            return None
        stalled_job, stalled_for, now = rows[0][:3]
        return Account(stalled_job, stalled_for, now, tuple(ProcessRow(*row[3:]) for row in rows))

    async def _holders(self, connection: Connection) -> list[tuple[Any, ...]]:
        """Return the jobs that hold a slot: id, turn group, owner, claim and hash."""
        return await self.rows(
            connection,
            f"""
            SELECT id, turn_group, owner, claim, coalesce(hash, remote) FROM mvsep.jobs
            WHERE account = %s AND state IN ({HOLDING})
            """,  # noqa: S608
            (self.me.account,),
        )

    async def _skip(self, connection: Connection, process: str) -> None:
        """Give a process no turn for a while."""
        await connection.execute(
            "UPDATE mvsep.processes SET skipped_until = clock_timestamp() + make_interval(secs => %s) WHERE id = %s",
            (SKIPPED, process),
        )

    async def _unskip(self, connection: Connection) -> None:
        await connection.execute("UPDATE mvsep.processes SET skipped_until = NULL WHERE id = %s", (self.me.process,))

    async def _wait_for(self, connection: Connection, job: str) -> None:
        """Record that a slot waits for a job of another process."""
        await connection.execute(
            "UPDATE mvsep.accounts SET stalled_job = %s, stalled_at = clock_timestamp() WHERE id = %s",
            (job, self.me.account),
        )

    async def _grant(self, connection: Connection, chosen: Candidate, token: str, stamp: float) -> bool:
        """Give a slot to a job; `False` if it was moved or cancelled since it was chosen."""
        granted = await self.rows(
            connection,
            _GRANT,
            {
                "me": self.me.process,
                "stamp": stamp,
                "token": token,
                "job": chosen.job,
                "account": self.me.account,
                "group": chosen.group,
                "channel": Notice.channel(self.me.account),
                "notice": Notice(NoticeKind.SLOTS).text(),
            },
        )
        return bool(granted)

    async def _choose(self, connection: Connection, owners: Collection[str], full: Collection[str]) -> Candidate | None:
        rows = await self.rows(
            connection,
            _CANDIDATES,
            {"owners": sorted(owners), "account": self.me.account, "full": sorted(full)},
        )
        return choose([Candidate(job, owner, group, turn) for job, owner, group, turn in rows], full)

    async def _drop_empty_turns(self, connection: Connection, before: int) -> None:
        """Remove the turns of groups that have no queued job, which every claim would check again.

        A group whose job holds a slot keeps its turn, since the job may be queued again.
        """
        await connection.execute(
            f"""
            DELETE FROM mvsep.turns t WHERE account = %s AND turn < %s AND NOT EXISTS (
                SELECT 1 FROM mvsep.jobs j
                WHERE j.account = t.account AND j.turn_group = t.turn_group AND j.state IN ({WITHOUT_SLOT}))
              AND NOT EXISTS (
                SELECT 1 FROM mvsep.jobs j
                WHERE j.account = t.account AND j.turn_group = t.turn_group AND j.state IN ({HOLDING}))
            """,  # noqa: S608
            (self.me.account, before),
        )

    async def elsewhere(self, connection: Connection) -> dict[str, str | None]:
        """Return the jobs of other processes that hold a slot."""
        rows = await self.rows(
            connection,
            f"""
            SELECT id, coalesce(hash, remote) FROM mvsep.jobs
            WHERE account = %s AND state IN ({HOLDING}) AND owner IS DISTINCT FROM %s
            """,  # noqa: S608
            (self.me.account, self.me.process),
        )
        return dict(rows)
