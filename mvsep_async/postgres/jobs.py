"""The table of jobs: write those of this process, find those of others and request their progress."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from attrs import define, field, frozen

from mvsep_async.errors import JobCancelledError
from mvsep_async.jobs.entry import LookupKey
from mvsep_async.jobs.journal import JobDuration
from mvsep_async.jobs.lifecycle import AT_SERVICE, HOLDS_SLOT, OVER, JobState
from mvsep_async.journal.changes import PendingChanges, Row, Value
from mvsep_async.journal.rows import FACT_COLUMNS, REQUEST_COLUMNS
from mvsep_async.postgres.connection import Connection
from mvsep_async.postgres.notices import Notice, NoticeKind
from mvsep_async.postgres.rows import encoded, error_text
from mvsep_async.postgres.schema import WITHOUT_SLOT
from mvsep_async.postgres.statements import FREE, VIEW, AccountLock, Statements

__all__ = ["RESUME_FIRST", "RESUME_LAST", "JobTable", "Written"]

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

_LATE_ANSWER: Final = """
    UPDATE mvsep.jobs SET hash = %s, remote = %s, host = %s, accepted_at = %s
    WHERE id = %s AND state IN ('creating', 'lost') AND hash IS NULL AND remote IS NULL RETURNING owner
"""

_TURN: Final = """
    INSERT INTO mvsep.turns VALUES (%s, %s, nextval('mvsep.turn_numbers')) ON CONFLICT DO NOTHING
"""

RESUME_FIRST: Final = 30.0
RESUME_LAST: Final = 3600.0
"""Seconds until a job that was released after a temporary error is taken over again; they double each time. The error
often concerns all processes, or lasts, such as a missing file."""

_KEPT_DURATIONS: Final = 64


@define
class Written:
    """The result of writing changes."""

    elsewhere: list[str] = field(factory=list)
    """Jobs that belong to another process."""
    conflicts: dict[str, str] = field(factory=dict)
    """New jobs that were not added → the jobs that have their key or song."""


@frozen
class JobTable(Statements):
    """The table of jobs, and that of the durations of finished ones."""

    async def write(
        self, connection: Connection, changes: PendingChanges, machines: Mapping[str, tuple[str, str | None]]
    ) -> Written:
        """Write changes of this process's jobs. `machines`: the turn group and the machine of each new job."""
        written = Written()
        notices: list[Notice] = []
        # First, as it locks the account, which others lock before they change jobs: so none deadlock.
        await self._learn(connection, changes.durations)
        if changes.forgotten:
            await self._forget(connection, list(changes.forgotten))
        if changes.added:
            await self._add(connection, changes.added, machines, written)
        for job, row in sorted(changes.amended.items()):
            await self._amend(connection, job, row)
        freed = False
        for job, row in sorted(changes.changed.items()):  # in one order in all processes, so that none deadlock
            if job in written.conflicts:
                continue
            state = JobState(str(row[0]))
            followed = await self._change(connection, job, row, over=state in OVER)
            if followed is None:
                written.elsewhere.append(job)
                if state in AT_SERVICE:
                    owners = await self._record_late_answer(connection, job, dict(zip(FACT_COLUMNS, row, strict=True)))
                    notices += [Notice(NoticeKind.OWNER, owner) for owner in owners]
            elif followed:
                notices.append(Notice(NoticeKind.CHANGED, job))
            freed = freed or state not in HOLDS_SLOT
        if freed:
            notices.append(Notice(NoticeKind.SLOTS))
        for notice in notices:
            await self.notify(connection, notice)
        return written

    async def _forget(self, connection: Connection, jobs: list[str]) -> None:
        await connection.execute(
            f"""
            DELETE FROM mvsep.jobs WHERE id = ANY(%(jobs)s) AND account = %(account)s
              AND (owner = %(me)s OR state IN ('done', 'finished', 'failed', 'cancelled') OR {FREE})
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
        await self.lock_account(connection, AccountLock.ADD)
        missing = dict(added)
        while missing:  # once, unless the job with the same key or song is pruned after the insert
            for job in await self._insert(connection, missing, machines):
                del missing[job]
            for job, row in list(missing.items()):
                same = await self._same(connection, row)
                if same is not None:
                    written.conflicts[job] = same
                    del missing[job]

    async def _insert(
        self, connection: Connection, added: Mapping[str, Row], machines: Mapping[str, tuple[str, str | None]]
    ) -> list[str]:
        """Insert jobs, except those whose key or song another job has; return those that are there."""
        me = self.me
        rows = [
            (me.account, *encoded(row), machines[job][0], me.process, machines[job][1]) for job, row in added.items()
        ]
        async with connection.cursor() as cursor:
            await cursor.executemany(_INSERT.encode(), rows)
            groups = {machines[job][0] for job in added}
            await cursor.executemany(_TURN, [(me.account, group) for group in sorted(groups)])
        there = await self.rows(connection, "SELECT id FROM mvsep.jobs WHERE id = ANY(%s)", (list(added),))
        return [job for (job,) in there]

    async def _same(self, connection: Connection, row: Row) -> str | None:
        """Return the job that has the key or the song of a request."""
        request = dict(zip(REQUEST_COLUMNS, encoded(row), strict=True))
        rows = await self.rows(
            connection,
            """
            SELECT id FROM mvsep.jobs WHERE account = %(account)s
              AND ((md5(owner_key) = md5(%(key)s) AND owner_key = %(key)s) OR content = %(content)s) LIMIT 1
            """,
            {"account": self.me.account, "key": request["owner_key"], "content": request["content"]},
        )
        return rows[0][0] if rows else None

    async def _amend(self, connection: Connection, job: str, row: Row) -> None:
        await connection.execute(_AMEND, (*encoded(row), job, self.me.process))

    async def _change(self, connection: Connection, job: str, row: Row, *, over: bool) -> bool | None:
        """Write the facts of a job of this process; return whether another process follows it, `None` for no job."""
        cursor = await connection.execute(_CHANGE, (*encoded(row), not over, job, self.me.process))
        changed = await cursor.fetchone()
        return None if changed is None else bool(changed[1])

    async def _record_late_answer(self, connection: Connection, job: str, facts: Mapping[str, Value]) -> list[str]:
        """Record the answer to a create for the process that has taken over the job, and return that process."""
        values = encoded(tuple(facts[name] for name in ("hash", "remote", "host", "accepted_at")))
        rows = await self.rows(connection, _LATE_ANSWER, (*values, job))
        return [owner for (owner,) in rows if owner is not None]

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
        rows = await self.rows(
            connection,
            "SELECT algorithm, size, waiting, processing FROM mvsep.durations WHERE account = %s ORDER BY number",
            (self.me.account,),
        )
        return [JobDuration(*row) for row in rows]

    async def find(self, connection: Connection, by: LookupKey, value: str) -> tuple[Any, ...] | None:
        """Return the row of the newest job with this name."""
        (given,) = encoded((value,))
        where = {
            "id": "j.id = %(value)s",
            "hash": "(j.hash = %(value)s OR j.remote = %(value)s)",
            "key": "md5(j.owner_key) = md5(%(value)s) AND j.owner_key = %(value)s",
            "fingerprint": "j.fingerprint = %(value)s",
            "content": "j.content = %(value)s",
        }[by]
        rows = await self.rows(
            connection,
            f"{VIEW} WHERE j.account = %(account)s AND {where} ORDER BY j.number DESC LIMIT 1",
            {"account": self.me.account, "value": given},
        )
        return rows[0] if rows else None

    async def views(self, connection: Connection, jobs: Sequence[str]) -> list[tuple[Any, ...]]:
        """Return the rows of jobs."""
        return await self.rows(connection, f"{VIEW} WHERE j.id = ANY(%s)", (list(jobs),))

    async def request_reports(self, connection: Connection, jobs: Sequence[str], seconds: float) -> None:
        """Ask the processes that have these jobs to report their progress for `seconds`."""
        rows = await self.rows(
            connection,
            """
            UPDATE mvsep.jobs SET followed_until = clock_timestamp() + make_interval(secs => %s) WHERE id = ANY(%s)
            RETURNING owner
            """,
            (seconds, list(jobs)),
        )
        for owner in {owner for (owner,) in rows if owner is not None}:
            await self.notify(connection, Notice(NoticeKind.OWNER, owner))

    async def report(self, connection: Connection, progress: Mapping[str, str]) -> None:
        """Write the progress of own jobs that other processes follow."""
        for job, text in progress.items():
            await connection.execute(
                "UPDATE mvsep.jobs SET progress = %s WHERE id = %s AND owner = %s", (text, job, self.me.process)
            )
            await self.notify(connection, Notice(NoticeKind.CHANGED, job))

    async def release(self, connection: Connection, failures: Mapping[str, Value]) -> None:
        """Release jobs of this process after temporary errors, so that a process takes them over after a while."""
        for job, failure in sorted(failures.items()):
            await self._release(connection, job, failure)
            await self.notify(connection, Notice(NoticeKind.CHANGED, job))
        await self.notify(connection, Notice(NoticeKind.SLOTS))

    async def _release(self, connection: Connection, job: str, failure: Value) -> None:
        await connection.execute(
            """
            UPDATE mvsep.jobs SET owner = NULL, failure = %s, failures = failures + 1,
              resume_at = clock_timestamp() + make_interval(secs => least(%s, %s * 2 ^ least(failures, 20)))
            WHERE id = %s AND owner = %s
            """,
            (failure, RESUME_LAST, RESUME_FIRST, job, self.me.process),
        )

    async def resume(self, connection: Connection, job: str | None = None) -> None:
        """Let a process take over a released job at once; without `job`, all of the account."""
        cursor = await connection.execute(
            """
            UPDATE mvsep.jobs SET failure = NULL, failures = 0, resume_at = NULL
            WHERE account = %(account)s AND (%(job)s::text IS NULL OR id = %(job)s)
              AND owner IS NULL AND failure IS NOT NULL
            """,
            {"account": self.me.account, "job": job},
        )
        if cursor.rowcount:
            await self.notify(connection, Notice(NoticeKind.JOBS))

    async def acquire(self, connection: Connection, job: str) -> bool:
        """Move a finished job to this process, unless its own process is still going to download it."""
        cursor = await connection.execute(
            f"""
            UPDATE mvsep.jobs SET owner = %(me)s, failure = NULL, resume_at = NULL
            WHERE id = %(job)s AND separation IS NOT NULL
              AND (state IN ('finished', 'failed', 'cancelled') OR (state = 'done' AND target IS NULL) OR {FREE})
            """,  # noqa: S608
            {"me": self.me.process, "job": job, "account": self.me.account},
        )
        return cursor.rowcount == 1

    async def request_cancel(self, connection: Connection, job: str) -> None:
        """Cancel a job that was not sent and whose process has ended; else ask the process that has it, or takes it
        over, to cancel it."""
        await self.lock_account(connection, AccountLock.MOVE)
        error = JobCancelledError(f"job {job} was cancelled before it was sent", job=job)
        if await self._cancel_unsent(connection, job, error_text(error)):
            await self.notify(connection, Notice(NoticeKind.CHANGED, job))
            return
        owners = await self._set_cancelling(connection, job)
        for owner in owners:
            notice = Notice(NoticeKind.JOBS) if owner is None else Notice(NoticeKind.OWNER, owner)
            await self.notify(connection, notice)

    async def _cancel_unsent(self, connection: Connection, job: str, error: Value) -> bool:
        """Cancel a queued job of a process that has ended."""
        cursor = await connection.execute(
            f"""
            UPDATE mvsep.jobs SET state = 'cancelled', error = %(error)s, failure = NULL
            WHERE id = %(job)s AND state IN ({WITHOUT_SLOT}) AND {FREE}
            """,  # noqa: S608
            {"job": job, "error": error, "account": self.me.account},
        )
        return cursor.rowcount == 1

    async def _set_cancelling(self, connection: Connection, job: str) -> list[str | None]:
        """Record that a job is to be cancelled, and return its process."""
        rows = await self.rows(
            connection,
            "UPDATE mvsep.jobs SET cancelling = true, failure = NULL, resume_at = NULL WHERE id = %s RETURNING owner",
            (job,),
        )
        return [owner for (owner,) in rows]

    async def cancel_refused(self, connection: Connection, job: str) -> None:
        """Record that a job could not be cancelled."""
        await connection.execute("UPDATE mvsep.jobs SET cancelling = false WHERE id = %s", (job,))
        await self.notify(connection, Notice(NoticeKind.CHANGED, job))
