"""Two transactions at the same moment: each test runs one in the middle of the other."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any
from uuid import uuid4

import anyio
import psycopg
import pytest
from attrs import define, field

from mvsep_async.jobs.facts import NOTHING
from mvsep_async.jobs.lifecycle import JobState
from mvsep_async.jobs.request import JobRequest, JobSettings
from mvsep_async.journal.changes import PendingChanges
from mvsep_async.journal.rows import facts_row, request_row
from mvsep_async.postgres import connection as connection_module
from mvsep_async.postgres.connection import Connection, Database, DatabaseUnavailableError
from mvsep_async.postgres.jobs import Written
from mvsep_async.postgres.processes import Snapshot
from mvsep_async.postgres.rows import turn_group
from mvsep_async.postgres.schema import migrate
from mvsep_async.postgres.slots import _TURNS_UNTIL_TIDY, Claimed
from mvsep_async.postgres.statements import Identity
from mvsep_async.postgres.store import Store
from mvsep_async.postgres_url import PostgresURL
from tests.postgres.proxy import proxy

WAIT = 30.0


@define(eq=False)
class Interrupted:
    """A connection that calls `meanwhile` once, before the first statement that contains `text`."""

    connection: Connection
    text: str
    meanwhile: Callable[[], Awaitable[object]]
    called: bool = False

    async def execute(self, query: Any, arguments: Any = None) -> Any:
        if not self.called and self.text in (query.decode() if isinstance(query, bytes) else str(query)):
            self.called = True
            await self.meanwhile()
        return await self.connection.execute(query, arguments)

    def cursor(self) -> Any:
        return self.connection.cursor()


@define(eq=False)
class Process:
    """The tables as one process of an account uses them."""

    database: Database
    name: str = field(factory=lambda: uuid4().hex)
    machine: str = "here"

    @property
    def store(self) -> Store:
        return Store(Identity("account", self.name, self.machine))

    async def renew(self, *, seconds: float = 60.0, all_jobs: bool = False) -> Snapshot:
        return await self.run(
            lambda connection: self.store.processes.renew(connection, name=self.name, lease=seconds, all_jobs=all_jobs)
        )

    async def add(self, *requests: JobRequest) -> Written:
        return await self.run(partial(self.written, requests))

    async def written(self, requests: Sequence[JobRequest], connection: Any) -> Written:
        changes = PendingChanges(added={request.id: request_row(request, spool=None) for request in requests})  # type: ignore[arg-type]
        machines = {request.id: (turn_group(request.group), self.machine) for request in requests}
        return await self.store.jobs.write(connection, changes, machines)

    async def set_state(self, job: str, state: JobState) -> Written:
        changes = PendingChanges(changed={job: facts_row(state, NOTHING)})
        return await self.run(lambda connection: self.store.jobs.write(connection, changes, {}))

    async def claim(self, connection: Any) -> Claimed:
        return await self.store.slots.claim(connection, uuid4().hex, limit=10, group_cap=None, stamp=1.0)

    async def take_over(self) -> list[str]:
        rows = await self.run(lambda connection: self.store.processes.take_over(connection))
        return [row[0] for row in rows]

    async def run(self, work: Callable[[Any], Awaitable[Any]]) -> Any:
        return await self.database.run(work)

    async def interrupted(
        self, work: Callable[[Any], Awaitable[Any]], text: str, meanwhile: Callable[[], Awaitable[object]]
    ) -> Any:
        """Run a transaction, and `meanwhile` in the middle of it."""
        made: list[Interrupted] = []

        async def inside(connection: Connection) -> Any:
            made.append(Interrupted(connection, text, meanwhile))
            return await work(made[-1])

        result = await self.run(inside)
        assert made[-1].called
        return result


@asynccontextmanager
async def process(database: str) -> AsyncIterator[Process]:
    tables = Database(PostgresURL(database))
    await tables.run(lambda connection: migrate(connection, PostgresURL(database)))
    made = Process(tables)
    await made.renew()
    yield made
    await tables.close()


@pytest.fixture
async def one(database: str) -> AsyncIterator[Process]:
    async with process(database) as made:
        yield made


@pytest.fixture
async def other(database: str) -> AsyncIterator[Process]:
    async with process(database) as made:
        yield made


def request(**given: Any) -> JobRequest:
    return JobRequest(uuid4().hex, "https://example.org/song.mp3", JobSettings(), **given)


def rows(database: str, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(database, autocommit=True) as connection:
        return connection.execute(query.encode()).fetchall()


def execute(database: str, statement: str) -> Callable[[], Awaitable[None]]:
    async def meanwhile() -> None:
        with psycopg.connect(database, autocommit=True) as connection:
            connection.execute(statement.encode())

    return meanwhile


async def test_a_key_whose_job_is_pruned_meanwhile_is_added(database: str, one: Process, other: Process) -> None:
    first, second = request(key="k"), request(key="k")
    await other.add(first)
    written = await one.interrupted(
        partial(one.written, [second]), "md5(owner_key)", execute(database, "DELETE FROM mvsep.jobs")
    )
    assert not written.conflicts
    assert rows(database, "SELECT id, owner FROM mvsep.jobs") == [(second.id, one.name)]


@pytest.mark.parametrize("change", ["owner = 'another process'", "owner = NULL", "state = 'cancelled'"])
async def test_a_job_that_is_moved_while_it_is_claimed_gets_no_slot(change: str, database: str, one: Process) -> None:
    await one.add(request())
    claimed = await one.interrupted(one.claim, "claim =", execute(database, f"UPDATE mvsep.jobs SET {change}"))
    assert claimed.job is None
    assert rows(database, "SELECT 1 FROM mvsep.jobs WHERE state = 'creating'") == []


async def test_a_lease_that_ended_before_its_renewal_arrived_is_not_continued(
    database: str, one: Process, other: Process
) -> None:
    """The renewal was sent in time, and was delayed on the way: what was taken over meanwhile is another process's."""
    job = request()
    await one.add(job)
    await execute(database, f"UPDATE mvsep.processes SET lease_until = now() WHERE id = '{one.name}'")()
    assert await other.take_over() == [job.id]
    assert (await one.renew()).own == frozenset()


async def test_a_job_is_not_taken_over_from_a_process_that_renews_its_lease_meanwhile(
    database: str, one: Process, other: Process
) -> None:
    job = request()
    await one.add(job)
    await execute(database, f"UPDATE mvsep.processes SET lease_until = now() WHERE id = '{one.name}'")()
    taken: list[str] = []
    began = anyio.Event()

    async def take_over() -> None:
        began.set()
        taken.extend(await other.take_over())

    async with anyio.create_task_group() as tasks:

        async def meanwhile() -> None:
            tasks.start_soon(take_over)
            await began.wait()
            # It takes the job, or waits for this renewal.
            while not taken and not rows(database, "SELECT 1 FROM pg_locks WHERE NOT granted"):
                await anyio.sleep(0.01)

        renewed = await one.interrupted(
            lambda connection: one.store.processes.renew(connection, name="", lease=60, all_jobs=True),
            "INSERT INTO mvsep.processes",
            meanwhile,
        )
    assert renewed.own == {job.id}
    assert not taken


def lease_requests(process: Process) -> Callable[[Any], Awaitable[tuple[int, float]]]:
    return lambda connection: process.store.requests.lease_requests(
        connection, uuid4().hex, asked=1, urgent=True, limit=10, stated=True, valid=5.0, sent={}
    )


@pytest.mark.parametrize(
    ("work", "moment"),
    [
        (lambda process: process.claim, "claim ="),
        (lambda process: process.claim, "SELECT pg_notify"),  # after it has written that a slot waits for the other
        (lease_requests, "INSERT INTO mvsep.requests"),
    ],
)
async def test_a_lease_is_renewed_while_another_process_is_suspended_in_a_transaction(
    one: Process, other: Process, work: Callable[[Process], Callable[[Any], Awaitable[Any]]], moment: str
) -> None:
    await (other if "notify" in moment else one).add(request())
    renewed: list[Snapshot] = []

    async def renew() -> None:
        renewed.append(await other.renew())

    await one.interrupted(work(one), moment, renew)
    assert len(renewed) == 1


async def test_requests_of_a_process_that_died_are_given_back_by_time(
    database: str, one: Process, other: Process
) -> None:
    for _ in range(10):
        assert (await one.run(lease_requests(one)))[0] == 1
    assert (await other.run(lease_requests(other)))[0] == 0
    await execute(database, "UPDATE mvsep.requests SET counts_until = now()")()
    assert (await other.run(lease_requests(other)))[0] == 1


async def test_a_limit_that_one_process_has_learned_counts_for_all(one: Process, other: Process) -> None:
    await one.run(lambda connection: one.store.requests.learned(connection, 3))

    def assumed(connection: Any) -> Awaitable[tuple[int, float]]:
        return other.store.requests.lease_requests(
            connection, uuid4().hex, asked=60, urgent=True, limit=60, stated=False, valid=5.0, sent={}
        )

    assert (await other.run(assumed))[0] == 3


async def test_transactions_that_deadlock_are_run_again(database: str, one: Process, other: Process) -> None:
    jobs = [request(), request()]
    await one.add(*jobs)
    attempts: list[str] = []
    both_locked = anyio.Event()

    async def in_order(first: JobRequest, second: JobRequest, connection: Any) -> None:
        query = "UPDATE mvsep.jobs SET priority = priority + 1 WHERE id = %s"
        await connection.execute(query, (first.id,))
        attempts.append(first.id)
        if len(attempts) == 2:
            both_locked.set()
        await both_locked.wait()
        await connection.execute(query, (second.id,))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(one.run, partial(in_order, jobs[0], jobs[1]))
        tasks.start_soon(other.run, partial(in_order, jobs[1], jobs[0]))
    assert len(attempts) >= 3
    assert rows(database, "SELECT priority FROM mvsep.jobs") == [(2,), (2,)]


async def test_processes_that_open_a_journal_at_the_same_moment_create_its_tables_once(database: str) -> None:
    url = PostgresURL(database)
    salts: list[str] = []

    async def open_tables() -> None:
        tables = Database(url)
        salts.append(await tables.run(lambda connection: migrate(connection, url)))
        await tables.close()

    async with anyio.create_task_group() as tasks:
        for _ in range(6):
            tasks.start_soon(open_tables)
    assert len(set(salts)) == 1
    assert len(salts) == 6


async def test_requests_of_a_block_are_returned_once_even_if_the_transaction_runs_twice(
    database: str, one: Process
) -> None:
    def lease(block: str, asked: int, **sent: int) -> Callable[[Any], Awaitable[tuple[int, float]]]:
        return lambda connection: one.store.requests.lease_requests(
            connection, block, asked=asked, urgent=True, limit=10, stated=True, valid=5.0, sent=sent
        )

    assert (await one.run(lease("first", 10)))[0] == 10
    for _ in range(3):
        assert (await one.run(lease("second", 4, first=8)))[0] == 2
    assert rows(database, "SELECT sum(count) FROM mvsep.requests") == [(10,)]


async def test_a_rollback_on_a_dead_connection_ends(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "_STATEMENT", 0.5)
    monkeypatch.setattr(connection_module, "_PAUSE", 0.0)
    async with proxy(database) as between:
        tables = Database(PostgresURL(between.url))

        async def conflict(connection: Any) -> None:
            between.silent = True
            raise psycopg.errors.SerializationFailure

        with pytest.raises(DatabaseUnavailableError):
            await tables.run(conflict)
        between.silent = False
        assert await tables.run(one_row) == (1,)
        await tables.close()


async def one_row(connection: Any) -> Any:
    return await (await connection.execute("SELECT 1")).fetchone()


@pytest.mark.parametrize("state", [JobState.CREATING, JobState.LOST, JobState.WAITING])
async def test_a_job_that_is_queued_again_still_has_a_turn(one: Process, state: JobState) -> None:
    job, others = request(group="alone"), [request(group="many") for _ in range(2 * _TURNS_UNTIL_TIDY)]
    await one.add(job)
    assert (await one.run(one.claim)).job == job.id
    await one.set_state(job.id, state)
    await one.add(*others)
    for _ in others:  # among them, turns of groups without queued jobs are removed
        claimed = (await one.run(one.claim)).job
        assert claimed is not None
        await one.set_state(claimed, JobState.FINISHED)
    await one.set_state(job.id, JobState.QUEUED)  # the service refused it, or never had it
    assert (await one.run(one.claim)).job == job.id
