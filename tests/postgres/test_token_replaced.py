"""A new token for the same account: the jobs of a shared journal are moved to it, and none is paid again."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from mvsep_async.http.token import Token
from mvsep_async.postgres.move import move_to_postgres, move_to_sqlite
from mvsep_async.postgres_url import PostgresURL
from mvsep_async.sandbox import Sandbox
from mvsep_async.sandbox.service import Service
from tests.cli.conftest import Cli, cli, home, service, songs
from tests.conftest import NewClient, wav

__all__ = ["cli", "home", "service", "songs"]

NEW = "the-new-token-of-the-account"


def replace_token(sandbox: Sandbox) -> None:
    """Give the premium account a new token; the service accepts the old one no longer."""

    def replace(service: Service) -> None:
        account = service.accounts._by_token.pop(sandbox.premium_token)
        account.token = NEW
        service.accounts._by_token[NEW] = account

    sandbox._server.call(replace)


async def test_unfinished_jobs_continue_with_the_new_token(
    held: Sandbox, database: str, client_of: NewClient, tmp_path: Path
) -> None:
    url, between = PostgresURL(database), tmp_path / "between.sqlite"
    async with client_of(held, journal=database, concurrency=1) as client:
        sent = await client.submit(wav(0.1), filename="a.wav", algorithm=40, key="sent")
        await client.submit(wav(0.2), filename="b.wav", algorithm=40, key="queued")
        with anyio.fail_after(60):
            while sent.hash is None:
                await anyio.sleep(0.01)
    replace_token(held)
    async with client_of(held, api_token=NEW, journal=database) as client:
        assert await client.find(key="sent") is None  # a new token has a journal of its own
    assert await move_to_sqlite(url, between, Token(held.premium_token), held.url) == 2
    assert await move_to_postgres(between, url, Token(NEW), held.url) == 2
    async with client_of(held, api_token=NEW, journal=database) as client:
        with anyio.fail_after(60):
            for key in ("sent", "queued"):
                job = await client.find(key=key)
                assert job is not None
                while job.hash is None:
                    await anyio.sleep(0.01)
                held.finish(job.hash)
                assert await job.download(tmp_path / key)
    assert len(held.jobs) == 2


def test_songs_are_not_paid_again_after_the_documented_commands(
    cli: Cli, service: Sandbox, songs: list[str], database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    separate = ("separate", *songs, "--algorithm", "40", "--journal", database)
    assert cli(*separate).code == 0
    replace_token(service)
    assert cli("journal", "copy", database, "between.sqlite").code == 0  # the old token
    monkeypatch.setenv("MVSEP_API_TOKEN", NEW)
    assert cli("journal", "copy", "between.sqlite", database).code == 0
    assert cli(*separate).code == 0
    assert len(service.jobs) == 3
