"""List, prune and move the jobs of one account in a shared journal, without working on them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from attrs import frozen

from mvsep_async.concurrency import Yielder, in_thread
from mvsep_async.errors import JournalError
from mvsep_async.http.token import Token
from mvsep_async.jobs.coordinator import JobView
from mvsep_async.jobs.journal import Record
from mvsep_async.jobs.lifecycle import JobState
from mvsep_async.journal.summary import JournalProcess, JournalSummary
from mvsep_async.postgres.connection import Connection, DatabaseUnavailableError, connect, first_line
from mvsep_async.postgres.identity import account_digest, machine_name, spool_folder, token_of_account
from mvsep_async.postgres.rows import VIEW_COLUMNS, ViewReader
from mvsep_async.postgres.schema import STEPS, migrate
from mvsep_async.postgres.statements import Identity
from mvsep_async.postgres.store import Store
from mvsep_async.postgres_url import PostgresURL

__all__ = ["AccountTables", "open_account"]

_VIEW: Final = f"SELECT {', '.join(VIEW_COLUMNS)}, NULL FROM mvsep.jobs WHERE account = %s"  # noqa: S608
_OVER: Final = "(state IN ('finished', 'failed', 'cancelled') OR (state = 'done' AND target IS NULL))"
_SEPARATED: Final = "(content IS NOT NULL AND separation IS NOT NULL)"


@frozen
class AccountTables:
    """The rows of one account, over an open connection."""

    connection: Connection
    store: Store
    spool: Path

    @property
    def account(self) -> str:
        """The name of the account in the tables."""
        return self.store.me.account

    async def views(self, *, unfinished: bool = False, limit: int | None = None) -> list[JobView]:
        """Return the jobs in the order of submission."""
        reader, yielder, views = ViewReader(spool=self.spool), Yielder(), []
        where = f" AND NOT {_OVER} AND archived IS NULL" if unfinished else ""
        most = "" if limit is None else f" LIMIT {limit:d}"
        for row in await self.rows(f"{_VIEW}{where} ORDER BY number{most}", (self.account,)):
            views.append(reader.view(row))
            await yielder.maybe_yield()
        return views

    async def records(self) -> list[Record]:
        """Return the records of all jobs in the order of submission."""
        return [view.record for view in await self.views()]

    async def processes(self) -> list[JournalProcess]:
        """Return the processes whose leases are valid, the oldest first."""
        rows = await self.rows(
            """
            SELECT name, extract(epoch FROM opened_at)::float8 FROM mvsep.processes
            WHERE account = %s AND lease_until > clock_timestamp() ORDER BY opened_at
            """,
            (self.account,),
        )
        return [JournalProcess(name, since) for name, since in rows]

    async def summary(self) -> JournalSummary:
        """Return what the journal holds for this account; `bytes` is the size of all accounts' tables."""
        rows = await self.rows(
            "SELECT state, archived IS NOT NULL, count(*) FROM mvsep.jobs WHERE account = %s GROUP BY 1, 2",
            (self.account,),
        )
        ((size,),) = await self.rows(
            """
            SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint FROM pg_class c
            WHERE c.relnamespace = to_regnamespace('mvsep') AND c.relkind = 'r'
            """,
            (),
        )
        counts = {state: count for state, archived, count in rows if not archived}
        oldest = await self.views(unfinished=True, limit=1)
        return JournalSummary(
            version=len(STEPS),
            bytes=size,
            processes=await self.processes(),
            states={state.value: counts[state.value] for state in JobState if state.value in counts},
            pruned=sum(count for _, archived, count in rows if archived),
            oldest=oldest[0].record if oldest else None,
        )

    async def prune(self) -> int:
        """Forget the jobs that are over, and return how many. Their songs still count as separated."""
        async with self.connection.transaction():
            kept = await self.connection.execute(
                f"""
                UPDATE mvsep.jobs SET archived = 1 WHERE account = %s AND archived IS NULL AND {_OVER} AND {_SEPARATED}
                """,  # noqa: S608
                (self.account,),
            )
            deleted = await self.connection.execute(
                f"DELETE FROM mvsep.jobs WHERE account = %s AND archived IS NULL AND {_OVER}",  # noqa: S608
                (self.account,),
            )
        return kept.rowcount + deleted.rowcount

    async def rows(self, query: str, arguments: Sequence[Any]) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        return await self.store.jobs.rows(self.connection, query, arguments)


@asynccontextmanager
async def open_account(url: PostgresURL, token: Token | None, service: str) -> AsyncIterator[AccountTables]:
    """Connect to a shared journal, and create its tables if there are none.

    `service`: the service's main address. Raises `ConfigurationError` or `JournalError` for a database that cannot be
    used, also from the block.
    """
    url.check()
    token = token_of_account(token)
    connection = await connect(url)
    import psycopg

    try:
        async with connection:
            async with connection.transaction():
                salt = await migrate(connection, url)
            account = account_digest(token, service, salt)
            # A process without a lease: jobs that it writes count as those of a process that has ended.
            me = Identity(account, uuid4().hex, await in_thread(machine_name))
            yield AccountTables(connection, Store(me), spool_folder(account))
    except psycopg.OperationalError as error:
        raise DatabaseUnavailableError(
            f"the connection to the journal's database {url} was lost: {first_line(error)}"
        ) from None
    except psycopg.Error as error:
        raise JournalError(f"the journal's database {url} rejected a statement: {first_line(error)}") from None
