"""The journal of a command: where it is, how to wait for it, and what is dropped from it before a run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Annotated, Final, TypeVar

import anyio
from anyio import to_thread
from attrs import evolve, frozen
from cyclopts import Parameter

from mvsep_async.cli.complete import GivenJournal
from mvsep_async.cli.config import TRANSFER, CommandConfig, ConfigValue, TransferOptions, connect
from mvsep_async.cli.exits import UsageProblem
from mvsep_async.cli.help import ADVANCED
from mvsep_async.cli.terminal import terminal
from mvsep_async.cli.text import amount
from mvsep_async.client import MVSepClient
from mvsep_async.errors import JournalError
from mvsep_async.jobs.journal import Record
from mvsep_async.jobs.lifecycle import JobState
from mvsep_async.journal.lock import LockedError
from mvsep_async.journal.summary import is_over
from mvsep_async.observe.events import Listener
from mvsep_async.postgres_url import JournalAddress, PostgresURL

__all__ = [
    "JOURNAL",
    "OTHER_JOURNAL",
    "JournalOptions",
    "connect_with_journal",
    "drop_unsent",
    "when_unlocked",
]

T = TypeVar("T")

OTHER_JOURNAL: Final = "; with --journal FILE it starts at once, and knows nothing of the songs in this journal"
"""What to do instead of waiting, for songs that are not part of a library."""

_RETRY: Final = 0.5
"""Seconds between two attempts to lock a journal that another command uses."""
_REPEAT: Final = 60.0
"""Seconds until it is said again what a command waits for, if that has changed."""


@Parameter(name="*", group=ADVANCED)
@frozen(kw_only=True)
class JournalOptions:
    """The file, or the PostgreSQL database, that records jobs, so that no song is paid twice."""

    journal: GivenJournal | None = None
    """File that records the jobs, so that nothing is paid twice, or a postgresql:// URL; by default a file for each
    account."""
    no_journal: Annotated[bool, Parameter(negative=())] = False
    """Record nothing: songs that are separated again are paid again."""
    shared_files: Annotated[bool, Parameter(negative=())] = False
    """All machines with this postgresql:// journal see the same files under the same paths, so that any of them can
    send the songs of one that has failed."""

    def applied(self, config: CommandConfig) -> CommandConfig:
        """Return the configuration with these options."""
        return evolve(config, shared_files=ConfigValue("true", "--shared-files")) if self.shared_files else config

    def path(self, config: CommandConfig) -> JournalAddress | None:
        """Return the journal, `None` for none; raises `UsageProblem` where both options are given."""
        if self.no_journal and self.journal is not None:
            raise UsageProblem("--journal and --no-journal cannot be used together: leave one out")
        return None if self.no_journal else self.journal or config.journal_path


JOURNAL: Final = JournalOptions()


@asynccontextmanager
async def connect_with_journal(
    config: CommandConfig,
    journal: JournalAddress | None,
    *,
    transfer: TransferOptions = TRANSFER,
    on_event: Listener = lambda event: None,
    hint: str = "",
) -> AsyncIterator[MVSepClient]:
    """Open a client with a journal; wait while another command uses it. `hint`: what to do instead of waiting."""

    async def opened() -> MVSepClient:
        client = connect(config, needs_token=True, journal=journal, transfer=transfer, on_event=on_event)
        return await client.open()

    async with AsyncExitStack() as stack:
        client = await when_unlocked(opened, hint, journal)
        stack.push_async_exit(client)
        yield client


async def when_unlocked(work: Callable[[], Awaitable[T]], hint: str = "", journal: JournalAddress | None = None) -> T:
    """Do `work`, which needs a journal or a library, and wait while another command uses it.

    What it waits for is said at once, and each minute while it changes. `hint`: what to do instead of waiting;
    `journal`: the one whose unfinished jobs are counted. Two commands share the account's slots, so that the second one
    gains little by running beside the first, and only one that knows the other's songs never pays twice for one.
    """
    said, again = "", 0.0
    while True:
        try:
            return await work()
        except JournalError as error:
            if not isinstance(error.__cause__, LockedError):
                raise
            if anyio.current_time() >= again:
                holder = "another command" if error.__cause__.pid is None else f"process {error.__cause__.pid}"
                left = await _unfinished(journal)
                waiting = f"{holder} uses the journal{left}: this command starts when that one ends"
                if waiting != said:
                    terminal().note(waiting if said else f"{waiting} (Ctrl-C stops it{hint})")
                said, again = waiting, anyio.current_time() + _REPEAT
        await anyio.sleep(_RETRY)


async def _unfinished(journal: JournalAddress | None) -> str:
    """Return how many jobs of a journal are not over, for the line that says what is waited for."""
    if not isinstance(journal, Path):
        return ""
    from mvsep_async.journal.sqlite import peek_journal

    try:
        records = await peek_journal(journal)
    except JournalError:
        return ""
    count = sum(not is_over(record) for record in records)
    return f" and has {amount(count, 'unfinished job')}" if count else ""


async def drop_unsent(journal: JournalAddress | None) -> Sequence[Record]:
    """Make a journal's folder, drop the jobs of earlier commands that the service does not have, and return the others.

    A command pays only for the songs that it was given. Nothing is lost: the command that queued the others queues
    them again. In a database, queued jobs may be those of other programs, and stay.
    """
    if journal is None or isinstance(journal, PostgresURL):
        return ()
    try:
        await to_thread.run_sync(lambda: journal.parent.mkdir(parents=True, exist_ok=True, mode=0o700))
    except OSError as error:
        raise UsageProblem(
            f"the folder of the journal {str(journal)!r} cannot be made: {error.strerror}. --journal FILE chooses "
            "another place; with --no-journal, songs that are separated again are paid again"
        ) from None
    return await when_unlocked(lambda: _drop_unsent(journal), OTHER_JOURNAL, journal)


async def _drop_unsent(journal: Path) -> Sequence[Record]:
    from mvsep_async.journal.sqlite import open_journal, peek_journal

    if not await anyio.Path(journal).exists():
        return ()
    found = await peek_journal(journal)
    if not any(map(_is_unsent, found)):
        return found
    async with open_journal(journal) as (opened, records):
        opened.forget([record.request for record in records if _is_unsent(record)])
    return [record for record in records if not _is_unsent(record)]


def _is_unsent(record: Record) -> bool:
    """Tell whether the service certainly does not have a job, although its song may have been sent in part."""
    return record.state in (JobState.QUEUED, JobState.UPLOADING)
