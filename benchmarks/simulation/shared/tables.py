"""The tables of a shared journal in memory: the statements do what their SQL does, and all else is the product's."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import inf
from typing import Any, Final, TypeAlias

from attrs import define, field, frozen

from mvsep_async.jobs.journal import JobDuration
from mvsep_async.jobs.lifecycle import HOLDS_SLOT, OVER, JobState
from mvsep_async.journal.changes import Row, Value
from mvsep_async.journal.rows import FACT_COLUMNS, REQUEST_COLUMNS
from mvsep_async.postgres.connection import Connection
from mvsep_async.postgres.decisions import SKIPPED, Candidate, ProcessRow
from mvsep_async.postgres.jobs import RESUME_FIRST, RESUME_LAST, JobTable
from mvsep_async.postgres.notices import Notice, NoticeKind
from mvsep_async.postgres.processes import ProcessTable
from mvsep_async.postgres.requests import RequestTable
from mvsep_async.postgres.rows import VIEW_COLUMNS, encoded
from mvsep_async.postgres.slots import Account, SlotTable
from mvsep_async.postgres.statements import AccountLock, Identity, Statements
from mvsep_async.postgres.store import Store

__all__ = ["Tables", "store_of"]

JobRow: TypeAlias = dict[str, Any]

_WAITING: Final = frozenset({JobState.QUEUED, JobState.UPLOADING})
_KEPT_DURATIONS: Final = 64


@define(eq=False)
class Tables:
    """The rows of one account. `clock`: the Unix time of the database."""

    clock: Callable[[], float]
    account: dict[str, Any] | None = None
    jobs: dict[str, JobRow] = field(factory=dict)
    """In the order of their numbers."""
    processes: dict[str, dict[str, Any]] = field(factory=dict)
    turns: dict[str, int] = field(factory=dict)
    requests: dict[str, tuple[int, float]] = field(factory=dict)
    """Block → its count, and until when it counts."""
    durations: list[Row] = field(factory=list)
    notices: list[Notice] = field(factory=list)
    """The notices of the transaction that runs."""
    _number: int = 0
    _turn: int = 0

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Undo all changes if the block raises. The sequences of numbers go on, as in PostgreSQL."""
        saved = (
            None if self.account is None else dict(self.account),
            {id: dict(row) for id, row in self.jobs.items()},
            {id: dict(row) for id, row in self.processes.items()},
            dict(self.turns),
            dict(self.requests),
            list(self.durations),
        )
        self.notices = []
        try:
            yield
        except BaseException:
            self.account, self.jobs, self.processes, self.turns, self.requests, self.durations = saved
            self.notices = []
            raise

    def next_number(self) -> int:
        self._number += 1
        return self._number

    def next_turn(self) -> int:
        self._turn += 1
        return self._turn

    def alive(self) -> set[str]:
        """Return the processes with a valid lease."""
        now = self.clock()
        return {id for id, row in self.processes.items() if row["lease_until"] > now}

    def is_free(self, job: JobRow) -> bool:
        """Tell whether the process of a job has ended."""
        return job["owner"] is None or job["owner"] not in self.alive()

    def view(self, job: JobRow) -> tuple[Any, ...]:
        return (*(job[name] for name in VIEW_COLUMNS), job["failure"])


@frozen(slots=False)
class _Memory(Statements):
    tables: Tables = field(kw_only=True)

    async def notify(self, connection: Connection, notice: Notice) -> None:
        self.tables.notices.append(notice)

    async def lock_account(self, connection: Connection, lock: AccountLock) -> bool:
        return self.tables.account is not None  # transactions run one after the other

    async def rows(
        self, connection: Connection, query: str, arguments: Sequence[Any] | Mapping[str, Any]
    ) -> list[tuple[Any, ...]]:
        raise NotImplementedError(query)


@frozen(slots=False)
class MemorySlots(_Memory, SlotTable):
    async def _account(self, connection: Connection) -> Account | None:
        tables = self.tables
        if tables.account is None or not tables.processes:
            return None
        now, stalled_at = tables.clock(), tables.account["stalled_at"]
        return Account(
            tables.account["stalled_job"],
            None if stalled_at is None else now - stalled_at,
            now,
            tuple(
                ProcessRow(id, row["lease_until"], -inf if row["skipped_until"] is None else row["skipped_until"])
                for id, row in tables.processes.items()
            ),
        )

    async def _holders(self, connection: Connection) -> list[tuple[Any, ...]]:
        return [
            (job["id"], job["turn_group"], job["owner"], job["claim"], job["hash"] or job["remote"])
            for job in self.tables.jobs.values()
            if job["state"] in HOLDS_SLOT
        ]

    async def _choose(self, connection: Connection, owners: Collection[str], full: Collection[str]) -> Candidate | None:
        for group, turn in sorted(self.tables.turns.items(), key=lambda item: item[1]):
            waiting = [
                job
                for job in self.tables.jobs.values()
                if job["turn_group"] == group and job["owner"] in owners and job["state"] in _WAITING
            ]
            if waiting and group not in full:
                job = min(waiting, key=lambda job: (-job["priority"], job["number"]))
                return Candidate(job["id"], job["owner"], group, turn)
        return None

    async def _skip(self, connection: Connection, process: str) -> None:
        self.tables.processes[process]["skipped_until"] = self.tables.clock() + SKIPPED

    async def _unskip(self, connection: Connection) -> None:
        self.tables.processes[self.me.process]["skipped_until"] = None

    async def _wait_for(self, connection: Connection, job: str) -> None:
        assert self.tables.account is not None
        self.tables.account |= {"stalled_job": job, "stalled_at": self.tables.clock()}

    async def _grant(self, connection: Connection, chosen: Candidate, token: str, stamp: float) -> bool:
        job = self.tables.jobs[chosen.job]
        job |= {"state": "creating", "attempts": job["attempts"] + 1, "intent_at": stamp, "claim": token}
        self.tables.turns[chosen.group] = self.tables.next_turn()
        await self.notify(connection, Notice(NoticeKind.SLOTS))
        return True

    async def _drop_empty_turns(self, connection: Connection, before: int) -> None:
        used = {
            job["turn_group"]
            for job in self.tables.jobs.values()
            if job["state"] in _WAITING or job["state"] in HOLDS_SLOT
        }
        for group, turn in list(self.tables.turns.items()):
            if turn < before and group not in used:
                del self.tables.turns[group]

    async def elsewhere(self, connection: Connection) -> dict[str, str | None]:
        return {id: hash for id, _, owner, _, hash in await self._holders(connection) if owner != self.me.process}


@frozen(slots=False)
class MemoryJobs(_Memory, JobTable):
    async def _forget(self, connection: Connection, jobs: list[str]) -> None:
        for id in jobs:
            job = self.tables.jobs.get(id)
            if job is not None and (
                job["owner"] == self.me.process or job["state"] in {*OVER, "done"} or self.tables.is_free(job)
            ):
                del self.tables.jobs[id]

    async def _insert(
        self, connection: Connection, added: Mapping[str, Row], machines: Mapping[str, tuple[str, str | None]]
    ) -> list[str]:
        tables = self.tables
        for id, row in added.items():
            if id not in tables.jobs and await self._same(connection, row) is None:
                tables.jobs[id] = {
                    **dict.fromkeys(FACT_COLUMNS),
                    **dict(zip(REQUEST_COLUMNS, encoded(row), strict=True)),
                    "number": tables.next_number(),
                    "state": "queued",
                    "attempts": 0,
                    "turn_group": machines[id][0],
                    "owner": self.me.process,
                    "machine": machines[id][1],
                    "claim": None,
                    "cancelling": False,
                    "followed_until": None,
                    "progress": None,
                    "failure": None,
                    "failures": 0,
                    "resume_at": None,
                }
        for group in sorted({machines[job][0] for job in added}):
            if group not in tables.turns:
                tables.turns[group] = tables.next_turn()
        return [id for id in added if id in tables.jobs]

    async def _same(self, connection: Connection, row: Row) -> str | None:
        request = dict(zip(REQUEST_COLUMNS, encoded(row), strict=True))
        for name in ("owner_key", "content"):
            for id, job in self.tables.jobs.items():
                if request[name] is not None and job[name] == request[name]:
                    return id
        return None

    def _mine(self, id: str) -> JobRow | None:
        job = self.tables.jobs.get(id)
        return job if job is not None and job["owner"] == self.me.process else None

    async def _amend(self, connection: Connection, job: str, row: Row) -> None:
        if (mine := self._mine(job)) is not None:
            mine |= dict(zip(REQUEST_COLUMNS, encoded(row), strict=True))

    async def _change(self, connection: Connection, job: str, row: Row, *, over: bool) -> bool | None:
        if (mine := self._mine(job)) is None:
            return None
        mine |= dict(zip(FACT_COLUMNS, encoded(row), strict=True))
        mine["cancelling"] = mine["cancelling"] and not over
        return self._is_followed(mine)

    def _is_followed(self, job: JobRow) -> bool:
        return job["followed_until"] is not None and job["followed_until"] > self.tables.clock()

    async def _record_late_answer(self, connection: Connection, job: str, facts: Mapping[str, Value]) -> list[str]:
        row = self.tables.jobs.get(job)
        if row is None or row["state"] not in ("creating", "lost") or row["hash"] or row["remote"]:
            return []
        row |= {name: facts[name] for name in ("hash", "remote", "host", "accepted_at")}
        return [] if row["owner"] is None else [row["owner"]]

    async def _learn(self, connection: Connection, durations: Sequence[Row]) -> None:
        for row in durations:
            self.tables.durations.append(row)
            same = [known for known in self.tables.durations if known[0] == row[0]]
            if len(same) > _KEPT_DURATIONS:
                self.tables.durations.remove(same[0])

    async def durations(self, connection: Connection) -> list[JobDuration]:
        return [JobDuration(*row) for row in self.tables.durations]  # type: ignore[arg-type]

    async def find(self, connection: Connection, column: str, value: str) -> tuple[Any, ...] | None:
        (given,) = encoded((value,))
        names = {"key": ("owner_key",), "hash": ("hash", "remote")}.get(column, (column,))
        for job in reversed(self.tables.jobs.values()):
            if any(job[name] == given for name in names):
                return self.tables.view(job)
        return None

    async def views(self, connection: Connection, jobs: Sequence[str]) -> list[tuple[Any, ...]]:
        return [self.tables.view(job) for id, job in self.tables.jobs.items() if id in jobs]

    async def request_reports(self, connection: Connection, jobs: Sequence[str], seconds: float) -> None:
        asked = [job for id, job in self.tables.jobs.items() if id in jobs]
        for job in asked:
            job["followed_until"] = self.tables.clock() + seconds
        for owner in {job["owner"]: None for job in asked if job["owner"] is not None}:
            await self.notify(connection, Notice(NoticeKind.OWNER, owner))

    async def report(self, connection: Connection, progress: Mapping[str, str]) -> None:
        for id, text in progress.items():
            if (mine := self._mine(id)) is not None:
                mine["progress"] = text
            await self.notify(connection, Notice(NoticeKind.CHANGED, id))

    async def acquire(self, connection: Connection, job: str) -> bool:
        row = self.tables.jobs.get(job)
        if row is None or row["separation"] is None:
            return False
        over = row["state"] in OVER or (row["state"] == "done" and row["target"] is None)
        if not over and not self.tables.is_free(row):
            return False
        row |= {"owner": self.me.process, "failure": None, "resume_at": None}
        return True

    async def _cancel_unsent(self, connection: Connection, job: str, error: Value) -> bool:
        row = self.tables.jobs.get(job)
        if row is None or row["state"] not in _WAITING or not self.tables.is_free(row):
            return False
        row |= {"state": "cancelled", "error": error, "failure": None}
        return True

    async def _set_cancelling(self, connection: Connection, job: str) -> list[str | None]:
        row = self.tables.jobs.get(job)
        if row is None:
            return []
        row |= {"cancelling": True, "failure": None, "resume_at": None}
        return [row["owner"]]

    async def _release(self, connection: Connection, job: str, failure: Value) -> None:
        if (mine := self._mine(job)) is not None:
            rest = min(RESUME_LAST, RESUME_FIRST * 2 ** min(mine["failures"], 20))
            resume_at = self.tables.clock() + rest
            mine |= {"owner": None, "failure": failure, "failures": mine["failures"] + 1, "resume_at": resume_at}

    async def resume(self, connection: Connection, job: str | None = None) -> None:
        released = [row for row in self.tables.jobs.values() if row["owner"] is None and row["failure"] is not None]
        resumed = [row for row in released if job in (None, row["id"])]
        for row in resumed:
            row |= {"failure": None, "failures": 0, "resume_at": None}
        if resumed:
            await self.notify(connection, Notice(NoticeKind.JOBS))

    async def cancel_refused(self, connection: Connection, job: str) -> None:
        if (row := self.tables.jobs.get(job)) is not None:
            row["cancelling"] = False
        await self.notify(connection, Notice(NoticeKind.CHANGED, job))


@frozen(slots=False)
class MemoryProcesses(_Memory, ProcessTable):
    async def register(self, connection: Connection, *, name: str, lease: float) -> bool:
        tables, valid = self.tables, self.me.process in self.tables.alive()
        if tables.account is None:
            tables.account = {"per_minute": None, "stalled_job": None, "stalled_at": None}
        until = tables.clock() + lease
        if self.me.process in tables.processes:
            tables.processes[self.me.process]["lease_until"] = until
        else:
            tables.processes[self.me.process] = {"name": name, "lease_until": until, "skipped_until": None}
        return valid

    async def _active(self, connection: Connection) -> list[tuple[Any, ...]]:
        tables, rows = self.tables, []
        for id, job in tables.jobs.items():
            holds, state = job["state"] in HOLDS_SLOT, job["state"]
            followed = job["followed_until"] is not None and job["followed_until"] > tables.clock()
            if job["owner"] == self.me.process and state not in OVER and (holds or job["cancelling"] or followed):
                lost = state in ("creating", "lost")
                rows.append((id, holds, job["hash"], job["remote"], job["host"], lost, job["cancelling"], followed))
        return rows

    async def _account(self, connection: Connection) -> tuple[float, int]:
        assert self.tables.account is not None
        return self.tables.clock(), len(self.tables.alive())

    async def own(self, connection: Connection) -> list[str]:
        jobs = self.tables.jobs
        return [id for id, job in jobs.items() if job["owner"] == self.me.process and job["state"] not in OVER]

    async def leave(self, connection: Connection) -> None:
        self.tables.processes.pop(self.me.process, None)
        await self.notify(connection, Notice(NoticeKind.JOBS))

    async def _left_jobs(self, connection: Connection, *, lock: bool = False) -> list[tuple[Any, ...]]:
        rows = []
        for id, job in self.tables.jobs.items():
            state, file, target = job["state"], job["source_kind"] not in ("url", "none"), job["target"] is not None
            readable = job["machine"] in (None, self.me.machine)
            local = state in {*_WAITING, "done", "downloading"}
            if job["owner"] == self.me.process or not self.tables.is_free(job):
                continue
            if job["resume_at"] is not None and job["resume_at"] > self.tables.clock():
                continue
            if state in OVER or (state == "done" and not target):
                continue
            if readable or not file or not local:
                rows.append((id, state, file, target, job["machine"]))
        return rows

    async def _own(self, connection: Connection, jobs: Sequence[str]) -> None:
        for id in jobs:
            self.tables.jobs[id] |= {"owner": self.me.process, "failure": None, "resume_at": None}

    async def _forget_processes(self, connection: Connection) -> None:
        for id, row in list(self.tables.processes.items()):
            if row["lease_until"] < self.tables.clock() - 3600:
                del self.tables.processes[id]

    async def _views(self, connection: Connection, jobs: Sequence[str]) -> list[tuple[Any, ...]]:
        return [self.tables.view(job) for id, job in self.tables.jobs.items() if id in jobs]

    async def hand_back(self, connection: Connection, jobs: Sequence[str]) -> None:
        for id in jobs:
            job = self.tables.jobs.get(id)
            if job is not None and job["owner"] == self.me.process:
                job["owner"] = None
        await self.notify(connection, Notice(NoticeKind.JOBS))


@frozen(slots=False)
class MemoryRequests(_Memory, RequestTable):
    async def _per_minute(self, connection: Connection) -> int | None:
        assert self.tables.account is not None
        known: int | None = self.tables.account["per_minute"]
        return known

    async def _blocks(self, connection: Connection, sent: Mapping[str, int]) -> list[tuple[int, str, float]]:
        requests, now = self.tables.requests, self.tables.clock()
        for block, count in sent.items():
            if block in requests:
                requests[block] = count, requests[block][1]
        for block, (count, until) in list(requests.items()):
            if until <= now or count <= 0:
                del requests[block]
        return [
            (count, block, until - now)
            for block, (count, until) in sorted(requests.items(), key=lambda item: item[1][1])
        ]

    async def _add(self, connection: Connection, block: str, count: int, counts_for: float) -> None:
        self.tables.requests[block] = count, self.tables.clock() + counts_for

    async def learned(self, connection: Connection, per_minute: int) -> None:
        assert self.tables.account is not None
        self.tables.account["per_minute"] = per_minute


def store_of(tables: Tables, me: Identity) -> Store:
    """Return the tables in the name of one process."""
    slots = MemorySlots(me, tables=tables)
    return Store(
        me,
        jobs=MemoryJobs(me, tables=tables),
        slots=slots,
        processes=MemoryProcesses(me, slots, tables=tables),
        requests=MemoryRequests(me, tables=tables),
    )
