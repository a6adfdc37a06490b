import sqlite3
from contextlib import closing

import pytest

from mvsep_async.journal.schema import STEPS, migrate, version_of

LATER = (
    *STEPS,
    ("ALTER TABLE jobs ADD COLUMN mood TEXT", "UPDATE jobs SET mood = 'calm'"),
    ("CREATE TABLE moods (mood TEXT)", "INSERT INTO moods SELECT mood FROM jobs"),
)
ADD = "INSERT INTO jobs (id, source_kind, settings, priority) VALUES ('a', 'none', '{}', 0)"


def columns(connection: sqlite3.Connection) -> set[str]:
    return {name for _, name, *_ in connection.execute("PRAGMA table_info(jobs)")}


def test_migration_starts_at_the_version_of_the_file() -> None:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        migrate(connection, STEPS)
        assert version_of(connection) == len(STEPS)
        connection.execute(ADD)
        migrate(connection, LATER)
        assert version_of(connection) == len(LATER)
        assert connection.execute("SELECT id, mood FROM jobs").fetchall() == [("a", "calm")]
        assert connection.execute("SELECT mood FROM moods").fetchall() == [("calm",)]


def test_steps_are_taken_once() -> None:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        migrate(connection, LATER)
        migrate(connection, LATER)
        migrate(connection, STEPS)
        assert version_of(connection) == len(LATER)


def test_all_steps_or_none() -> None:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        migrate(connection, STEPS)
        before = columns(connection)
        with pytest.raises(sqlite3.OperationalError):
            migrate(connection, (*LATER, ("CREATE TABLE moods (mood TEXT)",)))
        assert version_of(connection) == len(STEPS)
        assert columns(connection) == before
        assert not connection.in_transaction


def test_keys_are_unique() -> None:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        migrate(connection, STEPS)
        connection.execute(ADD)
        connection.execute(ADD.replace("'a'", "'b'"))
        connection.execute("UPDATE jobs SET owner_key = 'k' WHERE id = 'a'")
        with pytest.raises(sqlite3.IntegrityError):
            connection.execute("UPDATE jobs SET owner_key = 'k' WHERE id = 'b'")
