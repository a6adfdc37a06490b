"""The database of a shared journal as its coordinator uses it: tables, transactions and notices."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol
from uuid import uuid4

from attrs import Factory, define, field, frozen

from mvsep_async.concurrency import in_thread
from mvsep_async.errors import JournalError
from mvsep_async.http.token import Token
from mvsep_async.postgres.connection import Database, Transactions
from mvsep_async.postgres.identity import account_digest, machine_name, spool_folder
from mvsep_async.postgres.listener import Listener
from mvsep_async.postgres.notices import Notice
from mvsep_async.postgres.schema import migrate
from mvsep_async.postgres.statements import Identity
from mvsep_async.postgres.store import Store
from mvsep_async.postgres_url import PostgresURL

__all__ = ["POLL", "RETRY", "Availability", "Backend", "PostgresBackend"]

logger = logging.getLogger("mvsep_async")

POLL: Final = 2.0
"""Seconds between two queries for changes if notices do not arrive, as through a pooler in transaction mode."""

RETRY: Final = 1.0
"""Seconds between two attempts to reach the database."""


class Backend(Protocol):
    """A database with the tables of a shared journal. `str` names it in messages."""

    @property
    def transactions(self) -> Transactions:
        """Runs the transactions of one process."""
        ...

    async def open(self) -> tuple[Store, Path]:
        """Connect, and return the tables in the name of a new process, and the folder for spooled songs."""
        ...

    def closing(self) -> None:
        """Limit the time that further transactions may take, since the client closes."""
        ...

    async def close(self) -> None:
        """Close the connection."""
        ...

    async def listen(
        self, account: str, on_notice: Callable[[Notice], None], on_listening: Callable[[bool], None]
    ) -> None:
        """Call `on_notice` with each notice of an account, and `on_listening` when notices start or stop arriving."""
        ...


@frozen(eq=False)
class PostgresBackend:
    """A PostgreSQL database. `token` and `service` name the account."""

    url: PostgresURL
    _token: Token = field(repr=False)
    _service: str
    transactions: Database = field(init=False, default=Factory(lambda self: Database(self.url), takes_self=True))

    async def open(self) -> tuple[Store, Path]:
        """Create or migrate the tables; see `Backend.open`."""
        salt = await self.transactions.run(lambda connection: migrate(connection, self.url))
        account = account_digest(self._token, self._service, salt)
        return Store(Identity(account, uuid4().hex, await in_thread(machine_name))), spool_folder(account)

    def closing(self) -> None:
        """See `Backend.closing`."""
        self.transactions.closing()

    async def close(self) -> None:
        """See `Backend.close`."""
        await self.transactions.close()

    async def listen(
        self, account: str, on_notice: Callable[[Notice], None], on_listening: Callable[[bool], None]
    ) -> None:
        """See `Backend.listen`."""
        await Listener(self.url, Notice.channel(account), self.transactions, on_notice, on_listening).run()

    def __str__(self) -> str:
        return str(self.url)


@define(eq=False)
class Availability:
    """Whether the database can be reached; a change is logged."""

    _backend: Backend
    problem: str | None = None
    """Why it cannot be reached; `None` if it can."""

    def unreachable(self, error: JournalError) -> None:
        """Record a transaction that failed."""
        if self.problem is None:
            logger.warning("%s; no create begins until it can be reached", error)
        self.problem = error.message

    def reachable(self) -> None:
        """Record that the database answers again."""
        if self.problem is not None:
            logger.warning("the shared journal %s can be reached again", self._backend)
        self.problem = None
