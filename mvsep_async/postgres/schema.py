"""The tables of a shared journal, in a schema of their own, and their migrations."""

from __future__ import annotations

import secrets
from typing import Any, Final

from mvsep_async.errors import ConfigurationError, JournalError
from mvsep_async.jobs.lifecycle import HOLDS_SLOT
from mvsep_async.postgres.connection import Connection, DatabaseUnavailableError
from mvsep_async.postgres_url import PostgresURL

__all__ = ["HOLDING", "STEPS", "WITHOUT_SLOT", "check_version", "migrate"]

_LOCK: Final = 0x4D565350
"""The number of the advisory lock under which the tables are created and migrated."""

_OLDEST_SERVER: Final = 130000
"""PostgreSQL 13: the oldest with all features that the statements need (incremental sorts among them)."""

HOLDING: Final = ", ".join(f"'{state.value}'" for state in sorted(HOLDS_SLOT))
"""The states of jobs that hold a slot, as an SQL list."""

WITHOUT_SLOT: Final = "'queued', 'uploading'"
"""The states of jobs that wait for a slot."""

STEPS: Final[tuple[tuple[str, ...], ...]] = (
    (
        """
        CREATE TABLE mvsep.accounts (
            id          text PRIMARY KEY,                       -- keyed digest of the token and the service
            per_minute  integer,                                -- limit of requests, as the service's headers said
            stalled_job text,                                   -- the job whose turn it is and that takes no slot
            stalled_at  timestamptz
        )
        """,
        """
        CREATE TABLE mvsep.processes (
            id            text PRIMARY KEY,
            account       text NOT NULL REFERENCES mvsep.accounts,
            machine       text NOT NULL,
            name          text NOT NULL,                        -- host name and process id, for people
            opened_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
            lease_until   timestamptz NOT NULL,
            skipped_until timestamptz
        )
        """,
        "CREATE INDEX processes_by_account ON mvsep.processes (account)",
        """
        CREATE TABLE mvsep.jobs (
            number        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            account       text NOT NULL REFERENCES mvsep.accounts,
            id            text NOT NULL UNIQUE,
            source_kind   text NOT NULL,
            source        text,
            source_beside text,
            filename      text,
            settings      text NOT NULL,
            owner_group   text,
            priority      bigint NOT NULL,
            owner_key     text,
            metadata      text,
            target        text,
            fingerprint   text,
            content       text,
            state         text NOT NULL DEFAULT 'queued',
            hash          text,
            remote        text,
            host          text,
            attempts      integer NOT NULL DEFAULT 0,
            intent_at     double precision,
            accepted_at   double precision,
            separation    text,
            error         text,
            planned       text,
            paths         text,
            archived      integer,
            turn_group    text NOT NULL,                        -- digest of owner_group
            owner         text,                                 -- the process that works on it
            machine       text,                                 -- where its paths are valid, NULL for everywhere
            claim         text,                                 -- the claim by which it got its slot
            cancelling    boolean NOT NULL DEFAULT false,
            followed_until timestamptz,                         -- until when another process wants its progress
            progress      text,
            failure       text,                                 -- the temporary error after which a process released it
            failures      integer NOT NULL DEFAULT 0,
            resume_at     timestamptz                           -- when a released job is taken over again
        )
        """,
        "CREATE UNIQUE INDEX jobs_by_key ON mvsep.jobs (account, md5(owner_key)) WHERE owner_key IS NOT NULL",
        "CREATE UNIQUE INDEX jobs_by_content ON mvsep.jobs (account, content) WHERE content IS NOT NULL",
        "CREATE INDEX jobs_by_fingerprint ON mvsep.jobs (account, fingerprint) WHERE fingerprint IS NOT NULL",
        "CREATE INDEX jobs_by_hash ON mvsep.jobs (account, hash) WHERE hash IS NOT NULL",
        "CREATE INDEX jobs_by_remote ON mvsep.jobs (account, remote) WHERE remote IS NOT NULL",
        f"""
        CREATE INDEX jobs_waiting ON mvsep.jobs (account, turn_group, owner, priority DESC, number)
            WHERE state IN ({WITHOUT_SLOT})
        """,
        f"CREATE INDEX jobs_holding ON mvsep.jobs (account) WHERE state IN ({HOLDING})",
        """
        CREATE INDEX jobs_unfinished ON mvsep.jobs (account, owner)
            WHERE state NOT IN ('finished', 'failed', 'cancelled')
        """,
        """
        CREATE TABLE mvsep.turns (
            account    text NOT NULL REFERENCES mvsep.accounts,
            turn_group text NOT NULL,
            turn       bigint NOT NULL,
            PRIMARY KEY (account, turn_group)
        )
        """,
        "CREATE INDEX turns_in_order ON mvsep.turns (account, turn)",
        "CREATE SEQUENCE mvsep.turn_numbers",
        """
        CREATE TABLE mvsep.requests (
            block   text PRIMARY KEY,
            account text NOT NULL REFERENCES mvsep.accounts,
            count   integer NOT NULL,
            counts_until timestamptz NOT NULL
        )
        """,
        "CREATE INDEX requests_by_account ON mvsep.requests (account)",
        """
        CREATE TABLE mvsep.durations (
            number     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            account    text NOT NULL REFERENCES mvsep.accounts,
            algorithm  integer,
            size       bigint,
            waiting    double precision,
            processing double precision NOT NULL
        )
        """,
        "CREATE INDEX durations_by_account ON mvsep.durations (account, algorithm, number)",
    ),
)
"""The migrations from each version of the tables to the next; the first one creates them. Released steps must not
change."""


async def migrate(connection: Connection, url: PostgresURL) -> str:
    """Create or migrate the tables, and return the salt of the accounts' digests. It must run in a transaction.

    Raises `ConfigurationError` for a server or user that cannot keep a journal, and `JournalError` for tables of a
    newer version.
    """
    import psycopg

    if connection.info.server_version < _OLDEST_SERVER:
        raise ConfigurationError(
            f"the journal's database {url} is PostgreSQL {connection.info.server_version // 10000}: use 13 or later"
        )
    replica, read_only, encoding = await _one(
        connection,
        "SELECT pg_is_in_recovery(), current_setting('transaction_read_only'), current_setting('server_encoding')",
    )
    if replica:
        raise ConfigurationError(
            f"the journal's database {url} is a read-only replica: use the URL of its primary server "
            "(target_session_attrs=read-write among several hosts)"
        )
    if read_only == "on":
        raise ConfigurationError(
            f"the journal's database {url} is read-only for this user: set default_transaction_read_only to off"
        )
    if encoding not in ("UTF8", "SQL_ASCII"):
        raise ConfigurationError(f"the journal's database {url} has the encoding {encoding}: create one with UTF8")
    try:
        await connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        return await _migrate(connection, url)
    except psycopg.errors.InsufficientPrivilege as error:
        problem = error.diag.message_primary
    raise ConfigurationError(
        f"the user of the journal's database {url} lacks rights ({problem}): run 'CREATE SCHEMA IF NOT EXISTS mvsep; "
        "ALTER SCHEMA mvsep OWNER TO <user>' as an administrator; users who share it need the rights of one role"
    )


async def _migrate(connection: Connection, url: PostgresURL) -> str:
    schema, exists = await _one(
        connection, "SELECT to_regnamespace('mvsep') IS NOT NULL, to_regclass('mvsep.version') IS NOT NULL"
    )
    if not schema:
        await connection.execute("CREATE SCHEMA mvsep")
    if not exists:
        await connection.execute("CREATE TABLE mvsep.version (version integer NOT NULL, salt text NOT NULL)")
        await connection.execute("INSERT INTO mvsep.version VALUES (0, %s)", (secrets.token_hex(32),))
    version, salt = await _one(connection, "SELECT version, salt FROM mvsep.version")
    if version > len(STEPS):
        raise _newer(version)
    if 0 < version < len(STEPS):
        await _check_unused(connection, url)
    for step in STEPS[version:]:
        for statement in step:
            await connection.execute(statement)
    if version < len(STEPS):
        await connection.execute("UPDATE mvsep.version SET version = %s", (len(STEPS),))
    return str(salt)


async def check_version(connection: Connection) -> None:
    """Raise `JournalError` if the tables were migrated since this process has opened the journal."""
    (version,) = await _one(connection, "SELECT version FROM mvsep.version")
    if version != len(STEPS):
        raise _newer(version)


async def _check_unused(connection: Connection, url: PostgresURL) -> None:
    """Raise `JournalError` if a process of an older version uses the tables; none gets a lease before the commit.

    A process that is suspended meanwhile has no valid lease afterwards, and calls `check_version` to get one.
    """
    await connection.execute("LOCK TABLE mvsep.processes IN ACCESS EXCLUSIVE MODE")
    (names,) = await _one(
        connection,
        "SELECT string_agg(name, ', ' ORDER BY opened_at) FROM mvsep.processes WHERE lease_until > clock_timestamp()",
    )
    if names is not None:
        raise JournalError(
            f"the journal {url} must be migrated, and processes of an older mvsep-async use it ({names}): stop them "
            "before the first newer one starts"
        )


def _newer(version: int) -> JournalError:
    return JournalError(
        f"the journal has version {version}, and this mvsep-async knows versions up to {len(STEPS)}: update mvsep-async"
    )


async def _one(connection: Connection, query: str) -> tuple[Any, ...]:
    row = await (await connection.execute(query.encode())).fetchone()
    if row is None:
        raise DatabaseUnavailableError("the journal's database returned no row: try again")
    return row
