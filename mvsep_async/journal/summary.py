"""Count the jobs and processes of a journal without opening it for writing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from attrs import frozen

from mvsep_async.jobs.journal import Record
from mvsep_async.jobs.lifecycle import OVER, JobState
from mvsep_async.journal.lock import FileLock, LockedError
from mvsep_async.journal.schema import STEPS
from mvsep_async.journal.sqlite import peek_journal

__all__ = ["JournalProcess", "JournalSummary", "is_over", "sqlite_summary", "states_of"]


@frozen
class JournalProcess:
    """A process that uses a journal. `since`: the Unix time when it opened the journal."""

    name: str
    since: float


@frozen
class JournalSummary:
    """The contents of a journal. `states`: the number of jobs in each state, without those that were pruned."""

    version: int
    bytes: int
    processes: Sequence[JournalProcess]
    states: Mapping[str, int]
    pruned: int
    oldest: Record | None
    """The unfinished job that was submitted first."""


def is_over(record: Record) -> bool:
    """Tell whether a job is over, so that nothing is left to do for it."""
    return record.state in OVER or (record.state is JobState.DONE and record.request.target is None)


def states_of(records: Iterable[Record]) -> Mapping[str, int]:
    """Count jobs by their states, in the order of a job's life."""
    counts = Counter(record.state for record in records)
    return {state.value: counts[state] for state in JobState if counts[state]}


async def sqlite_summary(path: Path) -> JournalSummary:
    """Return the summary of an SQLite journal, which may be in use. Raises `JournalError` if it cannot be read."""
    records = await peek_journal(path)
    shown = [record for record in records if not record.facts.archived]
    return JournalSummary(
        version=len(STEPS),
        bytes=sum(file.stat().st_size for file in (path, path.with_name(path.name + "-wal")) if file.exists()),
        processes=_holder(path.with_name(path.name + ".lock")),
        states=states_of(shown),
        pruned=len(records) - len(shown),
        oldest=next((record for record in shown if not is_over(record)), None),
    )


def _holder(lock_file: Path) -> Sequence[JournalProcess]:
    if not lock_file.exists():
        return ()
    lock = FileLock(lock_file)
    try:
        since = lock_file.stat().st_mtime
        lock.acquire()
    except LockedError as error:
        name = "unknown process" if error.pid is None else f"process {error.pid}"
        return (JournalProcess(name, since),)
    lock.release()
    return ()
