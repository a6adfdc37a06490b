"""Unusable journals are reported when the client is opened, with what to do, before anything is sent."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from mvsep_async import JournalError, MVSepClient
from mvsep_async.sandbox import Sandbox
from tests.conftest import NewClient


def damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[4096:8192] = bytes(range(256)) * 16
    path.write_bytes(data)


def make_newer(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()


def empty(path: Path) -> None:
    path.write_bytes(b"")


def put_text(path: Path) -> None:
    path.write_text("dear journal")


def put_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def take_away(path: Path) -> None:
    shutil.rmtree(path.parent)
    path.parent.write_text("a file where the folder was")


@pytest.mark.parametrize(
    ("spoil", "advice"),
    [
        (damage, "Restore a copy"),
        (make_newer, "upgrade mvsep-async"),
        (empty, "remove it"),
        (put_text, "give another path"),
        (put_folder, "give the path of a file"),
        (take_away, "needs a folder"),
    ],
)
async def test_a_journal_that_cannot_be_used_is_never_begun_afresh(
    sandbox: Sandbox,
    client_of: NewClient,
    song: Path,
    tmp_path: Path,
    spoil: Callable[[Path], None],
    advice: str,
) -> None:
    path = tmp_path / "here" / "j.db"
    async with client_of(sandbox, journal=path) as client:
        await (await client.submit(song, algorithm=40))
    requests = len(sandbox.requests)
    spoil(path)
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(JournalError, match=advice) as raised:
        async with client_of(sandbox, journal=path):
            pytest.fail("the block was entered")
    assert str(path) in str(raised.value)
    assert (path.read_bytes() if path.is_file() else None) == before
    assert len(sandbox.requests) == requests


async def test_a_journal_has_one_client(sandbox: Sandbox, client_of: NewClient, song: Path, tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    async with client_of(sandbox, journal=path) as client:
        second: MVSepClient = client_of(sandbox, journal=path)
        with pytest.raises(JournalError, match=r"in use by .*one client at a time"):
            await second.__aenter__()
        job = await client.submit(song, algorithm=40)
        await job
    async with client_of(sandbox, journal=path) as client:
        assert [known.id for known in client.jobs()] == [job.id]
