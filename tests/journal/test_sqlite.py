"""The journal as the client uses it, on both event loops."""

import asyncio
import logging
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from mvsep_async.backoff import Backoff
from mvsep_async.errors import JournalError
from mvsep_async.jobs.facts import NOTHING, Facts
from mvsep_async.jobs.journal import JobDuration, Record
from mvsep_async.jobs.lifecycle import JobState
from mvsep_async.journal import buffer
from mvsep_async.journal.changes import PendingChanges
from mvsep_async.journal.file import JournalFile
from mvsep_async.journal.sqlite import SqliteJournal, open_journal, peek_journal
from mvsep_async.journal.store import Store
from mvsep_async.sources import Data
from tests.journal.samples import a_request


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "j.db"


@pytest.fixture(params=["asyncio", "trio"])
def run(request: pytest.FixtureRequest) -> Callable[[Callable[[], Awaitable[None]]], None]:
    return lambda main: anyio.run(main, backend=request.param)


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[SqliteJournal]:
    async with open_journal(path) as (journal, _):
        yield journal


async def reopened(path: Path) -> list[Record]:
    async with open_journal(path) as (_, records):
        return list(records)


class Gate:
    """Stands in the way of every write: counts them, holds them back, and lets the disk refuse them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.writes: list[tuple[int, bool]] = []
        self.free = threading.Event()
        self.free.set()
        self.refusal: Exception | None = None
        real = Store.write

        def write(store: Store, changes: PendingChanges, *, synced: bool) -> None:
            self.writes.append((len(changes.added), synced))
            assert self.free.wait(60)
            if self.refusal is not None:
                raise self.refusal
            real(store, changes, synced=synced)

        monkeypatch.setattr(Store, "write", write)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    gate = Gate(monkeypatch)
    yield gate
    gate.free.set()


def test_flushed_changes_come_back(path: Path, run: Any) -> None:
    async def main() -> None:
        orders = [a_request(key="k"), a_request(fingerprint="mark")]
        async with opened(path) as journal:
            for order in orders:
                journal.add(order)
            await journal.flush()
            journal.update(orders[0].id, JobState.WAITING, Facts(hash="h"))
            await journal.flush(synced=True)
        assert await reopened(path) == [
            Record(orders[0], JobState.WAITING, Facts(hash="h")),
            Record(orders[1], JobState.QUEUED, NOTHING),
        ]

    run(main)


def test_unflushed_changes_are_written_on_closing(path: Path, run: Any) -> None:
    async def main() -> None:
        async with opened(path) as journal:
            journal.add(a_request())
        assert len(await reopened(path)) == 1

    run(main)


def test_changes_without_a_flush_are_written_soon(path: Path, run: Any, gate: Gate) -> None:
    async def main() -> None:
        async with opened(path) as journal, anyio.create_task_group() as tasks:
            tasks.start_soon(journal.run)
            for count in (1, 2):
                journal.add(a_request())
                journal.add(a_request())
                with anyio.fail_after(60):
                    while len(await peek_journal(path)) < 2 * count:
                        await anyio.sleep(0.01)
            tasks.cancel_scope.cancel()
        assert gate.writes == [(2, False), (2, False)]

    run(main)


def test_pruned_jobs_are_gone_and_their_keys_free(path: Path, run: Any) -> None:
    async def main() -> None:
        old, new = a_request(key="k"), a_request(key="k")
        async with opened(path) as journal:
            journal.add(old)
            with pytest.raises(JournalError, match=f"the key 'k' belongs to job {old.id}") as caught:
                journal.add(new)
            assert caught.value.job == new.id
            await journal.flush()
            journal.forget([old])
            journal.add(new)
            await journal.flush()
        assert [record.request for record in await reopened(path)] == [new]

    run(main)


def test_keys_of_the_last_process_count(path: Path, run: Any) -> None:
    async def main() -> None:
        async with opened(path) as journal:
            journal.add(a_request(key="k"))
        async with opened(path) as journal:
            with pytest.raises(JournalError, match="belongs to job"):
                journal.add(a_request(key="k"))
            journal.add(a_request(key="l"))
        assert len(await reopened(path)) == 2

    run(main)


def test_a_job_that_cannot_be_stored_does_not_affect_others(path: Path, run: Any) -> None:
    async def main() -> None:
        async with opened(path) as journal:
            with pytest.raises(JournalError, match="must be spooled to a file first"):
                journal.add(a_request(source=Data(b"x", "a.wav"), key="k"))
            journal.add(a_request(key="k"))
            await journal.flush()
        assert len(await reopened(path)) == 1

    run(main)


def test_pruning_removes_spooled_songs(path: Path, run: Any) -> None:
    from mvsep_async.sources import Spooled

    async def main() -> None:
        async with opened(path) as journal:
            journal.spool.mkdir()
            song = journal.spool / "song.wav"
            song.write_bytes(b"RIFF")
            order = a_request(source=Spooled(song, "song.wav"))
            journal.add(order)
            await journal.flush()
            journal.forget([order])
            await journal.flush()
        assert not song.exists()

    run(main)


# --- transactions


def test_flushes_at_the_same_time_share_a_transaction(path: Path, run: Any, gate: Gate) -> None:
    async def main() -> None:
        async with opened(path) as journal:

            async def submit() -> None:
                journal.add(a_request())
                await journal.flush()

            gate.free.clear()
            async with anyio.create_task_group() as tasks:
                for _ in range(50):
                    tasks.start_soon(submit)
                await anyio.wait_all_tasks_blocked()
                gate.free.set()
        assert gate.writes == [(1, False), (49, False)]

    run(main)


def test_one_synced_flush_syncs_for_all(path: Path, run: Any, gate: Gate) -> None:
    async def main() -> None:
        async with opened(path) as journal:
            gate.free.clear()
            async with anyio.create_task_group() as tasks:
                journal.add(a_request())
                tasks.start_soon(journal.flush)
                await anyio.wait_all_tasks_blocked()
                journal.add(a_request())
                tasks.start_soon(journal.flush)
                tasks.start_soon(lambda: journal.flush(synced=True))
                await anyio.wait_all_tasks_blocked()
                gate.free.set()
            assert gate.writes == [(1, False), (1, True)]
            await journal.flush()
            await journal.flush(synced=True)
            assert len(gate.writes) == 2
            journal.add(a_request())
            await journal.flush()
            await journal.flush(synced=True)
        assert gate.writes[2:] == [(1, False), (0, True)]

    run(main)


def test_a_flush_without_changes_waits_for_the_transaction_in_flight(path: Path, run: Any, gate: Gate) -> None:
    async def main() -> None:
        async with opened(path) as journal:
            gate.free.clear()
            settled: list[str] = []

            async def flush(name: str) -> None:
                await journal.flush()
                settled.append(name)

            async with anyio.create_task_group() as tasks:
                journal.add(a_request())
                tasks.start_soon(flush, "one")
                await anyio.wait_all_tasks_blocked()
                tasks.start_soon(flush, "two")
                await anyio.wait_all_tasks_blocked()
                assert not settled
                gate.free.set()
            assert sorted(settled) == ["one", "two"]
        assert gate.writes == [(1, False)]

    run(main)


def test_the_event_loop_runs_while_the_disk_is_slow(path: Path, run: Any, gate: Gate) -> None:
    """The write goes on only after the loop has: if it were held up, this would never end."""

    async def main() -> None:
        async with opened(path) as journal:
            gate.free.clear()

            async def beat() -> None:
                for _ in range(100):
                    await anyio.sleep(0)
                gate.free.set()

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(beat)
                journal.add(a_request())
                await journal.flush(synced=True)
                assert gate.free.is_set()

    run(main)


def test_a_cancelled_flush_loses_nothing(path: Path, run: Any, gate: Gate) -> None:
    async def main() -> None:
        async with opened(path) as journal:
            gate.free.clear()
            async with anyio.create_task_group() as tasks:
                for _ in range(2):
                    journal.add(a_request())
                    tasks.start_soon(journal.flush)
                    await anyio.wait_all_tasks_blocked()
                tasks.cancel_scope.cancel()
            gate.free.set()
            journal.add(a_request())
            await journal.flush()
            assert sum(added for added, _ in gate.writes) == 3
        assert len(await reopened(path)) == 3

    run(main)


async def test_a_flush_cancelled_by_asyncio_loses_nothing(path: Path, gate: Gate) -> None:
    async with opened(path) as journal:
        gate.free.clear()
        for _ in range(2):
            journal.add(a_request())
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(journal.flush(), 0.01)
        gate.free.set()
        await journal.flush()
        assert sum(added for added, _ in gate.writes) == 2
    assert len(await reopened(path)) == 2


async def test_a_start_cancelled_by_asyncio_leaves_no_lock(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    locked, go, real = threading.Event(), threading.Event(), JournalFile._prepare

    def slow(file: JournalFile, resources: ExitStack) -> os.stat_result:
        found = real(file, resources)
        locked.set()
        assert go.wait(60)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(JournalFile, "_prepare", slow)
        opening = asyncio.ensure_future(reopened(path))
        assert await anyio.to_thread.run_sync(locked.wait, 60)
        opening.cancel()
        await anyio.wait_all_tasks_blocked()
        go.set()
        with pytest.raises(asyncio.CancelledError):
            await opening
    assert await reopened(path) == []


# --- a disk that refuses


async def limit(journal: SqliteJournal, pages: int) -> None:
    """Let the file grow no further than `pages`: what SQLite says then is what it says of a full disk."""
    connection = journal._store._connection
    await journal._thread.do(lambda: connection.execute(f"PRAGMA max_page_count = {pages}").fetchall())


def test_a_full_disk_is_reported_and_nothing_is_lost(path: Path, run: Any) -> None:
    async def main() -> None:
        async with opened(path) as journal:
            await limit(journal, 1)
            first, later = a_request(metadata="x" * 100_000), a_request()
            for order in (first, later):
                journal.add(order)
                with pytest.raises(JournalError, match="the disk is full; free some space"):
                    await journal.flush()
            journal.update(first.id, JobState.WAITING, Facts(hash="h"))
            with pytest.raises(JournalError, match="the disk is full"):
                await journal.flush(synced=True)
            assert list(await peek_journal(path)) == []
            await limit(journal, 1_000_000)
            await journal.flush(synced=True)
        assert [(record.request, record.facts.hash) for record in await reopened(path)] == [(first, "h"), (later, None)]

    run(main)


def test_all_waiting_tasks_get_the_error(path: Path, run: Any, gate: Gate) -> None:
    async def main() -> None:
        async with opened(path) as journal:
            gate.refusal = JournalError("no")
            gate.free.clear()
            told: list[JournalError] = []

            async def submit() -> None:
                journal.add(a_request())
                try:
                    await journal.flush()
                except JournalError as error:
                    told.append(error)

            async with anyio.create_task_group() as tasks:
                for _ in range(5):
                    tasks.start_soon(submit)
                await anyio.wait_all_tasks_blocked()
                gate.free.set()
            assert len({id(error) for error in told}) == 5
            assert gate.writes == [(1, False), (5, False)]
            gate.refusal = None

    run(main)


def test_writing_is_retried(
    path: Path, run: Any, gate: Gate, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(buffer, "_PAUSES", Backoff(buffer._LINGER, buffer._LINGER))
    gate.refusal = JournalError("the disk is full")

    async def main() -> None:
        async with opened(path) as journal, anyio.create_task_group() as tasks:
            tasks.start_soon(journal.run)
            journal.add(a_request())
            with anyio.fail_after(60):
                while len(gate.writes) < 3:
                    await anyio.sleep(0.01)
                gate.refusal = None
                while not await peek_journal(path):
                    await anyio.sleep(0.01)
            tasks.cancel_scope.cancel()

    with caplog.at_level(logging.WARNING):
        run(main)
    assert "the disk is full; trying again" in caplog.text


def test_a_failing_last_write_is_reported_and_the_lock_released(path: Path, run: Any, gate: Gate) -> None:
    async def main() -> None:
        with pytest.raises(JournalError, match="no room"):
            async with opened(path) as journal:
                gate.refusal = JournalError("no room")
                journal.add(a_request())
        assert await reopened(path) == []

    run(main)


# --- opening and closing


def test_closing_ends_its_thread_and_its_work(path: Path, run: Any) -> None:
    async def main() -> None:
        async with opened(path) as journal:
            await journal.flush()
        with pytest.raises(JournalError, match="was closed"):
            await journal.flush()
        assert await reopened(path) == []
        with anyio.fail_after(60):
            while any(thread.name == "mvsep-journal" for thread in threading.enumerate()):
                await anyio.sleep(0.01)

    run(main)


async def test_a_flush_during_a_cancelled_close_gets_an_error(path: Path, gate: Gate) -> None:
    gate.free.clear()
    errors: list[str] = []
    journals: list[SqliteJournal] = []
    leave = anyio.Event()

    async def hold() -> None:
        async with opened(path) as journal:
            journals.append(journal)
            await leave.wait()

    async def submit() -> None:
        (journal,) = journals
        journal.add(a_request())
        try:
            await journal.flush()
        except JournalError as error:
            errors.append(str(error))

    closing = asyncio.ensure_future(hold())
    with anyio.fail_after(60):
        while not journals:
            await anyio.sleep(0.01)
    async with anyio.create_task_group() as tasks:
        for _ in range(2):
            tasks.start_soon(submit)
            await anyio.wait_all_tasks_blocked()
        leave.set()
        await anyio.wait_all_tasks_blocked()
        closing.cancel()
        await anyio.wait_all_tasks_blocked()
        gate.free.set()
    with pytest.raises(asyncio.CancelledError):
        await closing
    assert len(errors) == 1
    assert "was closed" in errors[0]


def test_a_journal_that_is_refused_can_be_tried_again(path: Path, run: Any) -> None:
    async def main() -> None:
        async with opened(path):
            with pytest.raises(JournalError, match="in use by another client"):
                await reopened(path)
        assert await reopened(path) == []

    run(main)


def test_two_names_of_one_journal_have_one_lock(path: Path, tmp_path: Path, run: Any) -> None:
    async def main() -> None:
        (tmp_path / "other.db").symlink_to(path)
        async with opened(path):
            with pytest.raises(JournalError, match="in use"):
                await reopened(tmp_path / "other.db")

    run(main)


def test_a_relative_path_stays_where_it_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Any) -> None:
    async def main() -> None:
        monkeypatch.chdir(tmp_path)
        async with open_journal("j.db") as (journal, _):
            monkeypatch.chdir("/")
            journal.add(a_request())
            await journal.flush()

    run(main)
    assert (tmp_path / "j.db").exists()


def test_sqlite3_is_not_imported_before_it_is_needed() -> None:
    code = "import sys, mvsep_async.journal.sqlite; sys.exit('sqlite3' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ})


def test_a_python_without_sqlite3_is_reported(path: Path, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mvsep_async.journal.file", None)

    async def main() -> None:
        with pytest.raises(JournalError, match="needs the sqlite3 module"):
            await reopened(path)

    run(main)


def test_the_columns_hold_no_secret(path: Path, run: Any) -> None:
    """What an error carries beyond its known attributes, such as a cause that saw the token, is not kept."""

    async def main() -> None:
        error = JournalError("no")
        error.secret = "t0ken"  # type: ignore[attr-defined]
        error.__cause__ = ValueError("t0ken")
        order = a_request()
        async with opened(path) as journal:
            journal.add(order)
            journal.update(order.id, JobState.FAILED, Facts(error=error))
            await journal.flush()
            assert all(b"t0ken" not in file.read_bytes() for file in path.parent.iterdir())
        assert b"t0ken" not in path.read_bytes()

    run(main)


async def test_durations_are_learned_for_the_next_run(tmp_path: Path) -> None:
    took = JobDuration(algorithm=40, size=1000, waiting=3.0, processing=60.0)
    expected: list[JobDuration]
    for expected in ([], [took]):
        async with opened(tmp_path / "j.db") as journal:
            assert list(journal.durations) == expected
            journal.learn(took)
