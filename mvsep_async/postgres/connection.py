"""Run transactions in the database of a shared journal, and reconnect after a failure."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from math import inf
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias, TypeVar

import anyio
from attrs import define, field

from mvsep_async.concurrency import uncancelled
from mvsep_async.errors import ConfigurationError, JournalError
from mvsep_async.postgres_url import PostgresURL

if TYPE_CHECKING:
    import psycopg

__all__ = ["Connection", "Database", "DatabaseUnavailableError", "Transactions", "connect", "first_line"]

T = TypeVar("T")
Connection: TypeAlias = "psycopg.AsyncConnection[tuple[Any, ...]]"

_CONNECT: Final = 5
_STATEMENT: Final = 10.0
"""Seconds to connect, and for one transaction: a database in the same network answers in milliseconds. They
are shorter than a lease, so that a lost connection is detected while there is time to reconnect."""

_CLOSING: Final = 1.0
"""Seconds for one transaction while the client closes."""

_BEGIN: Final = "BEGIN; SET LOCAL idle_in_transaction_session_timeout = '4s'"
"""A process that is suspended in the middle of a transaction loses its locks after this time. It is set in each
transaction, since a pooler does not keep the settings of a connection."""

_PAUSE: Final = 0.5
"""Seconds after a failed connection in which every transaction fails at once."""

_REJECTED: Final = ("authentication failed", "pg_hba.conf", "not permitted to log in", "permission denied for database")
_INVALID: Final = ("invalid ", "is not supported", "does not support", "not compiled in", "certificate")
_UNKNOWN_PARAMETER: Final = re.compile(r'invalid URI query parameter: "(\w+)"')

_ATTEMPTS: Final = 8
"""How often a transaction is tried that the database aborts because of a conflict with another one."""


class DatabaseUnavailableError(JournalError):
    """The database cannot be reached or did not answer in time. The transaction may or may not be committed."""


class Transactions(Protocol):
    """Runs transactions in a database."""

    async def run(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Run `work` in a transaction, even if the task that waits for it is cancelled.

        It may run twice, so it must be idempotent. Raises `DatabaseUnavailableError`, after which the transaction may
        or may not be committed, and `JournalError` for any other error of the database.
        """
        ...


async def connect(url: PostgresURL) -> Connection:
    """Open a connection.

    Raises `ConfigurationError` for what the user must correct, else `DatabaseUnavailableError`.
    """
    psycopg = _psycopg()
    problem: ConfigurationError | JournalError
    try:
        with anyio.fail_after(_CONNECT + 1):
            connection: Connection = await psycopg.AsyncConnection.connect(
                url.reveal(),
                autocommit=True,
                connect_timeout=_CONNECT,
                prepare_threshold=None,  # a pooler may give each transaction another server connection
                application_name="mvsep-async",
                client_encoding="utf8",  # song names in any script, whatever PGCLIENTENCODING says
                keepalives_idle=10,
                keepalives_interval=5,
                keepalives_count=2,
            )
            return connection
    except TimeoutError:
        problem = DatabaseUnavailableError(f"the journal's database {url} does not answer")
    except (psycopg.ProgrammingError, UnicodeError) as error:
        problem = ConfigurationError(f"the journal's URL {url} is malformed{_parameter(error)}")
    except psycopg.Error as error:
        problem = _not_connected(url, error)
    except anyio.get_cancelled_exc_class() as error:
        raise error.with_traceback(None)  # noqa: B904 -- psycopg's frames hold the password
    raise problem  # here, since an error raised above would keep the first one, and psycopg's frames, as its context


@define(eq=False)
class Database:
    """Runs transactions, one at a time, on a connection that is opened again after it was lost.

    A transaction is completed even if the task that waits for it is cancelled. It may run twice, if the connection is
    lost or another transaction conflicts with it, so it must be idempotent.
    """

    url: PostgresURL
    _connection: Connection | None = None
    _lock: anyio.Lock = field(factory=anyio.Lock)
    _closed: bool = False
    _scope: anyio.CancelScope | None = None
    """The transaction that runs."""
    _limit: float = inf
    """Seconds for a connection and a transaction together."""
    _failed: tuple[float, str] | None = None
    """When and why the last attempt to connect failed: there is a pause before the next one."""

    async def run(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Run `work` in a transaction.

        Raises `DatabaseUnavailableError`, and `JournalError` for any other error of the database.
        """
        async with self._lock:
            return await uncancelled(lambda: self._run(work))

    def closing(self) -> None:
        """Let each further transaction take a second, so that a client closes soon; none is tried after one fails."""
        self._limit = _CLOSING
        if self._scope is not None:
            self._scope.deadline = min(self._scope.deadline, anyio.current_time() + _CLOSING)

    async def close(self) -> None:
        """Close the connection."""
        self._closed = True
        await self._drop()

    async def _run(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        if self._closed:
            raise JournalError("the journal is closed")
        with anyio.move_on_after(self._limit) as self._scope:
            try:
                return await self._try(work)
            except DatabaseUnavailableError:
                self._closed = self._limit < inf
                raise
        self._closed = True
        await self._drop()
        raise DatabaseUnavailableError(f"the journal's database {self.url} does not answer, and the client is closing")

    async def _try(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        psycopg = _psycopg()
        lost = 0
        for _ in range(_ATTEMPTS):
            fresh = self._connection is None
            connection = self._connection = self._connection or await self._connect()
            try:
                with anyio.fail_after(_STATEMENT):
                    await connection.execute(_BEGIN)
                    try:
                        result = await work(connection)
                    except psycopg.Error:
                        raise
                    except Exception:
                        await connection.execute("ROLLBACK")
                        raise
                    await connection.execute("COMMIT")
                    return result
            except (psycopg.errors.SerializationFailure, psycopg.errors.DeadlockDetected):
                await self._roll_back(connection)
            except TimeoutError:
                await self._drop()
                raise DatabaseUnavailableError(f"the journal's database {self.url} does not answer") from None
            except (
                psycopg.OperationalError,
                psycopg.errors.ReadOnlySqlTransaction,  # the server is not the primary any longer
                psycopg.errors.IdleInTransactionSessionTimeout,  # this process was suspended in the transaction
            ) as error:
                await self._drop()
                if fresh or lost:  # else the server was restarted since the last transaction
                    raise DatabaseUnavailableError(
                        f"the connection to the journal's database {self.url} was lost: {first_line(error)}"
                    ) from None
                lost += 1
            except psycopg.Error as error:
                await self._roll_back(connection)
                raise JournalError(
                    f"the journal's database {self.url} rejected a statement: {first_line(error)}; check the rights of "
                    "its user and the database's log"
                ) from None
        raise DatabaseUnavailableError(
            f"the journal's database {self.url} is too busy: it aborted each attempt of a transaction"
        )

    async def _roll_back(self, connection: Connection) -> None:
        with suppress(_psycopg().Error), anyio.move_on_after(_STATEMENT):
            await connection.execute("ROLLBACK")
            return
        await self._drop()

    async def _connect(self) -> Connection:
        now = anyio.current_time()
        if self._failed is not None and now < self._failed[0] + _PAUSE:
            raise DatabaseUnavailableError(self._failed[1])
        try:
            connection = await connect(self.url)
        except DatabaseUnavailableError as error:
            self._failed = anyio.current_time(), error.message
            raise
        self._failed = None
        return connection

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(Exception), anyio.move_on_after(1):
                await connection.close()


def _psycopg() -> Any:
    """Import psycopg, which takes about 0.1 s, and check that it can be used."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        raise ConfigurationError(
            "a PostgreSQL journal works on asyncio, not on trio: use an SQLite journal, or asyncio.run"
        ) from None
    try:
        import psycopg
    except ImportError as error:
        raise ConfigurationError(
            f"a PostgreSQL journal needs psycopg ({first_line(error)}): pip install 'mvsep-async[postgres]'"
        ) from None
    if sys.platform == "win32" and isinstance(asyncio.get_running_loop(), asyncio.ProactorEventLoop):
        raise ConfigurationError(
            "on Windows, psycopg needs asyncio's selector event loop: "
            "asyncio.run(main(), loop_factory=asyncio.SelectorEventLoop)"
        )
    return psycopg


def _not_connected(url: PostgresURL, error: psycopg.Error) -> JournalError | ConfigurationError:
    text = first_line(error)
    lowered = text.lower()
    if "no password supplied" in lowered:
        return ConfigurationError(
            f"the journal's database {url} needs a password: add it to the URL, or set PGPASSWORD, or write it to "
            "~/.pgpass"
        )
    if "could not translate host name" in lowered or "failed to resolve host" in lowered:
        return DatabaseUnavailableError(
            f"the host of the journal's database {url} is not known: {text}; correct the URL"
        )
    if any(words in lowered for words in _REJECTED):
        return ConfigurationError(f"the journal's database {url} rejects this user: {text}; correct the URL")
    if "does not exist" in lowered:
        return ConfigurationError(f"the journal's database cannot be used: {text}; create it, or correct the URL {url}")
    if any(words in lowered for words in _INVALID):
        return ConfigurationError(f"the journal's URL {url} has an invalid parameter: {text}")
    return DatabaseUnavailableError(f"the journal's database {url} cannot be reached: {text}")


def _parameter(error: Exception) -> str:
    """Return which parameter of a URL is unknown. Other messages of libpq may quote a part of the password."""
    found = _UNKNOWN_PARAMETER.match(str(error))
    return f": it has no parameter {found[1]}" if found else ", or not UTF-8"


def first_line(error: Exception) -> str:
    """Return the first line of an error's text."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:300].rstrip(":")
