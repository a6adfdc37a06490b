"""`jobs`: what a journal holds."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import anyio
from cyclopts import App, Parameter

from mvsep_async.cli.config import COMMON, CommonOptions, connect, load_config
from mvsep_async.cli.exits import UsageProblem
from mvsep_async.cli.job_run import JobActions, JobRun
from mvsep_async.cli.resume_hint import how_to_go_on, was_stopped
from mvsep_async.cli.tables import Column, print_rows
from mvsep_async.cli.terminal import terminal
from mvsep_async.cli.text import amount
from mvsep_async.http.call import Json
from mvsep_async.jobs.job import Job
from mvsep_async.jobs.journal import Record
from mvsep_async.jobs.lifecycle import OVER, JobState
from mvsep_async.sources import label

__all__ = ["jobs"]

jobs = App(name="jobs", help="List, resume or prune the jobs of a journal.")

Journal = Annotated[Path, Parameter(help="The journal, as it was given to `separate`.")]

_COLUMNS: Final[tuple[Column[Record], ...]] = (
    Column("id", lambda one: one.request.id, hidden=True),
    Column("source", lambda one: _source(one), lambda one: label(one.request.source, one.request.filename)),
    Column("state", lambda one: one.state.value),
    Column("algorithm", lambda one: one.request.settings.algorithm, justify="right"),
    Column("hash", lambda one: one.facts.hash or one.facts.remote),
    Column(
        "files", lambda one: [str(path) for path in one.facts.paths], lambda one: str(len(one.facts.paths)), "right"
    ),
    Column("error", lambda one: None if one.facts.error is None else str(one.facts.error)),
)


@jobs.default
async def list_jobs(*, journal: Journal, common: CommonOptions = COMMON) -> int:
    """List the jobs of a journal. Another program may be using it meanwhile."""
    load_config(common)
    print_rows(await _peek(journal), _COLUMNS, json=common.json, empty="the journal holds no jobs")
    return 0


@jobs.command
async def resume(
    *,
    journal: Journal,
    concurrency: int | None = None,
    poll_interval: float | None = None,
    common: CommonOptions = COMMON,
) -> int:
    """Bring every job of a journal to its end: what was not sent is sent, what was not fetched is fetched.

    Parameters
    ----------
    concurrency
        Most jobs at the service at one time; by default what the account may have.
    poll_interval
        Seconds, the fastest that one job is looked at.
    """
    config = load_config(common)
    await _peek(journal)
    run = JobRun(title=f"resuming {journal}", json=common.json, slots=concurrency)
    try:
        async with connect(
            config, needs_token=True, concurrency=concurrency, journal=journal, poll_interval=poll_interval
        ) as client:
            left = [job for job in client.jobs() if not job.done()]
            ends = JobActions(left, Job.wait)
            if not left:
                terminal().note("nothing is left to do")
            return await run.follow(client, ends, ends.run)
    except BaseException as error:
        if was_stopped(error):
            how_to_go_on(run, journal=journal)
        raise


@jobs.command
async def prune(*, journal: Journal, common: CommonOptions = COMMON) -> int:
    """Forget the jobs that are over; their files stay."""
    from mvsep_async.journal.sqlite import SqliteJournal

    load_config(common)
    await _peek(journal)
    held = SqliteJournal(journal)
    over = [record.request for record in await held.open() if _over(record)]
    try:
        held.forget(over)
        await held.flush()
    finally:
        await held.close()
    if common.json:
        terminal().document({"pruned": len(over)})
    else:
        terminal().result(f"{amount(len(over), 'job')} forgotten")
    return 0


async def _peek(journal: Path) -> Sequence[Record]:
    from mvsep_async.journal.sqlite import SqliteJournal

    if not await anyio.Path(journal).exists():
        raise UsageProblem(f"there is no journal {str(journal)!r}")
    return await SqliteJournal.peek(journal)


def _over(record: Record) -> bool:
    return record.state in OVER or (record.state is JobState.DONE and record.request.target is None)


def _source(record: Record) -> Json:
    source = record.request.source
    if isinstance(source, str | os.PathLike):
        return os.fspath(source)
    return None if source is None else label(source, record.request.filename)
