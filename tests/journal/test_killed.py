"""Processes are killed at any moment, and the next one finds a consistent journal."""

import multiprocessing
import random
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Any

import pytest

from mvsep_async.errors import JournalError
from mvsep_async.jobs.facts import NOTHING
from mvsep_async.jobs.journal import Record
from mvsep_async.journal.sqlite import open_journal, peek_journal
from tests.journal import victim

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs a signal that nobody can catch"),
]


@pytest.fixture(scope="module")
def processes() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.journal.victim"])
    return context


@contextmanager
def running(processes: ForkServerContext, target: Callable[..., None], *args: Any) -> Iterator[Connection]:
    """Run `target` in another process and kill it on the way out."""
    told, teller = processes.Pipe(duplex=False)
    process: ForkServerProcess = processes.Process(target=target, args=(*args, teller))
    process.start()
    teller.close()
    try:
        yield told
    finally:
        process.kill()
        process.join()
        process.close()


async def jobs_in(path: Path) -> list[Record]:
    async with open_journal(path) as (_, records):
        return list(records)


async def test_flushed_changes_survive_every_kill(tmp_path: Path, processes: ForkServerContext) -> None:
    path, moments, settled = tmp_path / "j.db", random.Random(4), {}
    for start in range(30):
        with running(processes, victim.work_until_killed, path, start) as told:
            settled.update(told.recv() for _ in range(moments.randrange(1, 40)))
        while told.poll():
            try:
                settled.update([told.recv()])
            except EOFError:
                break
        told.close()
        async with open_journal(path) as (_, records):
            found = {record.request.id: record for record in records}
        assert settled.keys() <= found.keys()
        for id, record in found.items():
            attempts = record.facts.attempts
            assert attempts >= settled.get(id, 0)
            assert record.facts == (victim.facts(id, attempts) if attempts else NOTHING)
            assert record.request.fingerprint == record.request.key == id
    assert len(settled) > 60


async def test_a_journal_is_open_in_one_process_only(tmp_path: Path, processes: ForkServerContext) -> None:
    path = tmp_path / "j.db"
    with running(processes, victim.hold, path) as told:
        holder = told.recv()
        with pytest.raises(JournalError, match=f"in use by process {holder}, .*[Ww]ait for it"):
            await jobs_in(path)
        assert list(await peek_journal(path)) == []
    told.close()
    assert await jobs_in(path) == []


async def test_a_forked_child_does_not_keep_the_journal(tmp_path: Path, processes: ForkServerContext) -> None:
    path = tmp_path / "j.db"
    with running(processes, victim.hold_and_fork, path) as told:
        told.recv()
    # The parent is killed; its child lives on until the pipe is closed.
    async with open_journal(path) as (_, records):
        assert list(records) == []
        assert not told.poll()
    told.close()


@pytest.mark.parametrize("moment", ["locked", "made", "renamed"])
async def test_a_kill_while_a_journal_is_created_leaves_none_or_a_complete_one(
    tmp_path: Path, processes: ForkServerContext, moment: str
) -> None:
    path = tmp_path / "j.db"
    process = processes.Process(target=victim.die_while_creating, args=(path, moment))
    process.start()
    process.join()
    assert process.exitcode == victim.KILLED
    assert path.exists() is (moment == "renamed")
    assert await jobs_in(path) == []
    assert sorted(file.name for file in tmp_path.iterdir()) == ["j.db", "j.db.lock"]
