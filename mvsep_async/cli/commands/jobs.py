"""`jobs`: the jobs of the journal, and below it all that can be done with single jobs."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Final

import anyio
from anyio import to_thread
from attrs import evolve, frozen
from cyclopts import App, Parameter, validators

from mvsep_async.catalogue.sep_types import sep_types
from mvsep_async.cli.commands.library import finish_library
from mvsep_async.cli.complete import GivenJournal
from mvsep_async.cli.config import COMMON, TRANSFER, CommandConfig, CommonOptions, TransferOptions, load_config
from mvsep_async.cli.config_file import state_folder
from mvsep_async.cli.exits import DONE, UsageProblem
from mvsep_async.cli.help import FLAGS
from mvsep_async.cli.job_run import JobRun
from mvsep_async.cli.journal import connect_with_journal, when_unlocked
from mvsep_async.cli.known_jobs import KnownJob, short_ids
from mvsep_async.cli.libraries import KnownLibrary, finished_jobs, known_libraries, library_jobs
from mvsep_async.cli.outcome import distinct_ends, shown_path
from mvsep_async.cli.state import read_journal
from mvsep_async.cli.stopping import print_resume_hint, when_stopped
from mvsep_async.cli.tables import Column, cell, print_rows
from mvsep_async.cli.terminal import terminal
from mvsep_async.cli.text import age_text, amount
from mvsep_async.errors import JournalError
from mvsep_async.jobs.job import Job
from mvsep_async.jobs.journal import Record
from mvsep_async.jobs.lifecycle import JobState
from mvsep_async.journal.lock import LockedError
from mvsep_async.journal.sqlite import open_journal
from mvsep_async.journal.summary import is_over
from mvsep_async.postgres_url import JournalAddress, PostgresURL
from mvsep_async.recipes.run import algorithm_label

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
    GivenJournal | None,
    Parameter(
        metavar="FILE",
        help="A file or a postgresql:// URL; by default the account's journal and those of its libraries.",
    ),
]

_NEWEST: Final = 20
"""Jobs that a table shows unless more are asked for: they fit a terminal of 24 lines."""


@frozen
class _Row:
    """One job. `short`: as much of its id as tells it from the others; `name`: as much of its song's path."""

    job: KnownJob
    short: str
    name: str

    @property
    def id(self) -> str | None:
        return next((name for name in self.job.names if name.startswith("mv")), self.job.hash)

    @property
    def algorithm(self) -> str:
        """The algorithm for people: its name, the number of one that is not known here."""
        given = self.job.algorithm
        known = sep_types().get(given) if isinstance(given, int) else None
        return cell(given) if known is None else algorithm_label(known.name)

    @property
    def age(self) -> str:
        return "" if self.job.at is None else age_text(time.time() - self.job.at)

    @property
    def result(self) -> str:
        if self.job.error is not None:
            return " ".join(self.job.error.split())
        return f"{shown_path(self.job.files[0].parent)}{os.sep}" if self.job.files else ""


_COLUMNS: Final[tuple[Column[_Row], ...]] = (
    Column("id", lambda row: row.id, lambda row: row.short, style="bold"),
    Column("source", lambda row: row.job.source, lambda row: row.name, wide="cut", title="song"),
    Column("algorithm", lambda row: row.job.algorithm, lambda row: row.algorithm, wide="cut"),
    Column("state", lambda row: row.job.state),
    Column("age", lambda row: row.age, justify="right", only="people"),
    Column("result", lambda row: row.result, wide="cut", only="people", title="stems"),
    Column("hash", lambda row: row.job.hash, only="programs"),
    Column("files", lambda row: [str(path) for path in row.job.files], only="programs"),
    Column("error", lambda row: row.job.error, only="programs"),
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
    of_journal = [KnownJob.of_record(record) for record in await _records(config, journal)]
    of_libraries = [] if journal is not None else await library_jobs(config)
    newest = None if all or (common.json and limit is None) else limit or _NEWEST
    ids = short_ids([*of_journal, *of_libraries])
    numbered = zip([*_timed(of_journal), *_timed(of_libraries)], ids, strict=True)
    jobs = [(job, id) for (_, job), id in sorted(numbered, key=lambda one: one[0][0])]
    listed = jobs if newest is None else jobs[-newest:]
    names = distinct_ends([job.path for job, _ in listed])
    shown = [_Row(job, id, name) for (job, id), name in zip(listed, names, strict=True)]
    print_rows(shown, _COLUMNS, empty=_no_jobs(config, journal))
    if not common.json and len(shown) < len(jobs):
        terminal().note(f"the newest {len(shown)} of {amount(len(jobs), 'job')}: --all lists them all")
    return 0


def _no_jobs(config: CommandConfig, journal: JournalAddress | None) -> str:
    """Return what to say where there are no jobs: they may be those of another account, or of another server."""
    if journal is not None:
        return "the journal holds no jobs"
    own = config.journal_path
    others = sorted((state_folder() / "journals").glob("*.sqlite")) if isinstance(own, Path) else []
    others = [path for path in others if path != own]
    if not others:
        return "there are no jobs yet"
    why = "" if config.token is not None else ", and no token is set (`mvsep-async login` stores one)"
    return (
        f"there are no jobs of this account at {config.host.name} yet{why}. "
        f"`mvsep-async jobs --journal FILE` shows those of others: {', '.join(map(str, others))}"
    )


def _timed(jobs: Iterable[KnownJob]) -> Iterator[tuple[float, KnownJob]]:
    """Yield each job with the time to merge it by: what was not sent yet stays behind the jobs before it."""
    latest = 0.0
    for job in jobs:
        latest = max(latest, job.at or 0.0)
        yield latest, job


@jobs.command
async def resume(
    *,
    journal: Journal = None,
    transfer: TransferOptions = TRANSFER,
    common: CommonOptions = COMMON,
) -> int:
    """Finish all jobs of the account and of its libraries.

    What was not sent is sent, what was not fetched is fetched.
    """
    config = load_config(common)
    records = await _records(config, journal)
    unfinished = [record.request.id for record in records if not is_over(record)]
    libraries = [] if journal is not None else await _unfinished_libraries(config)
    code = DONE
    if unfinished:
        code = await _resume(config, journal or config.journal_path, unfinished, transfer, common)
    elif not libraries:
        terminal().note("nothing is left to do")
    for library, jobs in libraries:
        code = max(code, await _resume_library(library, jobs, transfer, common))
    return code


async def _resume(
    config: CommandConfig,
    journal: JournalAddress | None,
    unfinished: Sequence[str],
    transfer: TransferOptions,
    common: CommonOptions,
) -> int:
    """Finish these jobs of a journal."""
    run = JobRun(title="resuming", slots=transfer.concurrency)
    with when_stopped(lambda: print_resume_hint(run, journal=journal)):
        async with connect_with_journal(config, journal, transfer=transfer) as client:
            found = [await client.find(id=id) for id in unfinished]
            left = [job for job in found if job is not None and not job.done()]  # other processes may work on them
            if not left:
                terminal().note("nothing is left to do")
            return await run.act(client, left, Job.wait)


async def _unfinished_libraries(config: CommandConfig) -> list[tuple[KnownLibrary, list[Record]]]:
    """Return the libraries with jobs that are not finished, but for those that another command works on."""
    found = []
    fetched = {job.hash for job in await finished_jobs(config)}
    for library in await to_thread.run_sync(known_libraries, config):
        records = await read_journal(library.journal, config)
        left = [record for record in records if not record.facts.archived and not _is_over(record, fetched)]
        if left and await _is_free(library):
            found.append((library, left))
    return found


def _is_over(record: Record, fetched: Collection[str | None]) -> bool:
    """Tell whether a job of a library is over; the library itself fetches stems after a job is done at the service."""
    if record.state in (JobState.FAILED, JobState.CANCELLED):
        return True
    return is_over(record) and (bool(record.facts.paths) or record.facts.hash in fetched)


async def _is_free(library: KnownLibrary) -> bool:
    """Tell whether no command uses a library at this moment; a note says so of one that is in use."""
    try:
        async with open_journal(library.journal):
            return True
    except JournalError as error:
        if not isinstance(error.__cause__, LockedError):
            raise
        terminal().note(f"skipping the library {shown_path(library.target)}: another command is working on it")
        return False


async def _resume_library(
    library: KnownLibrary, jobs: Sequence[Record], transfer: TransferOptions, common: CommonOptions
) -> int:
    """Finish these jobs of a library: what was not sent is sent, and the stems go to their places."""
    options = library.options or {}
    songs = [_below(str(options.get("source", "")), record) for record in jobs]
    if None in songs:
        terminal().note(
            f"the library {shown_path(library.target)} has {amount(len(jobs), 'unfinished job')}: run the same "
            "`mvsep-async library` command again to finish them"
        )
        return DONE
    wanted = list(dict.fromkeys(song for song in songs if song is not None))
    terminal().note(f"resuming {amount(len(wanted), 'song')} of the library {shown_path(library.target)}")
    return await finish_library(library.target, options, wanted, line=transfer, common=common)()


def _below(folder: str, record: Record) -> str | None:
    """Return the path of a job's song below a folder; `None` for what is no file there, as the steps of recipes."""
    source = record.request.source
    if folder and isinstance(source, str | os.PathLike) and Path(source).is_relative_to(folder):
        return Path(source).relative_to(folder).as_posix()
    return None


@jobs.command
async def prune(*, journal: Journal = None, common: CommonOptions = COMMON) -> int:
    """Remove finished jobs from the journals of the account and of its libraries.

    Their files stay, and their songs are still known as separated.
    """
    config = load_config(common)
    path = journal or config.journal_path
    count = 0
    if isinstance(path, PostgresURL):
        from mvsep_async.postgres.account import open_account

        async with open_account(path, config.token, str(config.host.main)) as tables:
            count = await tables.prune()
    elif path is not None:
        await _records(config, journal)  # raises for a journal that does not exist
        count = await _prune(path, config)
    if journal is None:
        fetched = {job.hash for job in await finished_jobs(config)}
        for library in await to_thread.run_sync(known_libraries, config):
            if await anyio.Path(library.journal).exists() and await _is_free(library):
                count += await _prune(library.journal, config, partial(_is_over, fetched=fetched))
    terminal().answer({"pruned": count}, f"{amount(count, 'job')} forgotten")
    return DONE


async def _prune(journal: Path, config: CommandConfig, over_by: Callable[[Record], bool] = is_over) -> int:
    """Remove the finished jobs of a file, and return how many they were."""
    over = [record for record in await read_journal(journal, config) if over_by(record) and not record.facts.archived]
    separated = [record for record in over if record.request.content and record.facts.separation]

    async def forget() -> None:
        async with open_journal(journal) as (opened, _):
            for record in separated:
                opened.update(record.request.id, record.state, evolve(record.facts, archived=True))
            opened.forget([record.request for record in over if record not in separated])

    if over:
        await when_unlocked(forget)
    return len(over)


async def _records(config: CommandConfig, journal: JournalAddress | None) -> Sequence[Record]:
    if isinstance(journal, Path) and not await anyio.Path(journal).exists():
        raise UsageProblem(f"there is no journal {str(journal)!r}")
    records = await read_journal(journal or config.journal_path, config)
    return [record for record in records if not record.facts.archived]
