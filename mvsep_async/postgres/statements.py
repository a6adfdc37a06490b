"""SQL and helpers that all tables of the shared journal use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, Final

from attrs import frozen

from mvsep_async.postgres.connection import Connection
from mvsep_async.postgres.notices import Notice
from mvsep_async.postgres.rows import VIEW_COLUMNS

__all__ = ["EPOCH", "FREE", "VIEW", "AccountLock", "Identity", "Statements"]

EPOCH: Final = "extract(epoch FROM clock_timestamp())::float8"
"""The time of the database, as Unix time."""

VIEW: Final = f"SELECT {', '.join(f'j.{name}' for name in VIEW_COLUMNS)}, j.failure FROM mvsep.jobs j"  # noqa: S608
"""Reads the jobs that `ViewReader` understands, and the error after which each was released."""

FREE: Final = """
    (owner IS NULL OR owner NOT IN (
        SELECT id FROM mvsep.processes WHERE account = %(account)s AND lease_until > clock_timestamp()))
"""
"""Whether the process of a job has ended."""


class AccountLock(StrEnum):
    """What an account's row is locked for; a transaction waits for those that must not run at the same time.

    A process may be suspended in the middle of a transaction, and holds its lock until the server ends the session.
    Then the others must be able to renew their leases.
    """

    RENEW = "KEY SHARE"
    """To renew a lease. It waits for `MOVE` alone: each sees what the other did, and no job is continued by both."""
    ADD = "SHARE"
    """To add jobs. It waits for `COUNT`, which removes the turns of groups without jobs, and for `MOVE`."""
    COUNT = "NO KEY UPDATE"
    """To count slots or requests and take one. It waits for all but `RENEW`."""
    MOVE = "UPDATE"
    """To move or cancel jobs of other processes. It waits for all others."""


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

    async def lock_account(self, connection: Connection, lock: AccountLock) -> bool:
        """Lock the account's row until the transaction ends; `False` if there is none."""
        query = f"SELECT 1 FROM mvsep.accounts WHERE id = %s FOR {lock.value}"  # noqa: S608
        return bool(await self.rows(connection, query, (self.me.account,)))

    async def rows(
        self, connection: Connection, query: str, arguments: Sequence[Any] | Mapping[str, Any]
    ) -> list[tuple[Any, ...]]:
        return await (await connection.execute(query.encode(), arguments)).fetchall()
