"""`journal`: show what a journal holds, and move it into PostgreSQL and back."""

from __future__ import annotations

import time
from collections.abc import Awaitable
from pathlib import Path
from typing import Annotated, Final

import anyio
from cyclopts import App, Parameter

from mvsep_async.cli.complete import GivenJournal
from mvsep_async.cli.config import COMMON, CommandConfig, CommonOptions, load_config
from mvsep_async.cli.exits import UsageProblem
from mvsep_async.cli.help import FLAGS
from mvsep_async.cli.known_jobs import record_label
from mvsep_async.cli.tables import print_record
from mvsep_async.cli.terminal import terminal
from mvsep_async.cli.text import age_text, amount
from mvsep_async.http.call import Json
from mvsep_async.journal.summary import JournalSummary, sqlite_summary
from mvsep_async.postgres_url import JournalAddress, PostgresURL

__all__ = ["journal"]

journal = App(name="journal", help="Show the journal, or move it into PostgreSQL and back.", help_flags=FLAGS)

_MEBIBYTE: Final = 1 << 20


@journal.default
async def show(
    *,
    journal: Annotated[
        GivenJournal | None,
        Parameter(help="The journal: a file or a postgresql:// URL; by default the account's own."),
    ] = None,
    common: CommonOptions = COMMON,
) -> int:
    """Show a journal: its version and size, the processes that use it, and its jobs by state."""
    config = load_config(common)
    address = journal or config.journal_path
    if address is None:
        raise UsageProblem("no journal is configured: name one with --journal")
    summary = await _summary(address, config)
    now = time.time()
    oldest: Json = None
    line = None
    if (record := summary.oldest) is not None:
        song, sent_at = record_label(record), record.facts.accepted_at or record.facts.intent_at
        oldest = {"id": record.request.id, "song": song, "state": record.state.value, "sent_at": sent_at}
        sent = "not sent yet" if sent_at is None else f"sent {age_text(now - sent_at)} ago"
        line = f"{record.request.id} {song}: {record.state.value}, {sent}"
    if common.json:
        document: dict[str, Json] = {
            "journal": str(address),
            "version": summary.version,
            "bytes": summary.bytes,
            "processes": [{"name": one.name, "since": one.since} for one in summary.processes],
            "jobs": dict(summary.states),
            "pruned": summary.pruned,
            "oldest_unfinished": oldest,
        }
        terminal().document(document)
        return 0
    print_record(
        {
            "journal": str(address),
            "version": summary.version,
            "size": f"{summary.bytes / _MEBIBYTE:.1f} MB",
            "processes": [f"{one.name}, for {age_text(now - one.since)}" for one in summary.processes] or "none",
            "jobs": [f"{count} {state}" for state, count in summary.states.items()] or "none",
            "pruned": summary.pruned or None,
            "oldest unfinished": line,
        }
    )
    return 0


@journal.command
async def copy(
    source: GivenJournal,
    target: GivenJournal,
    /,
    *,
    shared_files: bool = False,
    common: CommonOptions = COMMON,
) -> int:
    """Move all jobs of an SQLite journal into a PostgreSQL database, or back into a new file.

    No process may use the journal meanwhile. A file stays where it is, marked so that no client uses it by mistake. A
    copy that was interrupted is finished by the same command.

    Parameters
    ----------
    source
        The journal whose jobs are moved: a file, or a postgresql:// URL.
    target
        The journal that gets them: a postgresql:// URL, or a file.
    shared_files
        The paths of the songs mean the same on every machine that uses the database.
    """
    config = load_config(common)
    count = await _move(source, target, config, shared_files=shared_files)
    text = f"{amount(count, 'job')} moved from {source} to {target}"
    terminal().answer({"from": str(source), "to": str(target), "jobs": count}, text)
    if isinstance(source, Path) and not common.json:
        terminal().note(f"{source} is marked as moved and can be removed")
    return 0


def _move(
    source: JournalAddress, target: JournalAddress, config: CommandConfig, *, shared_files: bool
) -> Awaitable[int]:
    from mvsep_async.postgres.move import move_to_postgres, move_to_sqlite

    service = str(config.host.main)
    match source, target:
        case Path(), PostgresURL():
            return move_to_postgres(source, target, config.token, service, shared_files=shared_files)
        case PostgresURL(), Path():
            return move_to_sqlite(source, target, config.token, service)
    raise UsageProblem("one of the two journals has to be a file, and the other one a postgresql:// URL")


async def _summary(address: JournalAddress, config: CommandConfig) -> JournalSummary:
    if isinstance(address, Path):
        if not await anyio.Path(address).exists():
            raise UsageProblem(f"there is no journal {str(address)!r}")
        return await sqlite_summary(address)
    from mvsep_async.postgres.account import open_account

    async with open_account(address, config.token, str(config.host.main)) as tables:
        return await tables.summary()
