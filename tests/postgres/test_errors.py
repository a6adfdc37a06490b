"""Bad input and faults: a clear one-line error before anything is sent, and the password in nothing that is shown."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anyio
import psycopg
import pytest
import trio

from mvsep_async import MVSepClient
from mvsep_async.errors import ConfigurationError, JournalError, MVSepError
from mvsep_async.postgres import connection as connection_module
from mvsep_async.postgres import schema
from mvsep_async.postgres.connection import DatabaseUnavailableError, connect
from mvsep_async.postgres_url import PostgresURL, journal_address
from mvsep_async.sandbox import Sandbox
from tests.conftest import NewClient

PASSWORD = "s3cr3tx"


def with_user(database: str, user: str, **parameters: str) -> str:
    """Return the URL of a database for another user, with more parameters."""
    parts = urlsplit(database)
    place = parts.netloc.rpartition("@")[2]
    query = "&".join([parts.query, *(f"{name}={value}" for name, value in parameters.items())])
    return parts._replace(netloc=f"{user}@{place}", query=query.strip("&")).geturl()


async def refused(sandbox: Sandbox, journal: object, **settings: Any) -> MVSepError:
    """Open a client with this journal; return its error, once it is known to be a clear one that hides the password."""
    with pytest.raises((ConfigurationError, JournalError)) as caught:
        async with MVSepClient(sandbox.premium_token, base_url=sandbox.url, journal=journal, **settings):  # type: ignore[arg-type]
            raise AssertionError("the client was opened")
    check(caught.value)
    assert not sandbox.requests
    return caught.value


def check(error: BaseException) -> None:
    """Fail for an error of several lines, or one that holds the password: also in the frames that it came through."""
    assert "\n" not in str(error)
    chain: list[BaseException | None] = [error]
    for each in chain:
        if each is None:
            continue
        chain += [each.__cause__, each.__context__]
        assert PASSWORD not in f"{each} {each!r} {each.__dict__!r}"
        trace = each.__traceback__
        while trace is not None:
            if not trace.tb_frame.f_globals["__name__"].startswith("tests."):
                assert PASSWORD not in repr(trace.tb_frame.f_locals), trace.tb_frame.f_code
            trace = trace.tb_next


class FakeServer:
    """Accepts connections as a PostgreSQL server does that asks for a password, and answers it with an error."""

    def __init__(self, error: str | None) -> None:
        self._error = error
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"postgresql://user:{PASSWORD}@127.0.0.1:{self._socket.getsockname()[1]}/db"
        self.silent: list[socket.socket] = []
        """Connections that get no answer."""
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # on Linux, closing does not end a wait for connections
        self._socket.close()
        self._thread.join()
        for peer in self.silent:
            peer.close()

    def _run(self) -> None:
        while True:
            try:
                peer, _ = self._socket.accept()
            except OSError:
                return
            if self._error is None:
                self.silent.append(peer)
                continue
            with peer, suppress(OSError):  # a client may hang up
                self._answer(peer, self._error)

    def _answer(self, peer: socket.socket, error: str) -> None:
        while True:
            length, code = struct.unpack("!ii", self._read(peer, 8))
            self._read(peer, length - 8)
            if code >> 16 == 3:  # the version of the protocol, after the questions for encryption
                break
            peer.sendall(b"N")
        peer.sendall(b"R" + struct.pack("!ii", 8, 3))
        (length,) = struct.unpack("!xi", self._read(peer, 5))
        self._read(peer, length - 4)
        body = b"SFATAL\0VFATAL\0C28P01\0M" + error.encode() + b"\0\0"
        peer.sendall(b"E" + struct.pack("!i", len(body) + 4) + body)

    @staticmethod
    def _read(peer: socket.socket, count: int) -> bytes:
        data = b""
        while len(data) < count:
            data += peer.recv(count - len(data)) or b"\0"
        return data


@contextmanager
def fake_server(error: str | None) -> Iterator[FakeServer]:
    server = FakeServer(error)
    try:
        yield server
    finally:
        server.close()


# The URL


@pytest.mark.parametrize(
    ("url", "words"),
    [
        (f"postgresql://u:{PASSWORD}@{PASSWORD}@127.0.0.1/db", "percent-encode"),
        (f"postgresql://u:1/{PASSWORD}@127.0.0.1/db", "percent-encode"),
        (f"postgresql://u/{PASSWORD}@127.0.0.1/db", "percent-encode"),
        (f"postgresql://u:12/?{PASSWORD}@127.0.0.1/db", "percent-encode"),
        (f"postgresql://u:{PASSWORD}%zz@127.0.0.1/db", "%25"),
        (f"postgresql://u:{PASSWORD}%@127.0.0.1/db", "%25"),
        (f"postgresql://u:{PASSWORD}%ff@127.0.0.1/db", "UTF-8"),
        (f"postgresql://u:{PASSWORD}@127.0.0.1:port/db", "percent-encode"),
        (f"postgresql://u:{PASSWORD}@127.0.0.1/db?nonsense=1", "no parameter nonsense"),
        (f"postgresql://u:{PASSWORD}@127.0.0.1/db?sslmode=nonsense", "sslmode"),
        (f"postgresql+psycopg://u:{PASSWORD}@127.0.0.1/db", "begins with postgresql+psycopg://"),
        (f"mysql://u:{PASSWORD}@127.0.0.1/db", "SQLite file"),
        (f"host=127.0.0.1 dbname=db password={PASSWORD}", "must be a str that begins with postgresql://"),
        (Path(f"postgresql://u:{PASSWORD}@127.0.0.1/db"), "must be a str"),
    ],
)
async def test_a_malformed_url_is_explained_without_its_password(sandbox: Sandbox, url: object, words: str) -> None:
    error = await refused(sandbox, url)
    assert isinstance(error, ConfigurationError)
    assert words in str(error)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (f"postgresql://u:{PASSWORD}@db.example:6432/stems", "postgresql://db.example:6432/stems"),
        (f" POSTGRES://u:{PASSWORD}@db.example/stems\n", "postgresql://db.example/stems"),
        (f"postgresql://u:{PASSWORD}@one:1,two:2/stems?target_session_attrs=any", "postgresql://one:1,two:2/stems"),
        (f"postgresql://u:p%40{PASSWORD}@[::1]:5432/stems", "postgresql://[::1]:5432/stems"),
        (f"postgresql://u:{PASSWORD}?#@db.example/stems", "postgresql://db.example/stems"),
        (f"postgresql:///stems?host=/run/postgresql&password={PASSWORD}", "postgresql:///run/postgresql/stems"),
        (f"postgresql://db.example?dbname=stems&password={PASSWORD}", "postgresql://db.example/"),
    ],
)
def test_a_url_is_shown_without_user_and_password(url: str, shown: str) -> None:
    address = journal_address(url)
    assert isinstance(address, PostgresURL)
    address.check()
    assert (str(address), repr(address), f"{address}") == (shown, f"PostgresURL({shown})", shown)
    assert address.has_password
    assert address.reveal() == url.strip().replace("POSTGRES", "postgres")


@pytest.mark.parametrize("path", ["bot.sqlite", "/var/lib/x=y.sqlite", "C:\\stems\\bot.sqlite", "C:/bot.sqlite"])
def test_a_path_is_a_path(path: str) -> None:
    assert journal_address(path) == Path(path)


async def test_a_url_with_spaces_around_and_an_upper_case_scheme_works(
    sandbox: Sandbox, database: str, client_of: NewClient, song: Path
) -> None:
    journal = f" {database.replace('postgresql', 'PostgreSQL')}\n"
    async with client_of(sandbox, journal=journal) as client:
        assert (await (await client.submit(song, algorithm=40))).files


# The server


async def test_a_server_that_does_not_run(sandbox: Sandbox) -> None:
    with socket.socket() as bound:  # so that no other process gets the port
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
        error = await refused(sandbox, f"postgresql://u:{PASSWORD}@127.0.0.1:{port}/db")
    assert isinstance(error, DatabaseUnavailableError)
    assert f"postgresql://127.0.0.1:{port}/db cannot be reached" in str(error)


async def test_a_host_that_does_not_exist(sandbox: Sandbox) -> None:
    error = await refused(sandbox, f"postgresql://u:{PASSWORD}@no-such-host.invalid/db")
    assert "no-such-host.invalid/db is not known" in str(error)


async def test_a_server_that_does_not_answer(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "_CONNECT", 0)
    with fake_server(None) as server:
        error = await refused(sandbox, server.url)
    assert isinstance(error, DatabaseUnavailableError)
    assert "does not answer" in str(error)


async def test_a_cancelled_connect_leaves_no_password_in_its_frames() -> None:
    with fake_server(None) as server:
        task = asyncio.create_task(connect(PostgresURL(server.url)))
        with anyio.fail_after(60):
            while not server.silent:
                await anyio.sleep(0.005)
        task.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
    check(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        'password authentication failed for user "user"',
        'no pg_hba.conf entry for host "127.0.0.1", user "user", database "db", no encryption',
        'role "user" is not permitted to log in',
        'permission denied for database "db"',
    ],
)
async def test_a_user_whom_the_server_rejects(sandbox: Sandbox, text: str) -> None:
    with fake_server(text) as server:
        error = await refused(sandbox, server.url)
    assert isinstance(error, ConfigurationError)
    assert text in str(error)
    assert "rejects this user" in str(error)


async def test_a_missing_password(sandbox: Sandbox) -> None:
    with fake_server("unused") as server:
        error = await refused(sandbox, server.url.replace(f":{PASSWORD}", ""))
    assert isinstance(error, ConfigurationError)
    assert "PGPASSWORD" in str(error)


async def test_an_error_in_words_that_are_not_known_is_shown_as_it_is(sandbox: Sandbox) -> None:
    with fake_server("sorry, too many clients already") as server:
        error = await refused(sandbox, server.url)
    assert isinstance(error, DatabaseUnavailableError)
    assert "too many clients already" in str(error)


async def test_a_database_or_user_that_does_not_exist(sandbox: Sandbox, database: str) -> None:
    missing = await refused(sandbox, urlsplit(database)._replace(path="/no_such_database").geturl())
    assert isinstance(missing, ConfigurationError)
    assert 'database "no_such_database" does not exist; create it, or correct the URL' in str(missing)
    stranger = await refused(sandbox, with_user(database, f"nobody_4711:{PASSWORD}"))
    assert "nobody_4711" in str(stranger)


# The database


@pytest.fixture
def guest(database: str) -> Iterator[str]:
    """The name of a user who may only connect."""
    name = f"guest_{database.rpartition('mvsep_')[2][:12].partition('?')[0]}"
    with psycopg.connect(database, autocommit=True) as admin:
        admin.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{PASSWORD}'")  # type: ignore[call-overload]
    yield name
    with psycopg.connect(database, autocommit=True) as admin:
        admin.execute(f"DROP OWNED BY {name} CASCADE")  # type: ignore[call-overload]
        admin.execute(f"DROP ROLE {name}")  # type: ignore[call-overload]


async def test_a_user_without_the_right_to_create_the_schema(
    sandbox: Sandbox, database: str, guest: str, client_of: NewClient
) -> None:
    url = with_user(database, f"{guest}:{PASSWORD}")
    error = await refused(sandbox, url)
    assert isinstance(error, ConfigurationError)
    assert "permission denied for database" in str(error)
    assert "ALTER SCHEMA mvsep OWNER TO" in str(error)
    with psycopg.connect(database, autocommit=True) as admin:
        admin.execute("CREATE SCHEMA IF NOT EXISTS mvsep")
        denied = await refused(sandbox, url)
        assert isinstance(denied, ConfigurationError)
        assert "permission denied for schema mvsep" in str(denied)
        admin.execute(f"ALTER SCHEMA mvsep OWNER TO {guest}")  # type: ignore[call-overload]
    async with client_of(sandbox, journal=url):
        pass


async def test_a_user_of_the_database_who_may_not_use_the_tables_of_another(
    sandbox: Sandbox, database: str, guest: str, client_of: NewClient
) -> None:
    async with client_of(sandbox, journal=database):
        pass
    before = len(sandbox.requests)
    sandbox_requests = sandbox.requests
    with pytest.raises(ConfigurationError, match="permission denied for schema mvsep") as caught:
        async with client_of(sandbox, journal=with_user(database, f"{guest}:{PASSWORD}")):
            pass
    check(caught.value)
    assert len(sandbox_requests) == before


async def test_a_database_that_is_read_only(sandbox: Sandbox, database: str) -> None:
    url = with_user(database, "postgres", options="-c%20default_transaction_read_only%3Don")
    error = await refused(sandbox, url)
    assert isinstance(error, ConfigurationError)
    assert "set default_transaction_read_only to off" in str(error)


async def test_a_replica(sandbox: Sandbox, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    one = schema._one

    async def of_replica(connection: Any, query: str) -> tuple[Any, ...]:
        return await one(connection, query.replace("pg_is_in_recovery()", "true"))

    monkeypatch.setattr(schema, "_one", of_replica)
    error = await refused(sandbox, database)
    assert isinstance(error, ConfigurationError)
    assert "read-only replica: use the URL of its primary server" in str(error)


async def test_an_old_server(sandbox: Sandbox, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psycopg.ConnectionInfo, "server_version", 120022)
    error = await refused(sandbox, database)
    assert isinstance(error, ConfigurationError)
    assert "is PostgreSQL 12: use 13 or later" in str(error)


async def test_a_database_without_unicode(sandbox: Sandbox, database: str) -> None:
    name = urlsplit(database).path[1:] + "_latin"
    with psycopg.connect(database, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")  # type: ignore[call-overload]
        try:
            error = await refused(sandbox, urlsplit(database)._replace(path=f"/{name}").geturl())
        finally:
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)")  # type: ignore[call-overload]
    assert isinstance(error, ConfigurationError)
    assert "has the encoding LATIN1" in str(error)


async def test_songs_in_any_script_whatever_encoding_the_environment_asks_for(
    sandbox: Sandbox, database: str, client_of: NewClient, song: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    name = song.rename(song.with_name("さくら – песня.wav"))
    async with client_of(sandbox, journal=database) as client:
        assert (await (await client.submit(name, algorithm=40, key="鍵"))).files
    async with client_of(sandbox, journal=database) as client:
        found = await client.find(key="鍵")
        assert found is not None
        assert found.source == name


async def test_a_journal_of_a_newer_version(sandbox: Sandbox, database: str, client_of: NewClient) -> None:
    async with client_of(sandbox, journal=database):
        pass
    with psycopg.connect(database, autocommit=True) as admin:
        admin.execute("UPDATE mvsep.version SET version = version + 1")
    before = len(sandbox.requests)
    with pytest.raises(JournalError, match="update mvsep-async") as caught:
        async with client_of(sandbox, journal=database):
            pass
    check(caught.value)
    assert len(sandbox.requests) == before


async def test_tables_are_not_migrated_while_a_process_of_an_older_version_uses_them(
    sandbox: Sandbox, database: str, client_of: NewClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = (*schema.STEPS, ("ALTER TABLE mvsep.jobs ADD COLUMN more integer",))
    async with client_of(sandbox, journal=database):
        with monkeypatch.context() as patch:
            patch.setattr(schema, "STEPS", steps)
            with pytest.raises(JournalError, match=rf"older mvsep-async use it \({socket.gethostname()} ") as caught:
                async with client_of(sandbox, journal=database):
                    pass
            check(caught.value)
    monkeypatch.setattr(schema, "STEPS", steps)
    async with client_of(sandbox, journal=database):
        pass


async def test_a_process_without_a_lease_gets_none_after_a_migration(
    sandbox: Sandbox, database: str, client_of: NewClient, song: Path
) -> None:
    """As one that was suspended during the migration."""
    async with client_of(sandbox, journal=database, lease=1.0) as client:
        with psycopg.connect(database) as admin:
            admin.execute("LOCK TABLE mvsep.processes IN ACCESS EXCLUSIVE MODE")
            admin.execute("UPDATE mvsep.processes SET lease_until = clock_timestamp()")
            admin.execute("UPDATE mvsep.version SET version = version + 1")
        with anyio.fail_after(30):
            while client.paused_by is None:
                await anyio.sleep(0.02)
        await client.submit(song, algorithm=40)
        assert "update mvsep-async" in str(client.paused_by)
        await anyio.sleep(0.5)  # time in which a create would begin
        assert not sandbox.jobs


# The environment


async def test_psycopg_is_not_installed(sandbox: Sandbox, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    error = await refused(sandbox, database)
    assert isinstance(error, ConfigurationError)
    assert "pip install 'mvsep-async[postgres]'" in str(error)


def test_trio(database: str) -> None:
    async def run() -> None:
        async with MVSepClient("some-token", base_url="http://127.0.0.1:9", journal=database):
            raise AssertionError("the client was opened")

    with pytest.raises(ConfigurationError, match="works on asyncio, not on trio") as caught:
        trio.run(run)
    check(caught.value)


async def test_the_proactor_loop_of_windows(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module.sys, "platform", "win32")
    monkeypatch.setattr(asyncio, "ProactorEventLoop", type(asyncio.get_running_loop()), raising=False)
    with pytest.raises(ConfigurationError, match=r"loop_factory=asyncio\.SelectorEventLoop"):
        await connect(PostgresURL(database))


async def test_without_a_token(sandbox: Sandbox, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MVSEP_API_TOKEN", raising=False)
    with pytest.raises(ConfigurationError, match="needs an API token"):
        async with MVSepClient(base_url=sandbox.url, journal=database):
            pass


async def test_the_password_is_in_no_log(
    sandbox: Sandbox, database: str, guest: str, client_of: NewClient, song: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with psycopg.connect(database, autocommit=True) as admin:
        admin.execute(f"CREATE SCHEMA mvsep AUTHORIZATION {guest}")  # type: ignore[call-overload]
    with caplog.at_level(logging.DEBUG):
        async with client_of(sandbox, journal=with_user(database, f"{guest}:{PASSWORD}")) as client:
            job = await client.submit(song, algorithm=40)
            with psycopg.connect(database, autocommit=True) as admin:
                admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", (guest,))
            assert (await job).files
            assert PASSWORD not in repr(client.__dict__)
    assert "connection for notices was lost" in caplog.text
    assert PASSWORD not in caplog.text


# Two accounts


@pytest.fixture
async def accounts(sandbox: Sandbox, database: str, client_of: NewClient) -> AsyncIterator[list[MVSepClient]]:
    premium = client_of(sandbox, journal=database)
    free = client_of(sandbox, journal=database, api_token=sandbox.free_token)
    async with premium, free:
        yield [premium, free]


async def test_two_accounts_in_one_database_are_kept_apart(
    accounts: list[MVSepClient], sandbox: Sandbox, song: Path
) -> None:
    jobs = [await client.submit(song, algorithm=40, key="the same") for client in accounts]
    with anyio.fail_after(60):
        for job in jobs:
            assert (await job).files
    assert len({job.id for job in jobs}) == len(sandbox.jobs) == 2
    for client, other in zip(accounts, reversed(jobs), strict=True):
        assert await client.find(id=other.id) is None
        assert await client.find(hash=other.hash) is None
