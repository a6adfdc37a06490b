"""The table of leased requests, which divides the account's budget into small blocks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from attrs import frozen

from mvsep_async.postgres.connection import Connection
from mvsep_async.postgres.decisions import granted
from mvsep_async.postgres.statements import AccountLock, Statements

__all__ = ["RequestTable"]

_COUNTED: Final = 60.5
"""Seconds for which the service counts a request, and some for the way there."""


@frozen
class RequestTable(Statements):
    """The table of leased requests."""

    async def lease_requests(
        self,
        connection: Connection,
        block: str,
        *,
        asked: int,
        urgent: bool,
        limit: int,
        stated: bool,
        valid: float,
        sent: Mapping[str, int],
    ) -> tuple[int, float]:
        """Lease requests of the current minute; return how many, and the seconds until there may be more.

        `stated`: whether `limit` is known from headers or a setting; else it is assumed, and what other processes have
        recorded is better. `valid`: seconds for which they may be used. `sent`: expired blocks, and how many requests
        of each were sent: the others are returned.
        """
        known = await self._per_minute(connection)
        rows = await self._blocks(connection, sent)
        for count, earlier, _ in rows:
            if earlier == block:  # the outcome of the first transaction was not known
                return count, 0.0
        used = sum(count for count, *_ in rows)
        allowed = min(limit, known or limit) if stated else known or limit
        given = granted(asked, used=used, limit=allowed, urgent=urgent)
        if given:
            await self._add(connection, block, given, valid + _COUNTED)
        return given, min((seconds for _, _, seconds in rows), default=1.0)

    async def _per_minute(self, connection: Connection) -> int | None:
        """Lock the account and return its limit of requests, if a process has recorded it."""
        await self.lock_account(connection, AccountLock.COUNT)
        rows = await self.rows(connection, "SELECT per_minute FROM mvsep.accounts WHERE id = %s", (self.me.account,))
        known: int | None = rows[0][0]
        return known

    async def _blocks(self, connection: Connection, sent: Mapping[str, int]) -> list[tuple[int, str, float]]:
        """Reduce blocks to the requests that were sent, and return those that still count: count, block, how long."""
        for block, count in sent.items():
            await connection.execute("UPDATE mvsep.requests SET count = %s WHERE block = %s", (count, block))
        await connection.execute(
            "DELETE FROM mvsep.requests WHERE account = %s AND (counts_until <= clock_timestamp() OR count <= 0)",
            (self.me.account,),
        )
        rows = await self.rows(
            connection,
            """
            SELECT count, block, extract(epoch FROM counts_until - clock_timestamp())::float8
            FROM mvsep.requests WHERE account = %s ORDER BY counts_until
            """,
            (self.me.account,),
        )
        return [(count, block, seconds) for count, block, seconds in rows]

    async def _add(self, connection: Connection, block: str, count: int, counts_for: float) -> None:
        await connection.execute(
            "INSERT INTO mvsep.requests VALUES (%s, %s, %s, clock_timestamp() + make_interval(secs => %s))",
            (block, self.me.account, count, counts_for),
        )

    async def learned(self, connection: Connection, per_minute: int) -> None:
        """Record the account's limit of requests, as the service's headers give it."""
        await connection.execute(
            "UPDATE mvsep.accounts SET per_minute = %s WHERE id = %s", (per_minute, self.me.account)
        )
