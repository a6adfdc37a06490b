"""Reads the jobs of a journal that another command may be using."""

from __future__ import annotations

from collections.abc import Sequence

import anyio

from mvsep_async.cli.config import CommandConfig
from mvsep_async.jobs.journal import Record
from mvsep_async.postgres_url import JournalAddress, PostgresURL

__all__ = ["read_journal"]


async def read_journal(journal: JournalAddress | None, config: CommandConfig) -> Sequence[Record]:
    """Return the jobs of a journal, oldest first; an empty list if it does not exist."""
    if isinstance(journal, PostgresURL):
        from mvsep_async.postgres.account import open_account

        async with open_account(journal, config.token, str(config.host.main)) as tables:
            return await tables.records()
    from mvsep_async.journal.sqlite import peek_journal

    if journal is None or not await anyio.Path(journal).exists():
        return ()
    return await peek_journal(journal)
