"""The tables of the journal, and their migrations."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final, TypeAlias

__all__ = ["APPLICATION_ID", "FILLING_ID", "MOVED_ID", "STEPS", "Step", "migrate", "version_of"]

Step: TypeAlias = tuple[str, ...]

APPLICATION_ID: Final = 0x4D565350
"""`MVSP`: distinguishes a journal from other SQLite files."""

MOVED_ID: Final = 0x4D56534D
"""`MVSM`: marks a journal whose jobs are in another one, or are being moved there, so that no client works on them."""

FILLING_ID: Final = 0x4D565346
"""`MVSF`: marks a journal to which jobs are being moved, and that no client may use before all of them are there."""

STEPS: Final[tuple[Step, ...]] = (
    (
        """
        CREATE TABLE jobs (
            number        INTEGER PRIMARY KEY,          -- in the order of submission
            id            TEXT NOT NULL,
            source_kind   TEXT NOT NULL,                -- file, path, url, spooled, pair …, none
            source        TEXT,
            source_beside TEXT,                         -- a pair's reference, the name that a spooled song came with
            filename      TEXT,
            settings      TEXT NOT NULL,
            owner_group   TEXT,
            priority      INTEGER NOT NULL,
            owner_key     TEXT,
            metadata      TEXT,
            target        TEXT,
            fingerprint   TEXT,
            state         TEXT NOT NULL DEFAULT 'queued',
            hash          TEXT,
            remote        TEXT,
            host          TEXT,
            attempts      INTEGER NOT NULL DEFAULT 0,
            intent_at     REAL,
            accepted_at   REAL,
            separation    TEXT,
            error         TEXT,
            planned       TEXT,
            paths         TEXT
        )
        """,
        # No index on ids and fingerprints: they are looked up in memory, and an index makes a submit a third slower.
        "CREATE UNIQUE INDEX jobs_by_key ON jobs (owner_key) WHERE owner_key IS NOT NULL",
    ),
    (
        """
        CREATE TABLE durations (
            number     INTEGER PRIMARY KEY,             -- in the order in which the jobs ended
            algorithm  INTEGER,
            size       INTEGER,                         -- bytes of the song
            waiting    REAL,                            -- seconds in the service's queue
            processing REAL NOT NULL
        )
        """,
    ),
    ("ALTER TABLE jobs ADD COLUMN content TEXT", "ALTER TABLE jobs ADD COLUMN archived INTEGER"),
)
"""The migrations from each version of the tables to the next; the first one creates them. To change the tables, add a
step: released steps must not change."""


def version_of(connection: sqlite3.Connection) -> int:
    """Return the version of the tables: the number of migration steps applied."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)


def migrate(connection: sqlite3.Connection, steps: Sequence[Step]) -> None:
    """Apply the missing migration steps in one transaction. The connection must be in autocommit mode."""
    taken = version_of(connection)
    if taken >= len(steps):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        for step in steps[taken:]:
            for statement in step:
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {len(steps)}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
