"""Faults at awkward moments: lost answers, an unreachable database, pruned jobs, refused cancels, foreign files."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import psycopg
import pytest

from mvsep_async import Job, Stage
from mvsep_async.endpoints.separations import SeparationsAPI
from mvsep_async.errors import ClientClosedError, JobNotFoundError, JournalError, MVSepError
from mvsep_async.postgres import backend
from mvsep_async.postgres import connection as connection_module
from mvsep_async.postgres import coordinator as coordination
from mvsep_async.postgres.connection import Database, DatabaseUnavailableError
from mvsep_async.postgres.jobs import JobTable
from mvsep_async.postgres.processes import ProcessTable
from mvsep_async.postgres.slots import SlotTable
from mvsep_async.postgres_url import PostgresURL
from mvsep_async.sandbox import Fault, FaultKind, Sandbox
from tests.conftest import NewClient
from tests.postgres.proxy import proxy
from tests.postgres.support import eventually, songs, until

TIMEOUT = 60.0


def lose_answers(monkeypatch: pytest.MonkeyPatch, table: type, name: str, times: int = 1) -> None:
    """Let transactions of this method be committed, and fail as if the database were away."""
    real = getattr(table, name)
    run = Database.run
    pending = [times]

    async def lossy(database: Database, work: Callable[[Any], Awaitable[Any]]) -> Any:
        called = []

        async def noted(connection: Any) -> Any:
            async def method(*args: Any, **kwargs: Any) -> Any:
                result = await real(*args, **kwargs)
                called.append(result)
                return result

            with monkeypatch.context() as patch:
                patch.setattr(table, name, method)
                return await work(connection)

        result = await run(database, noted)
        if called and called[0] and getattr(called[0], "job", True) and pending[0]:
            pending[0] -= 1
            raise DatabaseUnavailableError("the answer to a COMMIT was lost")
        return result

    monkeypatch.setattr(Database, "run", lossy)


async def test_a_slot_granted_by_a_lost_answer_is_used(
    database: str, client_of: NewClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        Sandbox(stems="copy", job_seconds=0.1) as sandbox,
        client_of(sandbox, journal=database, concurrency=1, lease=2.0) as client,
    ):
        lose_answers(monkeypatch, SlotTable, "claim")
        jobs = [await client.submit(song, algorithm=40) for song in songs(tmp_path, 2)]
        for job in jobs:
            with anyio.fail_after(TIMEOUT):
                assert (await job).files


async def test_jobs_taken_over_by_a_lost_answer_continue(
    held: Sandbox, database: str, client_of: NewClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with client_of(held, journal=database, lease=2.0) as one:
        jobs = [await one.submit(song, algorithm=40, key=song.name) for song in songs(tmp_path, 2)]
        await until(jobs[0], Stage.WAITING)
        await until(jobs[1], Stage.WAITING)
    lose_answers(monkeypatch, ProcessTable, "take_over")
    async with client_of(held, journal=database, lease=2.0) as other:
        for job in held.jobs:
            held.finish(job.hash)
        for number in range(2):
            found = await other.find(key=f"song {number}.wav")
            assert found is not None
            with anyio.fail_after(TIMEOUT):
                assert (await found).files


async def test_a_process_suspended_before_it_takes_over_jobs_does_not_take_over_its_own(
    held: Sandbox, database: str, client_of: NewClient, song: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its lease, renewed a moment ago, is over. A second entry of a job would leave those who wait for the first."""
    take_over, taken = ProcessTable.take_over, list[Any]()
    suspended = False

    async def after_suspension(self: ProcessTable, connection: Any, *args: Any, **kwargs: Any) -> Any:
        if suspended:
            await connection.execute("UPDATE mvsep.processes SET lease_until = clock_timestamp() - interval '1 s'")
        rows = await take_over(self, connection, *args, **kwargs)
        taken.append(rows)
        return rows

    monkeypatch.setattr(ProcessTable, "take_over", after_suspension)
    async with client_of(held, journal=database, lease=2.0) as client:
        job = await client.submit(song, algorithm=40)
        await until(job, Stage.WAITING)
        suspended, before = True, len(taken)
        await eventually(lambda: len(taken) > before)
        suspended = False
        assert not any(taken)
        assert client.jobs() == [job]
        held.finish(held.jobs[0].hash)
        with anyio.fail_after(TIMEOUT):
            assert (await job).files


async def test_a_job_cancelled_while_it_gets_its_slot_returns_it(
    database: str, client_of: NewClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = SlotTable.claim
    cancelled: list[Job] = []

    async def cancelled_meanwhile(*args: Any, **kwargs: Any) -> Any:
        claimed = await claim(*args, **kwargs)
        if claimed.job is not None and not cancelled:
            cancelled.extend(job for job in client.jobs() if job.id == claimed.job)
            tasks.start_soon(cancelled[0].cancel)
            await eventually(lambda: cancelled[0].stage is Stage.CANCELLED)
        return claimed

    monkeypatch.setattr(SlotTable, "claim", cancelled_meanwhile)
    first, second = songs(tmp_path, 2)
    async with (
        Sandbox(stems="copy", job_seconds=0.1) as sandbox,
        anyio.create_task_group() as tasks,
        client_of(sandbox, journal=database, concurrency=1) as client,
    ):
        await client.submit(first, algorithm=40)
        other = await client.submit(second, algorithm=40)
        with anyio.fail_after(TIMEOUT):
            assert (await other).files
        assert len(sandbox.jobs) == 1


async def test_closing_during_a_claim_returns_the_slot(
    held: Sandbox, database: str, client_of: NewClient, song: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = SlotTable.claim
    claimed = anyio.Event()

    async def closed_meanwhile(*args: Any, **kwargs: Any) -> Any:
        result = await claim(*args, **kwargs)
        claimed.set()
        await anyio.sleep(0.2)  # shielded: the client closes meanwhile
        return result

    monkeypatch.setattr(SlotTable, "claim", closed_meanwhile)
    async with client_of(held, journal=database, concurrency=1) as client:
        await client.submit(song, algorithm=40)
        await claimed.wait()
    with psycopg.connect(database) as connection:
        assert connection.execute("SELECT state, attempts FROM mvsep.jobs").fetchall() == [("queued", 0)]


async def test_the_client_continues_if_a_refused_cancel_cannot_be_reported(
    held: Sandbox, database: str, client_of: NewClient, song: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with client_of(held, journal=database, lease=2.0) as one, client_of(held, journal=database) as other:
        job = await one.submit(song, algorithm=40)
        await until(job, Stage.WAITING)
        assert job.hash is not None
        held.show(job.hash, "processing")
        await until(job, Stage.PROCESSING)
        held.faults.add(Fault(kind=FaultKind.REFUSE, path="separation/cancel", status=400, count=None))
        found = await other.find(id=job.id)
        assert found is not None
        failures = [1]

        async def fail(*args: Any) -> None:
            if failures:
                failures.pop()
                raise DatabaseUnavailableError("the database is away")
            await refused(*args)

        refused = JobTable.cancel_refused
        monkeypatch.setattr(JobTable, "cancel_refused", fail)
        with anyio.fail_after(TIMEOUT):
            assert not await found.cancel()
        held.finish(job.hash)
        with anyio.fail_after(TIMEOUT):
            assert (await job).files


async def test_a_refused_cancel_returns_at_once_elsewhere(
    held: Sandbox, database: str, client_of: NewClient, song: Path
) -> None:
    async with client_of(held, journal=database) as one, client_of(held, journal=database) as other:
        job = await one.submit(song, algorithm=40)
        await until(job, Stage.WAITING)
        assert job.hash is not None
        held.show(job.hash, "processing")
        await until(job, Stage.PROCESSING)
        held.faults.add(Fault(kind=FaultKind.REFUSE, path="separation/cancel", status=400, count=None))
        found = await other.find(id=job.id)
        assert found is not None
        with anyio.fail_after(TIMEOUT):
            assert not await found.cancel()


async def test_the_download_of_a_job_that_was_pruned_elsewhere_fails(
    database: str, client_of: NewClient, song: Path, tmp_path: Path
) -> None:
    async with (
        Sandbox(stems="copy", job_seconds=0.1) as sandbox,
        client_of(sandbox, journal=database) as one,
        client_of(sandbox, journal=database) as other,
    ):
        job = await one.submit(song, algorithm=40)
        await job
        found = await other.find(id=job.id)
        assert found is not None
        await one.prune([job])
        with anyio.fail_after(TIMEOUT), pytest.raises(JobNotFoundError, match="pruned"):
            await found.download(tmp_path / "stems")
        assert await job.download(tmp_path / "stems")


async def test_a_submit_with_a_key_waits_for_the_database(database: str, client_of: NewClient, tmp_path: Path) -> None:
    async with (
        Sandbox(stems="copy", job_seconds=0.1) as sandbox,
        proxy(database) as between,
        client_of(sandbox, journal=between.url) as client,
    ):
        between.cut()
        jobs: list[Job] = []
        first, *others = songs(tmp_path, 3)

        async def submit() -> None:
            jobs.append(await client.submit(first, algorithm=40, key="k"))

        async def run_map() -> None:
            async for job in client.map(others, algorithm=40, directory=tmp_path / "stems"):
                assert job.error is None
                jobs.append(job)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(submit)
            tasks.start_soon(run_map)
            await anyio.sleep(1.0)  # time in which both would fail
            assert not jobs
            between.down = False
            await eventually(lambda: len(jobs) == 3)


@pytest.mark.parametrize("how", ["cut", "silent"])
async def test_closing_without_the_database_takes_a_moment(
    how: str, held: Sandbox, database: str, client_of: NewClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Only the limit for closing can end this.
    monkeypatch.setattr(connection_module, "_CONNECT", 3600)
    monkeypatch.setattr(connection_module, "_STATEMENT", 3600.0)
    errors: list[MVSepError] = []
    async with proxy(database) as between:
        client = await client_of(held, journal=between.url).open()
        first, second = songs(tmp_path, 2)
        job = await client.submit(first, algorithm=40)
        await until(job, Stage.WAITING)

        async def submit() -> None:
            try:
                await client.submit(second, algorithm=40)
            except MVSepError as error:
                errors.append(error)

        async with anyio.create_task_group() as tasks:
            if how == "cut":
                between.cut()
            else:
                between.silent = True
            tasks.start_soon(submit)
            await anyio.sleep(1.5)
            with suppress(JournalError):
                await client.aclose()
        assert [type(error) for error in errors] == [ClientClosedError], errors


async def test_texts_that_postgresql_has_no_form_for_are_kept(database: str, client_of: NewClient, song: Path) -> None:
    async with Sandbox(stems="copy", job_seconds=0.1) as sandbox, client_of(sandbox, journal=database) as client:
        job = await client.submit(song, algorithm=40, group="a\0b\udc80", key="\0\udc80", metadata={"x": "\0"})
        assert (await job).files


async def test_a_job_is_downloaded_on_the_machine_of_its_target(
    held: Sandbox, database: str, client_of: NewClient, song: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with client_of(held, journal=database, lease=2.0) as one, anyio.create_task_group() as tasks:
        tasks.start_soon(partial(one.separate, song, tmp_path / "stems", algorithm=40, key="k"))
        await eventually(lambda: any(job.stage is Stage.WAITING for job in one.jobs()))
        tasks.cancel_scope.cancel()
    with monkeypatch.context() as patch:
        patch.setattr(backend, "machine_name", lambda: "another machine")
        async with client_of(held, journal=database, lease=2.0) as other:
            found = await other.find(key="k")
            assert found is not None
            await eventually(lambda: len(other.jobs()) == 1)  # it has taken the job over
            held.finish(held.jobs[0].hash)
            await until(found, Stage.DONE)
            await eventually(lambda: not other.jobs())  # it has handed the job back
            assert not list((tmp_path / "stems").glob("*/*"))
    async with client_of(held, journal=database, lease=2.0) as one:
        same = await one.find(key="k")
        assert same is not None
        with anyio.fail_after(TIMEOUT):
            await same
        assert all(path.exists() for path in same.paths)


async def test_a_lost_job_that_was_not_accepted_is_sent_from_the_machine_of_its_song(
    database: str, client_of: NewClient, song: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Sandbox(stems="copy", job_seconds=0.1) as sandbox:

        def created() -> int:
            return sum(not job.foreign for job in sandbox.jobs)

        sandbox.occupy(sandbox.premium_token, 10)
        async with client_of(sandbox, journal=database, concurrency=10, lease=2.0) as one:
            job = await one.submit(song, algorithm=40, key="k")
        sandbox.release(sandbox.premium_token)
        with psycopg.connect(database, autocommit=True) as connection:
            # As if its process had been killed in the middle of the create.
            connection.execute(
                "UPDATE mvsep.jobs SET state = 'creating', attempts = 1, intent_at = extract(epoch FROM now())"
            )
        with monkeypatch.context() as patch:
            patch.setattr(backend, "machine_name", lambda: "another machine")
            async with client_of(sandbox, journal=database, concurrency=10, lease=2.0) as other:
                await eventually(lambda: [own.id for own in other.jobs()] == [job.id])  # it searches for the job
                with anyio.fail_after(TIMEOUT):
                    while other.jobs():  # until it hands the job back
                        await anyio.sleep(0.02)
                assert not created()
        async with client_of(sandbox, journal=database, concurrency=10, lease=2.0) as one:
            same = await one.find(key="k")
            assert same is not None
            with anyio.fail_after(TIMEOUT):
                assert (await same).files
        assert created() == 1


async def test_the_answer_to_a_create_is_used_by_a_process_that_got_its_job_back_meanwhile(
    database: str, client_of: NewClient, song: Path
) -> None:
    async with (
        Sandbox(stems="copy", job_seconds=0.1) as sandbox,
        client_of(sandbox, journal=database, concurrency=10, lease=2.0) as client,
    ):
        sandbox.faults.add(Fault(kind=FaultKind.STALL, path="separation/create", after_bytes=1, seconds=5))
        sandbox.faults.add(Fault(kind=FaultKind.REFUSE, path="app/*", status=503, count=None))
        job = await client.submit(song, algorithm=40, key="k")
        await eventually(lambda: len(sandbox.jobs) == 1)
        with psycopg.connect(database, autocommit=True) as connection:
            connection.execute("UPDATE mvsep.jobs SET owner = 'another process'")
            # It finds that its lease was over, and has ended: the jobs of a process that is not there are free.
            connection.execute("UPDATE mvsep.processes SET lease_until = clock_timestamp()")
        with anyio.fail_after(TIMEOUT):
            assert (await job).files
        assert len(sandbox.jobs) == 1


@pytest.mark.parametrize("repeated", [False, True])
async def test_cancelling_a_job_that_is_taken_over_meanwhile_asks_its_new_client(
    held: Sandbox, database: str, client_of: NewClient, song: Path, monkeypatch: pytest.MonkeyPatch, repeated: bool
) -> None:
    """`repeated`: it is taken over while the client waits to send the cancel again."""
    confirm, taken, attempts = coordination.SharedCoordinator.confirm, list[str](), list[str]()

    async def take_away(self: coordination.SharedCoordinator, job: str, *, patient: bool = False) -> None:
        attempts.append(job)
        if taken or len(attempts) <= repeated:
            return await confirm(self, job, patient=patient)
        taken.append(job)
        with psycopg.connect(database, autocommit=True) as connection:
            connection.execute("UPDATE mvsep.jobs SET owner = NULL")
        self._give_up(taken)
        raise JournalError(f"job {job} was taken over by another process of this account")

    async with client_of(held, journal=database) as one, client_of(held, journal=database, lease=2.0):
        job = await one.submit(song, algorithm=40)
        await until(job, Stage.WAITING)
        if repeated:
            held.faults.add(kind="html", path="separation/cancel")
        monkeypatch.setattr(coordination.SharedCoordinator, "confirm", take_away)
        with anyio.fail_after(TIMEOUT):
            assert await job.cancel()
    assert job.stage is Stage.CANCELLED
    assert taken == [job.id]


async def test_a_cancel_that_is_answered_after_the_job_was_taken_over_succeeds(
    held: Sandbox, database: str, client_of: NewClient, song: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cancel, sent = SeparationsAPI.cancel, list[str]()

    async with client_of(held, journal=database) as one, client_of(held, journal=database, lease=2.0):

        async def slow(self: SeparationsAPI, hash: str, **arguments: Any) -> Any:
            answer = await cancel(self, hash, **arguments)
            if not sent:
                with psycopg.connect(database, autocommit=True) as connection:
                    connection.execute("UPDATE mvsep.jobs SET owner = NULL")
                one._session.scheduler.coordinator._give_up([job.id])  # type: ignore[union-attr]
            sent.append(hash)
            return answer

        job = await one.submit(song, algorithm=40)
        await until(job, Stage.WAITING)
        monkeypatch.setattr(SeparationsAPI, "cancel", slow)
        with anyio.fail_after(TIMEOUT):
            assert await job.cancel()
    assert job.stage is Stage.CANCELLED


async def test_a_transaction_in_which_the_process_was_suspended_is_run_again(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "_BEGIN", "BEGIN; SET LOCAL idle_in_transaction_session_timeout = '100ms'")
    runs: list[int] = []

    async def work(connection: Any) -> int:
        runs.append(len(runs))
        if len(runs) == 2:
            await anyio.sleep(0.5)  # longer than the server lets a transaction be idle
        (number,) = await (await connection.execute("SELECT 7")).fetchone()
        return int(number)

    tables = Database(PostgresURL(database))
    assert await tables.run(work) == 7
    assert await tables.run(work) == 7
    assert len(runs) == 3
    await tables.close()
