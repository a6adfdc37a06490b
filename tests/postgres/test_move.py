"""A journal that is moved into PostgreSQL and back: everything comes along, and one of the two can be used."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Any

import anyio
import psycopg
import pytest
from attrs import evolve
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mvsep_async.errors import JournalError
from mvsep_async.http.token import Token
from mvsep_async.jobs.facts import NOTHING, Facts
from mvsep_async.jobs.journal import JobDuration, Record
from mvsep_async.jobs.lifecycle import JobState
from mvsep_async.journal.sqlite import open_journal, peek_journal
from mvsep_async.postgres.account import open_account
from mvsep_async.postgres.move import move_to_postgres, move_to_sqlite
from mvsep_async.postgres_url import PostgresURL
from mvsep_async.sandbox import Sandbox
from mvsep_async.sources import Spooled
from tests.conftest import NewClient, wav
from tests.journal.samples import a_request, comparable, records

TOKEN = Token("some-token")
SERVICE = "https://mvsep.com"
DURATIONS = [JobDuration(algorithm=40, size=7, waiting=None, processing=float(number)) for number in range(3)]


@pytest.fixture(autouse=True)
def state(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("state")
    monkeypatch.setenv("XDG_STATE_HOME", str(folder))
    return folder


async def fill(path: Path, wanted: Sequence[Record]) -> list[Record]:
    """Make a journal of these records, and return them as they are in it."""
    made = []
    async with open_journal(path) as (journal, _):
        for record in wanted:
            request, source = record.request, record.request.source
            if isinstance(source, Spooled):
                request = evolve(request, source=Spooled(journal.spool / source.path.name, source.filename))
            journal.add(request)
            journal.update(request.id, record.state, record.facts)
            made.append(evolve(record, request=request))
        for duration in DURATIONS:
            journal.learn(duration)
    return made


async def read(path: Path) -> tuple[list[Record], list[JobDuration]]:
    async with open_journal(path) as (journal, found):
        return list(found), list(journal.durations)


async def in_database(url: str) -> list[Record]:
    async with open_account(PostgresURL(url), TOKEN, SERVICE) as tables:
        return await tables.records()


def known(found: Sequence[Record], spool: Path) -> list[Any]:
    """Return what is compared of records: where a spooled song is differs from journal to journal."""

    def moved(record: Record) -> Record:
        source = record.request.source
        if not isinstance(source, Spooled):
            return record
        return evolve(record, request=evolve(record.request, source=Spooled(spool / source.path.name, source.filename)))

    return [comparable(moved(record)) for record in found]


def distinct(found: Sequence[Record]) -> list[Record]:
    """Return records without keys and songs that another one has."""
    keys: set[str | None] = set()
    songs: set[str | None] = set()
    kept = []
    for record in found:
        request = record.request
        changes: dict[str, Any] = {}
        if request.key in keys:
            changes["key"] = None
        if request.content in songs:
            changes["content"] = None
        keys.add(request.key)
        songs.add(request.content)
        kept.append(evolve(record, request=evolve(request, **changes)))
    return kept


def some_records() -> list[Record]:
    """One job of each state, and sources of all kinds."""
    sources = ["/music/a.flac", "https://example.com/b.mp3", None, Path("/music/c.wav")]
    made = [
        Record(
            a_request(
                source=sources[number % 4], key=f"key {number}", group=f"group {number % 2}", content=f"{number}"
            ),
            state,
            NOTHING if state is JobState.QUEUED else Facts(hash=f"hash {number}", attempts=1, intent_at=1.5),
        )
        for number, state in enumerate(JobState)
    ]
    made.append(Record(a_request(source=Spooled(Path("song.wav"), "Song.wav")), JobState.QUEUED, NOTHING))
    return made


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(wanted=st.lists(records, max_size=6, unique_by=lambda record: record.request.id).map(distinct))
def test_everything_that_a_job_can_be_comes_along_and_back(
    wanted: list[Record], database: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("journals")
    here, back = folder / "here.sqlite", folder / "back.sqlite"

    async def main() -> None:
        made = await fill(here, wanted)
        assert await move_to_postgres(here, PostgresURL(database), TOKEN, SERVICE) == len(made)
        assert known(await in_database(database), folder) == known(made, folder)
        with pytest.raises(JournalError, match="were moved by"):
            await peek_journal(here)
        assert await move_to_sqlite(PostgresURL(database), back, TOKEN, SERVICE) == len(made)
        found, durations = await read(back)
        assert known(found, folder) == known(made, folder)
        assert durations == DURATIONS
        assert await in_database(database) == []

    anyio.run(main)


async def test_only_the_last_of_two_jobs_is_found_by_their_song(database: str, tmp_path: Path) -> None:
    twins = [Record(a_request(content="the same"), JobState.FAILED, NOTHING) for _ in range(2)]
    await fill(tmp_path / "j.sqlite", twins)
    await move_to_postgres(tmp_path / "j.sqlite", PostgresURL(database), TOKEN, SERVICE)
    assert [record.request.content for record in await in_database(database)] == [None, "the same"]


@pytest.mark.slow
@pytest.mark.parametrize("direction", ["to", "from"])
async def test_a_killed_move_loses_nothing_and_is_finished_by_the_next(
    direction: str, database: str, tmp_path: Path
) -> None:
    url = PostgresURL(database)
    for kill_at in count():
        folder = tmp_path / str(kill_at)
        folder.mkdir()
        path = first = folder / "j.sqlite"
        made = await fill(first, some_records())
        spool = first.with_name(first.name + ".spool")
        spool.mkdir()
        (spool / "song.wav").write_bytes(wav())
        if direction == "from":
            await move_to_postgres(first, url, TOKEN, SERVICE)
            path = folder / "back.sqlite"
        code = await move_in_child(direction, path, database, kill_at)
        if code == 0:
            assert kill_at > 10
            return
        assert code == -signal.SIGKILL
        there = await in_database(database)
        usable = await is_usable(path)
        assert not (there and usable)
        if direction == "to":
            await move_to_postgres(path, url, TOKEN, SERVICE)
            assert known(await in_database(database), folder) == known(made, folder)
            path = folder / "end.sqlite"
        if not await is_usable(path):
            await move_to_sqlite(url, path, TOKEN, SERVICE)
        found, durations = await read(path)
        assert known(found, folder) == known(made, folder)
        assert durations == DURATIONS
        assert (path.with_name(path.name + ".spool") / "song.wav").read_bytes() == wav()
        assert await in_database(database) == []


async def move_in_child(direction: str, path: Path, database: str, kill_at: int) -> int:
    root = Path(__file__).parents[2]
    result = await anyio.run_process(
        [sys.executable, "-m", "tests.postgres.mover", direction, str(path), database, str(kill_at)],
        cwd=root,
        check=False,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    return result.returncode


async def is_usable(path: Path) -> bool:
    """Tell whether a client would take the file for a journal with jobs."""
    try:
        return bool(await peek_journal(path))
    except JournalError:
        return False


async def test_a_journal_in_use_is_not_moved(
    sandbox: Sandbox, database: str, client_of: NewClient, tmp_path: Path
) -> None:
    path, token, url = tmp_path / "j.sqlite", Token(sandbox.premium_token), PostgresURL(database)
    async with client_of(sandbox, journal=path):
        with pytest.raises(JournalError, match="is in use by another client"):
            await move_to_postgres(path, url, token, sandbox.url)
    async with client_of(sandbox, journal=database):
        with pytest.raises(JournalError, match=r"is in use by .+: stop them"):
            await move_to_sqlite(url, tmp_path / "new.sqlite", token, sandbox.url)
    assert await move_to_postgres(path, url, token, sandbox.url) == 0


async def test_a_journal_is_not_moved_over_its_own_jobs(database: str, tmp_path: Path) -> None:
    url, path, copy = PostgresURL(database), tmp_path / "j.sqlite", tmp_path / "copy.sqlite"
    await fill(path, some_records())
    copy.write_bytes(path.read_bytes())
    await move_to_postgres(path, url, TOKEN, SERVICE)
    with pytest.raises(JournalError, match="of these jobs already"):
        await move_to_postgres(copy, url, TOKEN, SERVICE)
    with pytest.raises(JournalError, match="give a new file"):
        await move_to_sqlite(url, copy, TOKEN, SERVICE)
    with pytest.raises(JournalError, match="give a new file"):
        await move_to_sqlite(url, path, TOKEN, SERVICE)
    assert await is_usable(copy)


async def test_jobs_with_the_key_of_another_job_are_not_moved(database: str, tmp_path: Path) -> None:
    for name in ("one", "two"):
        await fill(tmp_path / name, [Record(a_request(key="k"), JobState.QUEUED, NOTHING)])
    await move_to_postgres(tmp_path / "one", PostgresURL(database), TOKEN, SERVICE)
    with pytest.raises(JournalError, match="the same keys or songs"):
        await move_to_postgres(tmp_path / "two", PostgresURL(database), TOKEN, SERVICE)
    assert await is_usable(tmp_path / "two")
    assert len(await in_database(database)) == 1


async def test_jobs_that_need_files_of_another_machine_stay(database: str, tmp_path: Path) -> None:
    await fill(tmp_path / "j", some_records())
    await move_to_postgres(tmp_path / "j", PostgresURL(database), TOKEN, SERVICE)
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("UPDATE mvsep.jobs SET machine = 'another'")
    with pytest.raises(JournalError, match="need files of another machine"):
        await move_to_sqlite(PostgresURL(database), tmp_path / "new", TOKEN, SERVICE)
    assert len(await in_database(database)) == len(some_records())
    assert not await is_usable(tmp_path / "new")
    async with open_account(PostgresURL(database), TOKEN, SERVICE) as tables:
        assert await tables.prune() > 0


async def test_moved_jobs_are_separated_by_the_next_client(
    held: Sandbox, sandbox: Sandbox, database: str, client_of: NewClient, tmp_path: Path
) -> None:
    path, token = tmp_path / "j.sqlite", Token(held.premium_token)
    async with client_of(held, journal=path, concurrency=1) as client:
        first = await client.submit(wav(0.1), filename="a.wav", algorithm=40, key="first")
        second = await client.submit(wav(0.2), filename="b.wav", algorithm=40, key="second")
        with anyio.fail_after(60):
            while first.hash is None:
                await anyio.sleep(0.01)
    await move_to_postgres(path, PostgresURL(database), token, held.url)
    async with client_of(held, journal=database) as client:
        with anyio.fail_after(60):
            for key in ("first", "second"):
                job = await client.find(key=key)
                assert job is not None
                while job.hash is None:
                    await anyio.sleep(0.01)
                held.finish(job.hash)
                assert (await job).files
    assert len(held.jobs) == 2
    assert second.hash is None
