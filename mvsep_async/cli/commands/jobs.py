"""`jobs`: the jobs of the journal, and below it all that can be done with single jobs."""

from __future__ import annotations

import heapq
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from operator import itemgetter
from pathlib import Path, PurePath
from typing import Annotated, Final, Self

import anyio
from attrs import evolve, frozen
from cyclopts import App, Parameter, validators

from mvsep_async.cli.complete import GivenJournal
from mvsep_async.cli.config import COMMON, TRANSFER, CommandConfig, CommonOptions, TransferOptions, load_config
from mvsep_async.cli.exits import UsageProblem
from mvsep_async.cli.help import FLAGS
from mvsep_async.cli.job_ids import JobNames, record_label, short_ids
from mvsep_async.cli.job_run import JobActions, JobRun
from mvsep_async.cli.journal import connect_with_journal, when_unlocked
from mvsep_async.cli.libraries import LibraryJob, library_jobs, library_records
from mvsep_async.cli.outcome import shown_path
from mvsep_async.cli.records import read_journal
from mvsep_async.cli.resume_hint import print_resume_hint, was_stopped
from mvsep_async.cli.tables import Column, print_rows
from mvsep_async.cli.terminal import terminal
from mvsep_async.cli.text import age_text, amount
from mvsep_async.client import MVSepClient
from mvsep_async.http.call import Json
from mvsep_async.jobs.job import Job
from mvsep_async.jobs.journal import Record
from mvsep_async.jobs.lifecycle import JobState
from mvsep_async.journal.summary import is_over
from mvsep_async.postgres_url import JournalAddress, PostgresURL
from mvsep_async.sources import label

__all__ = ["jobs"]

jobs = App(name="jobs", help="List, follow, fetch and cancel jobs.", help_flags=FLAGS)
for _name, _help in {
    "status": "Show the state of jobs, once.",
    "watch": "Follow jobs until they are over.",
    "download": "Fetch the stems of jobs.",
    "cancel": "Cancel jobs.",
    "delete": "Remove jobs and their files from the service.",
}.items():
    jobs.command(f"mvsep_async.cli.commands.service_jobs:{_name}", name=_name, help=_help)

Journal = Annotated[
    GivenJournal | None, Parameter(help="The journal: a file or a postgresql:// URL; by default the account's own.")
]

_NEWEST: Final = 20
"""Jobs that a table shows unless more are asked for: they fit a terminal of 24 lines."""


@frozen(kw_only=True)
class _Row:
    """One job. `id`: the whole one; `short`: as much of it as tells the job from the others."""

    id: str
    short: str
    source: Json
    name: str
    algorithm: Json
    state: str
    at: float | None
    hash: str | None
    files: tuple[Path, ...]
    error: str | None = None

    @classmethod
    def of_record(cls, record: Record, short: str) -> Self:
        """Return the row of a job in a journal."""
        facts, source = record.facts, record.request.source
        path = os.fspath(source) if isinstance(source, str | os.PathLike) else None
        return cls(
            id=record.request.id,
            short=short,
            source=path or (None if source is None else label(source, record.request.filename)),
            name=record_label(record),
            algorithm=record.request.settings.algorithm,
            state=record.state.value,
            at=facts.accepted_at or facts.intent_at,
            hash=facts.hash or facts.remote,
            files=tuple(facts.paths),
            error=None if facts.error is None else str(facts.error),
        )

    @classmethod
    def of_library(cls, job: LibraryJob, short: str) -> Self:
        """Return the row of a finished job of a library."""
        return cls(
            id=next((name for name in JobNames(job.hash).names if name.startswith("mv")), job.hash),
            short=short,
            source=job.song,
            name=PurePath(job.song).name,
            algorithm=job.method,
            state=JobState.FINISHED.value,
            at=job.finished,
            hash=job.hash,
            files=job.files,
        )

    @property
    def age(self) -> str:
        return "" if self.at is None else age_text(time.time() - self.at)

    @property
    def result(self) -> str:
        if self.error is not None:
            return " ".join(self.error.split())
        return f"{shown_path(self.files[0].parent)}{os.sep}" if self.files else ""


_COLUMNS: Final[tuple[Column[_Row], ...]] = (
    Column("id", lambda row: row.id, lambda row: row.short, style="bold"),
    Column("source", lambda row: row.source, lambda row: row.name, wide="cut", title="song"),
    Column("algorithm", lambda row: row.algorithm, justify="right"),
    Column("state", lambda row: row.state),
    Column("age", lambda row: row.age, justify="right", only="people"),
    Column("result", lambda row: row.result, wide="cut", only="people", title="stems"),
    Column("hash", lambda row: row.hash, only="programs"),
    Column("files", lambda row: [str(path) for path in row.files], only="programs"),
    Column("error", lambda row: row.error, only="programs"),
)


@jobs.default
async def list_jobs(
    *,
    journal: Journal = None,
    limit: Annotated[int | None, Parameter(validator=validators.Number(gte=1))] = None,
    all: bool = False,
    common: CommonOptions = COMMON,
) -> int:
    """List the jobs of the account, the newest last: their ids, states, and where their stems are.

    The songs of `library` are among them, unless a journal is given. Another program may be using the journal
    meanwhile. Ids may be shortened as long as they name one job.

    Parameters
    ----------
    limit
        How many of the newest to list; by default 20.
    all
        List all jobs.
    """
    config = load_config(common)
    records = await _records(config, journal)
    unfinished = [] if journal is not None else await library_records(config)
    known = {record.facts.hash for record in unfinished}
    songs = [] if journal is not None else [job for job in await library_jobs(config) if job.hash not in known]
    newest = None if all or (common.json and limit is None) else limit or _NEWEST
    names = [JobNames(one.facts.hash or one.facts.remote, one.request.id) for one in (*records, *unfinished)]
    ids = iter(short_ids([*names, *(JobNames(job.hash) for job in songs)]))
    of_journal = [*map(_Row.of_record, records, ids)]
    of_libraries = [*map(_Row.of_record, unfinished, ids)]
    of_libraries = [*map(_Row.of_library, songs, ids), *of_libraries]
    merged = heapq.merge(_timed(of_journal), _timed(of_libraries), key=itemgetter(0))
    rows = [row for _, row in merged]
    shown = rows if newest is None else rows[-newest:]
    print_rows(
        shown,
        _COLUMNS,
        json=common.json,
        empty="there are no jobs yet" if journal is None else "the journal holds no jobs",
    )
    if not common.json and len(shown) < len(rows):
        terminal().note(f"the newest {len(shown)} of {amount(len(rows), 'job')}: --all lists them all")
    return 0


def _timed(rows: Iterable[_Row]) -> Iterator[tuple[float, _Row]]:
    """Yield each row with the time to merge it by: what was not sent yet stays behind the jobs before it."""
    latest = 0.0
    for row in rows:
        latest = max(latest, row.at or 0.0)
        yield latest, row


@jobs.command
async def resume(
    *,
    journal: Journal = None,
    transfer: TransferOptions = TRANSFER,
    common: CommonOptions = COMMON,
) -> int:
    """Finish every job of a journal.

    What was not sent is sent, what was not fetched is fetched.
    """
    config = load_config(common)
    records = await _records(config, journal)
    if not records:
        terminal().note("nothing is left to do")
        return 0
    unfinished = [record.request.id for record in records if not is_over(record)]
    path = journal or config.journal_path
    run = JobRun(title="resuming", json=common.json, slots=transfer.concurrency)
    try:
        async with connect_with_journal(config, path, transfer=transfer) as client:
            left = await _unfinished(client, unfinished)
            actions = JobActions(left, Job.wait)
            if not left:
                terminal().note("nothing is left to do")
            return await run.follow(client, actions, actions.run)
    except BaseException as error:
        if was_stopped(error):
            print_resume_hint(run, journal=path)
        raise


async def _unfinished(client: MVSepClient, ids: Sequence[str]) -> list[Job]:
    """Return jobs of the journal that are not over. In a database, other processes may work on them."""
    found = [await client.find(id=id) for id in ids]
    return [job for job in found if job is not None and not job.done()]


@jobs.command
async def prune(*, journal: Journal = None, common: CommonOptions = COMMON) -> int:
    """Remove finished jobs from the journal.

    Their files stay, and their songs are still known as separated.
    """
    from mvsep_async.journal.sqlite import SqliteJournal

    config = load_config(common)
    path = journal or config.journal_path
    if isinstance(path, PostgresURL):
        from mvsep_async.postgres.account import open_account

        async with open_account(path, config.token, str(config.host.main)) as tables:
            return _pruned(await tables.prune(), json=common.json)
    over = [record for record in await _records(config, journal) if is_over(record)]
    separated = [record for record in over if record.request.content and record.facts.separation]
    if over and path is not None:
        opened = SqliteJournal(path)
        await when_unlocked(opened.open)
        try:
            for record in separated:
                opened.update(record.request.id, record.state, evolve(record.facts, archived=True))
            opened.forget([record.request for record in over if record not in separated])
            await opened.flush()
        finally:
            await opened.close()
    return _pruned(len(over), json=common.json)


def _pruned(count: int, *, json: bool) -> int:
    if json:
        terminal().document({"pruned": count})
    else:
        terminal().result(f"{amount(count, 'job')} forgotten")
    return 0


async def _records(config: CommandConfig, journal: JournalAddress | None) -> Sequence[Record]:
    if isinstance(journal, Path) and not await anyio.Path(journal).exists():
        raise UsageProblem(f"there is no journal {str(journal)!r}")
    records = await read_journal(journal or config.journal_path, config)
    return [record for record in records if not record.facts.archived]
