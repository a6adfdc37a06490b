"""The table of leased requests, which divides the account's budget into small blocks."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen

from mvsep_async.postgres.connection import Connection
from mvsep_async.postgres.decisions import (
    granted,
)
from mvsep_async.postgres.statements import Statements

__all__ = ["RequestTable"]


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
        unused: Mapping[str, int],
    ) -> tuple[int, float]:
        """Lease requests of the current minute; return how many, and the seconds until there may be more.

        `stated`: whether `limit` is known from headers or a setting; else it is assumed, and what other processes have
        recorded is better. `valid`: seconds for which they may be used. `unused`: earlier blocks, and how many of each
        were not used.
        """
        me = self.me
        (known,) = (
            await self.rows(connection, "SELECT per_minute FROM mvsep.accounts WHERE id = %s FOR UPDATE", (me.account,))
        )[0]
        for earlier, count in unused.items():
            await connection.execute("UPDATE mvsep.requests SET count = count - %s WHERE block = %s", (count, earlier))
        await connection.execute(
            "DELETE FROM mvsep.requests WHERE account = %s AND (counts_until <= clock_timestamp() OR count <= 0)",
            (me.account,),
        )
        rows = await self.rows(
            connection,
            """
            SELECT count, block, extract(epoch FROM counts_until - clock_timestamp())::float8
            FROM mvsep.requests WHERE account = %s ORDER BY counts_until
            """,
            (me.account,),
        )
        for count, given, _ in rows:
            if given == block:  # the outcome of the first transaction was not known
                return count, 0.0
        used = sum(count for count, *_ in rows)
        allowed = min(limit, known or limit) if stated else known or limit
        given = granted(asked, used=used, limit=allowed, urgent=urgent)
        if given:
            await connection.execute(
                """
                INSERT INTO mvsep.requests VALUES (%s, %s, %s, clock_timestamp() + make_interval(secs => %s))
                """,
                (block, me.account, given, valid + 60.5),
            )
        return given, min((seconds for _, _, seconds in rows), default=1.0)

    async def learned(self, connection: Connection, per_minute: int) -> None:
        """Record the account's limit of requests, as the service's headers give it."""
        await connection.execute(
            "UPDATE mvsep.accounts SET per_minute = %s WHERE id = %s", (per_minute, self.me.account)
        )
