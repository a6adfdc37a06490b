"""A real PostgreSQL with a database for each test: the server of `MVSEP_TEST_POSTGRES`, or one from a wheel."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from benchmarks.postgres_server import started_server


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """Return the URL of a server on which databases may be created. All workers of a run share it."""
    given = os.environ.get("MVSEP_TEST_POSTGRES")
    if given:
        yield given
        return
    # Not in pytest's folder, which the server's own user cannot enter.
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID") or uuid4().hex
    server = started_server(Path(tempfile.gettempdir(), f"mvsep-postgres-{run[:12]}"))
    yield server.get_uri()
    server.cleanup()


@pytest.fixture
def database(postgres_server: str) -> Iterator[str]:
    """Return the URL of an empty database."""
    name = f"mvsep_{uuid4().hex[:12]}"
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute(
            sql.SQL("CREATE DATABASE {} ENCODING 'UTF8' TEMPLATE template0").format(sql.Identifier(name))
        )
    yield urlsplit(postgres_server)._replace(path=f"/{name}").geturl()
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
