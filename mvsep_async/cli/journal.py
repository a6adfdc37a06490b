"""The journal of a command: where it is, and what is dropped from it before a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

from anyio import to_thread
from attrs import frozen
from cyclopts import Parameter

from mvsep_async.cli.config import CommandConfig
from mvsep_async.cli.exits import UsageProblem
from mvsep_async.cli.job_ids import read_journal
from mvsep_async.jobs.lifecycle import JobState

__all__ = ["JOURNAL", "JournalOptions", "open_journal_file"]


@Parameter(name="*")
@frozen(kw_only=True)
class JournalOptions:
    """The file that records jobs, so that no song is paid twice."""

    journal: Path | None = None
    """File that records the jobs, by default one for each account; with it, the same command resumes."""
    no_journal: Annotated[bool, Parameter(negative=())] = False
    """Record nothing: songs that are separated again are paid again."""

    def path(self, config: CommandConfig) -> Path | None:
        """Return the journal's path, `None` for none; raises `UsageProblem` where both options are given."""
        if self.no_journal and self.journal is not None:
            raise UsageProblem("--journal and --no-journal exclude each other: leave one out")
        return None if self.no_journal else self.journal or config.journal_path


JOURNAL: Final = JournalOptions()


async def open_journal_file(journal: Path | None) -> None:
    """Make a journal's folder, and drop the jobs that an earlier command queued and never sent.

    A command pays only for the songs that it was given. Nothing is lost: the command that queued the others queues
    them again.
    """
    if journal is None:
        return
    await to_thread.run_sync(lambda: journal.parent.mkdir(parents=True, exist_ok=True, mode=0o700))
    unsent = [
        record.request
        for record in await read_journal(journal)
        if record.state is JobState.QUEUED and not record.facts.attempts
    ]
    if unsent:
        from mvsep_async.journal.sqlite import SqliteJournal

        opened = SqliteJournal(journal)
        await opened.open()
        try:
            opened.forget(unsent)
            await opened.flush()
        finally:
            await opened.close()
