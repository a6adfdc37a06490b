"""SQL and helpers that all tables of the shared journal use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from attrs import frozen

from mvsep_async.postgres.connection import Connection
from mvsep_async.postgres.notices import Notice
from mvsep_async.postgres.rows import VIEW_COLUMNS

__all__ = ["EPOCH", "FREE", "VIEW", "Identity", "Statements"]

EPOCH: Final = "extract(epoch FROM clock_timestamp())::float8"
"""The time of the database, as Unix time."""

VIEW: Final = f"SELECT {', '.join(f'j.{name}' for name in VIEW_COLUMNS)}, j.failure FROM mvsep.jobs j"  # noqa: S608
"""Reads the jobs that `ViewReader` understands, and the error after which each was released."""

FREE: Final = """
    (owner IS NULL OR owner NOT IN (
        SELECT id FROM mvsep.processes WHERE account = %(account)s AND lease_until > clock_timestamp()))
"""
"""Whether the process of a job has ended."""


@frozen
class Identity:
    """The account, the process and the machine in whose name statements run."""

    account: str
    process: str
    machine: str


@frozen
class Statements:
    """The transactions of one process on some of the tables, for `Database.run`."""

    me: Identity

    async def notify(self, connection: Connection, notice: Notice) -> None:
        await connection.execute("SELECT pg_notify(%s, %s)", (Notice.channel(self.me.account), notice.text()))

    async def lock_account(self, connection: Connection, *, shared: bool = False) -> bool:
        """Lock the account's row until the transaction ends; `False` if there is none.

        A process that moves jobs of others locks it exclusively, and one that renews its lease with others (`shared`).
        So each sees what the other has done, and no job is continued by both.
        """
        query = f"SELECT 1 FROM mvsep.accounts WHERE id = %s FOR {'SHARE' if shared else 'NO KEY UPDATE'}"  # noqa: S608
        return bool(await self.rows(connection, query, (self.me.account,)))

    async def rows(
        self, connection: Connection, query: str, arguments: Sequence[Any] | Mapping[str, Any]
    ) -> list[tuple[Any, ...]]:
        return await (await connection.execute(query.encode(), arguments)).fetchall()
