"""The tables in memory, with which the simulation runs, do what the statements do in PostgreSQL."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
from attrs import define, evolve, field
from psycopg import sql

from benchmarks.simulation.shared.tables import Tables, store_of
from mvsep_async.jobs.facts import NOTHING, Facts
from mvsep_async.jobs.lifecycle import JobState
from mvsep_async.jobs.request import JobRequest, JobSettings, Target
from mvsep_async.journal.changes import PendingChanges
from mvsep_async.journal.rows import facts_row, request_row
from mvsep_async.postgres.connection import Connection, Database
from mvsep_async.postgres.notices import Notice
from mvsep_async.postgres.processes import Snapshot
from mvsep_async.postgres.rows import turn_group
from mvsep_async.postgres.schema import migrate
from mvsep_async.postgres.slots import LeaseOverError
from mvsep_async.postgres.statements import Identity
from mvsep_async.postgres.store import Store
from mvsep_async.postgres_url import PostgresURL

ACCOUNT = "a" * 64
PROCESSES = [
    Identity(ACCOUNT, "process 0", "here"),
    Identity(ACCOUNT, "process 1", "here"),
    Identity(ACCOUNT, "process 2", "there"),
]
BEGAN = 1_780_000_000.0
STEPS = 120

Operation = Callable[[Store, Connection], Awaitable[Any]]


@pytest.fixture
def clocked(database: str) -> str:
    """Return the URL of a database in which `clock_timestamp()` is what the table `fake.clock` says."""
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA fake")
        connection.execute("CREATE TABLE fake.clock (at timestamptz)")
        connection.execute("INSERT INTO fake.clock VALUES (to_timestamp(%s))", (BEGAN,))
        connection.execute(
            "CREATE FUNCTION fake.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS 'SELECT at FROM fake.clock'"
        )
    separator = "&" if "?" in database else "?"
    return f"{database}{separator}options={quote('-c search_path=fake,pg_catalog')}"


@define
class Both:
    """The two implementations, in step."""

    url: str
    rng: Random
    now: float = BEGAN
    jobs: list[str] = field(factory=list)
    notified: int = 0
    _database: Database = field(init=False)
    _tables: Tables = field(init=False)
    _listener: psycopg.Connection[tuple[Any, ...]] = field(init=False)

    async def open(self) -> None:
        self._database = Database(PostgresURL(self.url))
        self._tables = Tables(lambda: self.now)
        await self._database.run(lambda connection: migrate(connection, PostgresURL(self.url)))
        self._listener = psycopg.connect(self.url, autocommit=True)
        self._listener.execute(sql.SQL("LISTEN {}").format(sql.Identifier(Notice.channel(ACCOUNT))))

    async def close(self) -> None:
        self._listener.close()
        await self._database.close()

    async def run(self, me: Identity, name: str, operation: Operation) -> Any:
        """Run an operation in both, compare the results and the notices, and return the result."""
        real = await self._outcome(
            lambda: self._database.run(lambda connection: operation(Store(me), connection))  # type: ignore[arg-type]
        )
        store, tables = store_of(self._tables, me), self._tables

        async def in_memory() -> Any:
            with tables.transaction():
                return await operation(store, None)  # type: ignore[arg-type]

        memory = await self._outcome(in_memory)
        assert _comparable(memory) == _comparable(real), name
        assert set(map(Notice.text, tables.notices)) == self._notices(), name
        tables.notices = []
        return real

    async def _outcome(self, run: Callable[[], Awaitable[Any]]) -> Any:
        try:
            return await run()
        except LeaseOverError:
            return LeaseOverError

    def _notices(self) -> set[str]:
        """Return the notices since the last call: those before one that is sent now."""
        self.notified += 1
        end, found = f"ping {self.notified}", set[str]()
        self._listener.execute("SELECT pg_notify(%s, %s)", (Notice.channel(ACCOUNT), end))
        for notice in self._listener.notifies():
            if notice.payload == end:
                break
            found.add(notice.payload)
        return found

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self._listener.execute("UPDATE fake.clock SET at = to_timestamp(%s)", (self.now,))


def _comparable(value: Any) -> Any:
    match value:
        case Snapshot():
            return evolve(
                value,
                now=round(value.now, 3),
                cancelling=tuple(sorted(value.cancelling)),
                reported=tuple(sorted(value.reported)),
            )
        case int(), float():
            return value[0], round(value[1], 3)
        case list():
            return sorted(value, key=repr)
        case _:
            return value


def _request(rng: Random, number: int) -> JobRequest:
    source = rng.choice((f"/songs/{rng.randrange(6)}.wav", "https://example.org/a.mp3", None))
    key = rng.choice((None, None, f"key {rng.randrange(8)}", "\\x00"))
    return JobRequest(
        f"mv{rng.getrandbits(60):015x}",
        source,
        JobSettings(algorithm=40),
        group=rng.choice((None, "a", "b\0", "ü")),
        priority=rng.choice((0, 0, 3)),
        key=key,
        metadata=number,
        target=rng.choice((None, Target.at("/stems", None, "{song}/{stem}", False))),
        fingerprint=rng.choice((None, f"print {rng.randrange(8)}")),
        content=None if key is not None else rng.choice((None, None, f"content {rng.randrange(8)}")),
    )


def _facts(rng: Random, state: JobState) -> Facts:
    if state is JobState.QUEUED and rng.random() < 0.5:
        return NOTHING
    hash = f"hash {rng.randrange(9)}" if state not in (JobState.QUEUED, JobState.CREATING) else None
    return Facts(hash=hash, attempts=rng.randrange(3), intent_at=BEGAN + rng.random())


def _write(rng: Random, known: list[str], me: Identity) -> tuple[PendingChanges, dict[str, tuple[str, str | None]]]:
    changes, machines = PendingChanges(), dict[str, tuple[str, str | None]]()
    for number in range(rng.choice((0, 0, 1, 3))):
        request = _request(rng, number)
        changes.added[request.id] = request_row(request, spool=Path())
        machines[request.id] = turn_group(request.group), rng.choice((None, me.machine))
    for job in rng.sample(known, min(len(known), rng.randrange(4))):
        state = rng.choice(list(JobState))
        changes.changed[job] = facts_row(state, _facts(rng, state))
    if known and rng.random() < 0.1:
        changes.forget([rng.choice(known)])
    if rng.random() < 0.2:
        changes.durations.append((rng.choice((None, 40)), rng.choice((None, 5000)), 1.5, 20.0))
    return changes, machines


def _operation(rng: Random, both: Both, me: Identity) -> tuple[str, Operation]:
    """Draw an operation of one process."""
    known = both.jobs
    job = rng.choice(known) if known else "none"
    match rng.randrange(17):
        case 0 | 1 | 2 | 3:
            changes, machines = _write(rng, known, me)
            known += changes.added
            return "write", lambda store, connection: store.jobs.write(connection, changes, machines)
        case 4 | 5 | 6:
            token, limit, cap = f"token {rng.randrange(6)}", rng.choice((1, 3, 10)), rng.choice((None, 1, 2))
            return "claim", lambda store, connection: store.slots.claim(
                connection, token, limit=limit, group_cap=cap, stamp=BEGAN
            )
        case 7 | 8:
            lease, all_jobs = rng.choice((10.0, 100.0)), rng.random() < 0.5
            return "renew", lambda store, connection: store.processes.renew(
                connection, name="p", lease=lease, all_jobs=all_jobs
            )
        case 9:
            return "take over", lambda store, connection: store.processes.take_over(connection, also=[job])
        case 10:
            return "hand back", lambda store, connection: store.processes.hand_back(connection, [job])
        case 11:
            column = rng.choice(("id", "hash", "key", "fingerprint", "content"))
            value = {"id": job, "hash": "hash 3", "key": "key 3", "fingerprint": "print 3", "content": "content 3"}
            return "find", lambda store, connection: store.jobs.find(connection, column, value[column])
        case 12:
            return "follow", lambda store, connection: store.jobs.request_reports(connection, [job], 60.0)
        case 13:
            return "report", lambda store, connection: store.jobs.report(connection, {job: '{"stage": "waiting"}'})
        case 14:
            resumed = rng.choice((None, job))
            cancels = [
                lambda store, connection: store.jobs.request_cancel(connection, job),
                lambda store, connection: store.jobs.cancel_refused(connection, job),
                lambda store, connection: store.jobs.acquire(connection, job),
                lambda store, connection: store.jobs.release(connection, {job: "{}"}),
                lambda store, connection: store.jobs.resume(connection, resumed),
            ]
            return "cancel, acquire, release or resume", rng.choice(cancels)
        case 15:
            block, sent = f"block {rng.randrange(20)}", {f"block {rng.randrange(20)}": rng.randrange(2)}
            urgent, stated = rng.random() < 0.5, rng.random() < 0.5
            return "lease requests", lambda store, connection: store.requests.lease_requests(
                connection, block, asked=3, urgent=urgent, limit=8, stated=stated, valid=5.0, sent=sent
            )
        case _:
            if rng.random() < 0.5:
                return "leave", lambda store, connection: store.processes.leave(connection)
            return "learn", lambda store, connection: store.requests.learned(connection, 6)


@pytest.mark.parametrize("seed", range(6))
async def test_both_give_the_same_results_and_notices(clocked: str, seed: int) -> None:
    rng = Random(seed)
    both = Both(clocked, rng)
    await both.open()
    try:
        for me in PROCESSES:
            await both.run(me, "renew", lambda store, connection: _renew(store, connection))
        for step in range(STEPS):
            if rng.random() < 0.3:
                both.pass_time(rng.choice((0.1, 1.0, 3.0, 20.0, 120.0)))
            me = rng.choice(PROCESSES)
            name, operation = _operation(rng, both, me)
            await both.run(me, f"step {step}: {name} of {me.process}", operation)
        for me in PROCESSES:
            await both.run(me, "views", lambda store, connection: store.jobs.views(connection, both.jobs))
            await both.run(me, "own", lambda store, connection: _own(store, connection))
            await both.run(me, "elsewhere", lambda store, connection: store.slots.elsewhere(connection))
            await both.run(me, "durations", lambda store, connection: store.jobs.durations(connection))
    finally:
        await both.close()


async def _renew(store: Store, connection: Connection) -> Snapshot:
    return await store.processes.renew(connection, name="p", lease=10.0, all_jobs=True)


async def _own(store: Store, connection: Connection) -> list[str]:
    return sorted(await store.processes.own(connection))
