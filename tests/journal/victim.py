"""A process that is killed."""

import os
import select
import sqlite3
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

import anyio

from mvsep_async.jobs.facts import Facts
from mvsep_async.jobs.lifecycle import JobState
from mvsep_async.jobs.request import JobRequest
from mvsep_async.journal.sqlite import SqliteJournal, open_journal
from tests.journal.samples import SETTINGS

KILLED = 77


def work_until_killed(path: Path, start: int, told: Connection) -> None:
    """Add and change jobs for ever, and tell of each job, after it was settled, how often it was changed."""
    anyio.run(_work, path, start, told)


async def _work(path: Path, start: int, told: Connection) -> None:
    async with open_journal(path) as (journal, _), anyio.create_task_group() as tasks:
        tasks.start_soon(journal.run)
        for lane in range(3):
            tasks.start_soon(partial(_lane, journal, f"{start}-{lane}", told))


async def _lane(journal: SqliteJournal, lane: str, told: Connection) -> None:
    number = 0
    while True:
        number += 1
        id = f"{lane}-{number}"
        journal.add(JobRequest(id, f"/music/{id}.flac", SETTINGS, key=id, fingerprint=id))
        await journal.flush()
        told.send((id, 0))
        for attempt in (1, 2, 3):
            # All of these belong together: no one of them may be found without the others.
            journal.update(id, JobState.WAITING, facts(id, attempt))
            if attempt != 2:
                await journal.flush(synced=attempt == 3)
                told.send((id, attempt))


def facts(id: str, attempt: int) -> Facts:
    return Facts(attempts=attempt, hash=f"{id}/{attempt}", remote="x" * (attempt * 2000))


def hold(path: Path, told: Connection) -> None:
    """Open the journal, tell the process id and keep it until killed."""

    async def keep() -> None:
        async with open_journal(path):
            told.send(os.getpid())
            await anyio.sleep_forever()

    anyio.run(keep)


def die_while_creating(path: Path, moment: str) -> None:
    """Open a journal that is not there yet, and end without a word at one moment of that."""
    die: Callable[..., None] = lambda *_, **__: os._exit(KILLED)  # noqa: E731
    match moment:
        case "locked":
            sqlite3.connect = die  # type: ignore[assignment]
        case "made":
            Path.replace = die  # type: ignore[assignment, method-assign]
        case "renamed":
            os.fsync = die

    async def create() -> None:
        async with open_journal(path):
            raise AssertionError("it is still alive")

    anyio.run(create)


def hold_and_fork(path: Path, told: Connection) -> None:
    """Hold a journal, fork a child that stays alive as long as somebody reads from the pipe, and wait to be killed."""
    anyio.run(_hold_and_fork, path, told)


async def _hold_and_fork(path: Path, told: Connection) -> None:
    async with open_journal(path):
        if os.fork() == 0:
            told.send(os.getpid())
            poller = select.poll()
            poller.register(told.fileno(), select.POLLERR)
            poller.poll()  # until the reader has closed its end
            os._exit(0)
        await anyio.sleep_forever()
