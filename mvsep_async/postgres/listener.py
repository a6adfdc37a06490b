"""Receive the notices of the other processes, and detect whether notices arrive."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Final
from uuid import uuid4

import anyio
from attrs import Factory, define, field

from mvsep_async.errors import ConfigurationError, JournalError
from mvsep_async.postgres.connection import Connection, Transactions, connect
from mvsep_async.postgres.notices import Notice, NoticeKind
from mvsep_async.postgres_url import PostgresURL

__all__ = ["Listener"]

logger = logging.getLogger("mvsep_async")

_PING: Final = 2.0
"""Seconds for a notice to come back. Through a pooler in transaction mode it never does."""

_CHECK: Final = 15.0
"""Seconds without a notice until the connection is checked by another ping."""

_RETRY: Final = 1.0
_RETRY_POOLED: Final = 60.0
"""Seconds until the next attempt after a lost connection, and if notices do not arrive."""


@define(eq=False)
class Listener:
    """Calls `on_notice` with each notice of a channel, and `on_listening` when notices start or stop arriving.

    Whether notices arrive is tested by pings: on another channel, since a pooler in transaction mode goes on to listen
    on its own connections to the server, and sent through `transactions`, since a connection always gets its own.
    """

    url: PostgresURL
    channel: str
    transactions: Transactions
    on_notice: Callable[[Notice], None]
    on_listening: Callable[[bool], None]
    _pings: str = field(init=False, default=Factory(lambda self: f"{self.channel}_{uuid4().hex[:12]}", takes_self=True))

    async def run(self) -> None:
        """Listen until cancelled; connect again after a failure."""
        while True:
            pooled = False
            try:
                connection = await connect(self.url)
            except (JournalError, ConfigurationError) as error:
                logger.info("no notices from the shared journal: %s", error)
            else:
                try:
                    pooled = not await self._listen(connection)
                finally:
                    self.on_listening(False)
                    with anyio.CancelScope(shield=True), anyio.move_on_after(1), suppress(Exception):
                        await connection.close()
            await anyio.sleep(_RETRY_POOLED if pooled else _RETRY)

    async def _listen(self, connection: Connection) -> bool:
        """Receive notices until the connection is lost; `False` if none arrive although it works."""
        import psycopg
        from psycopg import sql

        try:
            listen = sql.SQL("LISTEN {}")
            await connection.execute(listen.format(sql.Identifier(self._pings)))
            listening = False
            while True:
                ping = uuid4().hex
                await self._send(ping)
                if not await self._receive(connection, ping, timeout=_PING):
                    if not listening:
                        logger.info("notices do not arrive through %s: querying every few seconds instead", self.url)
                        return False
                    return True
                if not listening:
                    await connection.execute(listen.format(sql.Identifier(self.channel)))
                    listening = True
                    self.on_listening(True)
                await self._receive(connection, None, timeout=_CHECK)
        except (psycopg.Error, JournalError) as error:
            logger.info("the connection for notices was lost: %s", type(error).__name__)
            return True

    async def _send(self, ping: str) -> None:
        text = Notice(NoticeKind.PING, ping).text()
        await self.transactions.run(
            lambda connection: connection.execute("SELECT pg_notify(%s, %s)", (self._pings, text))
        )

    async def _receive(self, connection: Connection, ping: str | None, *, timeout: float) -> bool:
        """Pass notices to `on_notice`; return whether this ping came back within `timeout` seconds."""
        deadline = anyio.current_time() + timeout
        while (left := deadline - anyio.current_time()) > 0:
            # With `stop_after` the generator ends by itself, as it must not be cancelled while it reads.
            async for message in connection.notifies(timeout=left, stop_after=1):
                notice = Notice.read(message.payload)
                if notice is None:
                    continue
                if notice.kind is NoticeKind.PING:
                    if notice.about == ping:
                        return True
                    continue
                self.on_notice(notice)
        return False
