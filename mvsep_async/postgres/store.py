"""The SQL of the shared journal: read and write jobs, take slots, lease requests. Each function is one transaction."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from math import inf
from typing import Any, Final

from attrs import define, field, frozen

from mvsep_async.jobs.journal import JobDuration
from mvsep_async.jobs.lifecycle import AT_SERVICE, HOLDS_SLOT, OVER, JobState
from mvsep_async.journal.changes import PendingChanges, Row
from mvsep_async.journal.rows import FACT_COLUMNS, REQUEST_COLUMNS
from mvsep_async.postgres.connection import Connection
from mvsep_async.postgres.decisions import (
    SKIPPED,
    TURN_PATIENCE,
    Candidate,
    ProcessRow,
    choose,
    full_groups,
    granted,
    may_take,
    ready,
)
from mvsep_async.postgres.notices import Notice, NoticeKind
from mvsep_async.postgres.rows import VIEW_COLUMNS, encoded
from mvsep_async.postgres.schema import HOLDING, WAITING

__all__ = ["Claimed", "Identity", "LeaseOverError", "Snapshot", "Store", "Written"]

_EPOCH: Final = "extract(epoch FROM clock_timestamp())::float8"
_INSERTED: Final = ("account", *REQUEST_COLUMNS, "turn_group", "owner", "machine")
_INSERT: Final = f"""
    INSERT INTO mvsep.jobs ({", ".join(_INSERTED)}) VALUES ({", ".join(["%s"] * len(_INSERTED))})
    ON CONFLICT DO NOTHING
"""  # noqa: S608
_AMEND: Final = f"""
    UPDATE mvsep.jobs SET {", ".join(f"{name} = %s" for name in REQUEST_COLUMNS)} WHERE id = %s AND owner = %s
"""  # noqa: S608
_CHANGE: Final = f"""
    UPDATE mvsep.jobs SET {", ".join(f"{name} = %s" for name in FACT_COLUMNS)}, cancelling = cancelling AND %s
    WHERE id = %s AND owner = %s RETURNING id, followed_until > clock_timestamp()
"""  # noqa: S608
_LATE: Final = """
    UPDATE mvsep.jobs SET hash = %s, remote = %s, host = %s, accepted_at = %s
    WHERE id = %s AND state IN ('creating', 'lost') AND hash IS NULL AND remote IS NULL RETURNING owner
"""
_TURN: Final = """
    INSERT INTO mvsep.turns VALUES (%s, %s, nextval('mvsep.turn_numbers')) ON CONFLICT DO NOTHING
"""
_VIEW: Final = f"SELECT {', '.join(f'j.{name}' for name in VIEW_COLUMNS)} FROM mvsep.jobs j"  # noqa: S608
_CANDIDATES: Final = f"""
    SELECT j.id, j.owner, t.turn_group, t.turn FROM mvsep.turns t CROSS JOIN LATERAL (
        SELECT x.id, x.owner FROM unnest(%(owners)s::text[]) o CROSS JOIN LATERAL (
            SELECT id, owner, priority, number FROM mvsep.jobs
            WHERE account = t.account AND turn_group = t.turn_group AND owner = o AND state IN ({WAITING})
            ORDER BY priority DESC, number LIMIT 1
        ) x ORDER BY x.priority DESC, x.number LIMIT 1
    ) j WHERE t.account = %(account)s AND t.turn_group <> ALL(%(full)s) ORDER BY t.turn LIMIT 1
"""  # noqa: S608
_PROCESSES: Final = f"""
    SELECT a.stalled_job, extract(epoch FROM clock_timestamp() - a.stalled_at)::float8, {_EPOCH},
           p.id, extract(epoch FROM p.lease_until)::float8,
           coalesce(extract(epoch FROM p.skipped_until)::float8, '-infinity')
    FROM mvsep.accounts a JOIN mvsep.processes p ON p.account = a.id WHERE a.id = %s FOR UPDATE OF a
"""  # noqa: S608
_GRANT: Final = """
    WITH job AS (
        UPDATE mvsep.jobs SET state = 'creating', attempts = attempts + 1, intent_at = %(stamp)s, claim = %(token)s
        WHERE id = %(job)s
    ), turn AS (
        UPDATE mvsep.turns SET turn = nextval('mvsep.turn_numbers')
        WHERE account = %(account)s AND turn_group = %(group)s
    ) SELECT pg_notify(%(channel)s, %(notice)s)
"""
_TURNS_UNTIL_TIDY: Final = 16
"""Slots granted until the turns of groups without jobs are removed."""

_KEPT_DURATIONS: Final = 64
_TAKEN_AT_ONCE: Final = 500
"""Most jobs taken over in one transaction, so that several processes share the work."""

_FREE: Final = """
    (owner IS NULL OR owner NOT IN (
        SELECT id FROM mvsep.processes WHERE account = %(account)s AND lease_until > clock_timestamp()))
"""


class LeaseOverError(Exception):
    """The process's lease is over by the database's clock: it has to be renewed first."""


@frozen
class Identity:
    """Who works with the journal: the account, this process, and its machine."""

    account: str
    process: str
    machine: str


@define
class Written:
    """The result of writing changes."""

    lost: list[str] = field(factory=list)
    """Jobs that belong to another process."""
    conflicts: dict[str, str] = field(factory=dict)
    """New jobs that were not added → the jobs that have their key or song."""


@frozen
class Claimed:
    """The result of a claim. `job`: the job that has a slot now; `turn_of`: the process whose turn it is instead."""

    job: str | None = None
    turn_of: str | None = None
    free: bool = False
    """Whether a slot is free."""
    elsewhere: Mapping[str, str | None] = field(factory=dict)
    """The jobs of other processes that hold a slot."""


@frozen
class Snapshot:
    """What a process has to know from time to time."""

    now: float
    """Unix time by the database's clock."""
    elsewhere: Mapping[str, str | None]
    processes: int
    """How many processes have a valid lease, this one included."""
    holding: int
    """How many slots this process holds."""
    own: frozenset[str] | None
    """This process's unfinished jobs, if asked for."""
    cancelling: tuple[str, ...]
    """Own jobs that another process asks to cancel."""
    followed: tuple[str, ...]
    """Own jobs whose progress another process wants."""
    found: Mapping[str, tuple[str | None, str | None, str | None]]
    """Own lost jobs whose answer another process has received: hash, remote, host."""
    per_minute: int | None


@frozen
class Store:
    """The transactions of one process, for `Database.run`."""

    me: Identity

    async def register(self, connection: Connection, *, name: str, lease: float) -> None:
        """Add the account, if it is not known, and this process with a new lease."""
        await connection.execute(
            "INSERT INTO mvsep.accounts (id) VALUES (%s) ON CONFLICT DO NOTHING", (self.me.account,)
        )
        await connection.execute(
            """
            INSERT INTO mvsep.processes (id, account, machine, name, lease_until)
            VALUES (%s, %s, %s, %s, clock_timestamp() + make_interval(secs => %s))
            ON CONFLICT (id) DO UPDATE SET lease_until = excluded.lease_until
            """,
            (self.me.process, self.me.account, self.me.machine, name, lease),
        )

    async def renew(self, connection: Connection, *, name: str, lease: float, all_jobs: bool) -> Snapshot:
        """Renew the lease and return what has changed meanwhile. `all_jobs`: including `Snapshot.own`."""
        me = self.me
        await self.register(connection, name=name, lease=lease)
        rows = await self._rows(
            connection,
            f"""
            SELECT id, state IN ({HOLDING}), hash, remote, host, state IN ('creating', 'lost'), cancelling,
                   coalesce(followed_until > clock_timestamp(), false)
            FROM mvsep.jobs WHERE account = %s AND owner = %s AND state NOT IN ('finished', 'failed', 'cancelled')
              AND (state IN ({HOLDING}) OR cancelling OR followed_until > clock_timestamp())
            """,  # noqa: S608
            (me.account, me.process),
        )
        now, processes, per_minute = (
            await self._rows(
                connection,
                f"""
                SELECT {_EPOCH}, (SELECT count(*) FROM mvsep.processes
                                  WHERE account = a.id AND lease_until > clock_timestamp()), per_minute
                FROM mvsep.accounts a WHERE id = %s
                """,  # noqa: S608
                (me.account,),
            )
        )[0]
        return Snapshot(
            now=now,
            elsewhere=await self.elsewhere(connection),
            processes=processes,
            holding=sum(holds for _, holds, *_ in rows),
            own=await self._own(connection) if all_jobs else None,
            cancelling=tuple(id for id, *_, cancelling, _ in rows if cancelling),
            followed=tuple(id for id, *_, followed in rows if followed),
            found={
                id: (hash, remote, host) for id, _, hash, remote, host, lost, *_ in rows if lost and (hash or remote)
            },
            per_minute=per_minute,
        )

    async def _own(self, connection: Connection) -> frozenset[str]:
        rows = await self._rows(
            connection,
            "SELECT id FROM mvsep.jobs WHERE owner = %s AND state NOT IN ('finished', 'failed', 'cancelled')",
            (self.me.process,),
        )
        return frozenset(id for (id,) in rows)

    async def elsewhere(self, connection: Connection) -> dict[str, str | None]:
        """Return the jobs of other processes that hold a slot."""
        rows = await self._rows(
            connection,
            f"""
            SELECT id, coalesce(hash, remote) FROM mvsep.jobs
            WHERE account = %s AND state IN ({HOLDING}) AND owner IS DISTINCT FROM %s
            """,  # noqa: S608
            (self.me.account, self.me.process),
        )
        return dict(rows)

    async def leave(self, connection: Connection) -> None:
        """End the lease, so that other processes may take over the jobs at once."""
        await connection.execute("DELETE FROM mvsep.processes WHERE id = %s", (self.me.process,))
        await self._notify(connection, Notice(NoticeKind.JOBS))

    async def take_over(self, connection: Connection) -> list[tuple[Any, ...]]:
        """Make the jobs of processes that have ended this process's, and return their rows."""
        me = self.me
        rows = await self._rows(
            connection,
            f"""
            SELECT id, state, source_kind NOT IN ('url', 'none'), target IS NOT NULL, machine FROM mvsep.jobs
            WHERE account = %(account)s AND state NOT IN ('finished', 'failed', 'cancelled') AND {_FREE}
              AND NOT (state = 'done' AND target IS NULL)
              AND (machine IS NULL OR machine = %(machine)s OR source_kind IN ('url', 'none')
                   OR state NOT IN ({WAITING}, 'done', 'downloading'))
            ORDER BY number LIMIT {_TAKEN_AT_ONCE} FOR UPDATE SKIP LOCKED
            """,  # noqa: S608
            {"account": me.account, "machine": me.machine},
        )
        ids = [
            id
            for id, state, file, target, machine in rows
            if may_take(JobState(state), needs_file=file, has_target=target, machine=machine, mine=me.machine)
        ]
        if not ids:
            return []
        await connection.execute("UPDATE mvsep.jobs SET owner = %s WHERE id = ANY(%s)", (me.process, ids))
        await self._forget_processes(connection)
        return await self._rows(connection, f"{_VIEW} WHERE j.id = ANY(%s) ORDER BY j.number", (ids,))

    async def _forget_processes(self, connection: Connection) -> None:
        await connection.execute(
            """
            DELETE FROM mvsep.processes p WHERE account = %s AND lease_until < clock_timestamp() - interval '1 hour'
            """,
            (self.me.account,),
        )

    async def hand_back(self, connection: Connection, jobs: Sequence[str]) -> None:
        """Leave jobs to a process that can read their files."""
        await connection.execute(
            "UPDATE mvsep.jobs SET owner = NULL WHERE id = ANY(%s) AND owner = %s", (list(jobs), self.me.process)
        )
        await self._notify(connection, Notice(NoticeKind.JOBS))

    async def write(
        self, connection: Connection, changes: PendingChanges, machines: Mapping[str, tuple[str, str | None]]
    ) -> Written:
        """Write changes of this process's jobs. `machines`: of each new job, its turn group and its machine."""
        written = Written()
        notices: list[Notice] = []
        if changes.forgotten:
            await self._forget(connection, list(changes.forgotten))
        if changes.added:
            await self._add(connection, changes.added, machines, written)
        for job, row in changes.amended.items():
            await connection.execute(_AMEND, (*encoded(row), job, self.me.process))
        freed = False
        for job, row in changes.changed.items():
            if job in written.conflicts:
                continue
            state = JobState(str(row[0]))
            cursor = await connection.execute(_CHANGE, (*encoded(row), state not in OVER, job, self.me.process))
            changed = await cursor.fetchone()
            if changed is None:
                written.lost.append(job)
                if state in AT_SERVICE:
                    notices += await self._late(connection, job, row)
            elif changed[1]:
                notices.append(Notice(NoticeKind.CHANGED, job))
            freed = freed or state not in HOLDS_SLOT
        await self._learn(connection, changes.durations)
        if freed:
            notices.append(Notice(NoticeKind.SLOTS))
        for notice in notices:
            await self._notify(connection, notice)
        return written

    async def _forget(self, connection: Connection, jobs: list[str]) -> None:
        await connection.execute(
            f"""
            DELETE FROM mvsep.jobs WHERE id = ANY(%(jobs)s) AND account = %(account)s
              AND (owner = %(me)s OR state IN ('done', 'finished', 'failed', 'cancelled') OR {_FREE})
            """,  # noqa: S608
            {"jobs": jobs, "me": self.me.process, "account": self.me.account},
        )

    async def _add(
        self,
        connection: Connection,
        added: Mapping[str, Row],
        machines: Mapping[str, tuple[str, str | None]],
        written: Written,
    ) -> None:
        # Against the removal of a group's turn by a claim, which locks the account for itself.
        await connection.execute("SELECT 1 FROM mvsep.accounts WHERE id = %s FOR SHARE", (self.me.account,))
        me = self.me
        async with connection.cursor() as cursor:
            rows = [
                (me.account, *encoded(row), machines[job][0], me.process, machines[job][1])
                for job, row in added.items()
            ]
            await cursor.executemany(_INSERT.encode(), rows)
            groups = {machines[job][0] for job in added}
            await cursor.executemany(_TURN, [(me.account, group) for group in sorted(groups)])
        there = {
            id for (id,) in await self._rows(connection, "SELECT id FROM mvsep.jobs WHERE id = ANY(%s)", (list(added),))
        }
        key, content = REQUEST_COLUMNS.index("owner_key"), REQUEST_COLUMNS.index("content")
        for job in added.keys() - there:
            row = encoded(added[job])
            same = await self._rows(
                connection,
                """
                SELECT id FROM mvsep.jobs WHERE account = %s
                  AND ((md5(owner_key) = md5(%s) AND owner_key = %s) OR content = %s) LIMIT 1
                """,
                (me.account, row[key], row[key], row[content]),
            )
            if same:
                written.conflicts[job] = same[0][0]

    async def _late(self, connection: Connection, job: str, row: Row) -> list[Notice]:
        """Tell the process that has taken over a job what the service has answered to its create."""
        facts = dict(zip(FACT_COLUMNS, encoded(row), strict=True))
        values = [facts[name] for name in ("hash", "remote", "host", "accepted_at")]
        rows = await self._rows(connection, _LATE, (*values, job))
        return [Notice(NoticeKind.OWNER, owner) for (owner,) in rows if owner is not None]

    async def _learn(self, connection: Connection, durations: Sequence[Row]) -> None:
        for row in durations:
            await connection.execute(
                """
                INSERT INTO mvsep.durations (account, algorithm, size, waiting, processing) VALUES (%s, %s, %s, %s, %s)
                """,
                (self.me.account, *row),
            )
        for algorithm in {row[0] for row in durations}:
            await connection.execute(
                """
                DELETE FROM mvsep.durations WHERE account = %(account)s AND algorithm IS NOT DISTINCT FROM %(algorithm)s
                  AND number NOT IN (SELECT number FROM mvsep.durations WHERE account = %(account)s
                    AND algorithm IS NOT DISTINCT FROM %(algorithm)s ORDER BY number DESC LIMIT %(kept)s)
                """,
                {"account": self.me.account, "algorithm": algorithm, "kept": _KEPT_DURATIONS},
            )

    async def durations(self, connection: Connection) -> list[JobDuration]:
        """Return the durations of recent jobs, the oldest first."""
        rows = await self._rows(
            connection,
            "SELECT algorithm, size, waiting, processing FROM mvsep.durations WHERE account = %s ORDER BY number",
            (self.me.account,),
        )
        return [JobDuration(algorithm=a, size=s, waiting=w, processing=p) for a, s, w, p in rows]

    async def claim(
        self, connection: Connection, token: str, *, limit: int, group_cap: int | None, stamp: float
    ) -> Claimed:
        """Give a slot to the job whose turn it is, if it is one of this process and fewer than `limit` are held.

        The same `token` gives the same job again, in case that the outcome of the first transaction is not known.
        """
        me = self.me
        rows = await self._rows(connection, _PROCESSES, (me.account,))
        if not rows:
            raise LeaseOverError
        (stalled_job, stalled_for, now), processes = rows[0][:3], [ProcessRow(*row[3:]) for row in rows]
        if me.process not in {process.id for process in processes if process.lease_until > now}:
            raise LeaseOverError
        rows = await self._rows(
            connection,
            f"""
            SELECT id, turn_group, owner, claim, coalesce(hash, remote) FROM mvsep.jobs
            WHERE account = %s AND state IN ({HOLDING})
            """,  # noqa: S608
            (me.account,),
        )
        elsewhere = {id: hash for id, _, owner, _, hash in rows if owner != me.process}
        for id, _, owner, claim, _ in rows:
            if claim == token and owner == me.process:
                return Claimed(id, free=True, elsewhere=elsewhere)
        if len(rows) >= limit:
            return Claimed(elsewhere=elsewhere)
        held: dict[str, int] = {}
        for _, group, *_ in rows:
            held[group] = held.get(group, 0) + 1
        full = full_groups(held, group_cap)
        owners = ready(processes, now, me.process)
        chosen = await self._choose(connection, owners, full)
        if chosen is not None and chosen.owner != me.process:
            if stalled_job == chosen.job and stalled_for is not None and stalled_for >= TURN_PATIENCE:
                await connection.execute(
                    """
                    UPDATE mvsep.processes SET skipped_until = clock_timestamp() + make_interval(secs => %s)
                    WHERE id = %s
                    """,
                    (SKIPPED, chosen.owner),
                )
                chosen = await self._choose(connection, owners - {chosen.owner}, full)
            elif stalled_job != chosen.job:
                await connection.execute(
                    "UPDATE mvsep.accounts SET stalled_job = %s, stalled_at = clock_timestamp() WHERE id = %s",
                    (chosen.job, me.account),
                )
                await self._notify(connection, Notice(NoticeKind.TURN, chosen.owner))
        if chosen is None or chosen.owner != me.process:
            return Claimed(turn_of=None if chosen is None else chosen.owner, free=True, elsewhere=elsewhere)
        await connection.execute(
            _GRANT,
            {
                "stamp": stamp,
                "token": token,
                "job": chosen.job,
                "account": me.account,
                "group": chosen.group,
                "channel": Notice.channel(me.account),
                "notice": Notice(NoticeKind.SLOTS).text(),
            },
        )
        if any(process.id == me.process and process.skipped_until > -inf for process in processes):
            await connection.execute("UPDATE mvsep.processes SET skipped_until = NULL WHERE id = %s", (me.process,))
        if chosen.turn % _TURNS_UNTIL_TIDY == 0:
            await self._drop_empty_turns(connection, chosen.turn)
        return Claimed(chosen.job, free=len(rows) + 1 < limit, elsewhere=elsewhere)

    async def _choose(self, connection: Connection, owners: Collection[str], full: Collection[str]) -> Candidate | None:
        rows = await self._rows(
            connection,
            _CANDIDATES,
            {"owners": sorted(owners), "account": self.me.account, "full": sorted(full)},
        )
        return choose([Candidate(job, owner, group, turn) for job, owner, group, turn in rows], full)

    async def _drop_empty_turns(self, connection: Connection, before: int) -> None:
        """Remove the turns of groups that have no queued job, which would be looked at again by every claim."""
        await connection.execute(
            f"""
            DELETE FROM mvsep.turns t WHERE account = %s AND turn < %s AND NOT EXISTS (
                SELECT 1 FROM mvsep.jobs j
                WHERE j.account = t.account AND j.turn_group = t.turn_group AND j.state IN ({WAITING}))
            """,  # noqa: S608
            (self.me.account, before),
        )

    async def unclaim(self, connection: Connection, job: str) -> None:
        """Return a slot whose create was not begun."""
        await connection.execute(
            """
            UPDATE mvsep.jobs SET state = 'queued', attempts = attempts - 1, claim = NULL
            WHERE id = %s AND owner = %s AND state = 'creating'
            """,
            (job, self.me.process),
        )
        await self._notify(connection, Notice(NoticeKind.SLOTS))

    async def find(self, connection: Connection, column: str, value: str) -> tuple[Any, ...] | None:
        """Return the row of the newest job with this value in a column, and tell its process to report progress."""
        (given,) = encoded((value,))
        where = {
            "id": "j.id = %(value)s",
            "hash": "(j.hash = %(value)s OR j.remote = %(value)s)",
            "key": "md5(j.owner_key) = md5(%(value)s) AND j.owner_key = %(value)s",
            "fingerprint": "j.fingerprint = %(value)s",
            "content": "j.content = %(value)s",
        }[column]
        rows = await self._rows(
            connection,
            f"{_VIEW} WHERE j.account = %(account)s AND {where} ORDER BY j.number DESC LIMIT 1",
            {"account": self.me.account, "value": given},
        )
        return rows[0] if rows else None

    async def views(self, connection: Connection, jobs: Sequence[str]) -> list[tuple[Any, ...]]:
        """Return the rows of jobs."""
        return await self._rows(connection, f"{_VIEW} WHERE j.id = ANY(%s)", (list(jobs),))

    async def follow(self, connection: Connection, jobs: Sequence[str], seconds: float) -> None:
        """Ask the processes that have these jobs for their progress, for so many seconds."""
        rows = await self._rows(
            connection,
            """
            UPDATE mvsep.jobs SET followed_until = clock_timestamp() + make_interval(secs => %s) WHERE id = ANY(%s)
            RETURNING owner
            """,
            (seconds, list(jobs)),
        )
        for owner in {owner for (owner,) in rows if owner is not None}:
            await self._notify(connection, Notice(NoticeKind.OWNER, owner))

    async def report(self, connection: Connection, progress: Mapping[str, str]) -> None:
        """Write the progress of own jobs that other processes follow."""
        for job, text in progress.items():
            await connection.execute(
                "UPDATE mvsep.jobs SET progress = %s WHERE id = %s AND owner = %s", (text, job, self.me.process)
            )
            await self._notify(connection, Notice(NoticeKind.CHANGED, job))

    async def acquire(self, connection: Connection, job: str) -> bool:
        """Make a finished job this process's. One whose process is still going to download it is left to that one."""
        cursor = await connection.execute(
            f"""
            UPDATE mvsep.jobs SET owner = %(me)s WHERE id = %(job)s AND separation IS NOT NULL
              AND (state IN ('finished', 'failed', 'cancelled') OR (state = 'done' AND target IS NULL) OR {_FREE})
            """,  # noqa: S608
            {"me": self.me.process, "job": job, "account": self.me.account},
        )
        return cursor.rowcount == 1

    async def request_cancel(self, connection: Connection, job: str) -> None:
        """Ask the process that has a job to cancel it."""
        rows = await self._rows(
            connection, "UPDATE mvsep.jobs SET cancelling = true WHERE id = %s RETURNING owner", (job,)
        )
        for (owner,) in rows:
            if owner is not None:
                await self._notify(connection, Notice(NoticeKind.OWNER, owner))

    async def cancel_refused(self, connection: Connection, job: str) -> None:
        """Record that a job could not be cancelled."""
        await connection.execute("UPDATE mvsep.jobs SET cancelling = false WHERE id = %s", (job,))
        await self._notify(connection, Notice(NoticeKind.CHANGED, job))

    async def lease_requests(
        self,
        connection: Connection,
        block: str,
        *,
        asked: int,
        urgent: bool,
        limit: int,
        valid: float,
        unused: Mapping[str, int],
    ) -> tuple[int, float]:
        """Lease requests of the current minute; return how many, and the seconds until there may be more.

        `valid`: seconds for which they may be used. `unused`: earlier blocks, and how many of each were not used.
        """
        me = self.me
        (known,) = (
            await self._rows(
                connection, "SELECT per_minute FROM mvsep.accounts WHERE id = %s FOR UPDATE", (me.account,)
            )
        )[0]
        for earlier, count in unused.items():
            await connection.execute("UPDATE mvsep.requests SET count = count - %s WHERE block = %s", (count, earlier))
        await connection.execute(
            "DELETE FROM mvsep.requests WHERE account = %s AND (counts_until <= clock_timestamp() OR count <= 0)",
            (me.account,),
        )
        rows = await self._rows(
            connection,
            """
            SELECT count, block, extract(epoch FROM counts_until - clock_timestamp())::float8
            FROM mvsep.requests WHERE account = %s ORDER BY counts_until
            """,
            (me.account,),
        )
        for count, given, _ in rows:
            if given == block:  # the outcome of the first transaction was not known
                return count, 0.0
        used = sum(count for count, *_ in rows)
        given = granted(asked, used=used, limit=min(limit, known or limit), urgent=urgent)
        if given:
            await connection.execute(
                """
                INSERT INTO mvsep.requests VALUES (%s, %s, %s, clock_timestamp() + make_interval(secs => %s))
                """,
                (block, me.account, given, valid + 60.5),
            )
        return given, min((seconds for _, _, seconds in rows), default=1.0)

    async def learned(self, connection: Connection, per_minute: int) -> None:
        """Record the account's limit of requests, as the service's headers give it."""
        await connection.execute(
            "UPDATE mvsep.accounts SET per_minute = %s WHERE id = %s", (per_minute, self.me.account)
        )

    async def _notify(self, connection: Connection, notice: Notice) -> None:
        await connection.execute("SELECT pg_notify(%s, %s)", (Notice.channel(self.me.account), notice.text()))

    async def _rows(
        self, connection: Connection, query: str, arguments: Sequence[Any] | Mapping[str, Any]
    ) -> list[tuple[Any, ...]]:
        return await (await connection.execute(query.encode(), arguments)).fetchall()
