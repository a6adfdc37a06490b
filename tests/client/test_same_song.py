"""With a journal, `map` recognises a song by its audio: renamed, moved, copied or retagged, it is paid once."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from mvsep_async import Job, JobFailedError, Stage, UploadError
from mvsep_async.audio import digest
from mvsep_async.sandbox import Sandbox
from tests.audio.songs import write_plain_tags, write_song
from tests.conftest import NewClient

Change = Callable[[Path], Path]


async def separated(client_of: NewClient, sandbox: Sandbox, *songs: Path, **arguments: object) -> list[Job]:
    folder = songs[0].parents[1]
    async with client_of(sandbox, journal=folder / "journal.db") as client:
        stream = client.map(songs, directory=folder / "stems", algorithm=40, **arguments)
        return [job async for job in stream]


def touch(song: Path) -> Path:
    os.utime(song, ns=(1, 1))
    return song


def rename(song: Path) -> Path:
    return song.rename(song.with_name("renamed.flac"))


def move(song: Path) -> Path:
    song.parent.rename(song.parent.with_name("moved"))
    return song.parent.with_name("moved") / song.name


def copy(song: Path) -> Path:
    return shutil.copyfile(song, song.with_name("copy.flac"))


def retag(song: Path) -> Path:
    write_plain_tags(song, title="x", cover=True)
    return song


@pytest.mark.parametrize("change", [touch, rename, move, copy, retag])
async def test_a_song_is_known_by_its_audio(
    sandbox: Sandbox, client_of: NewClient, tmp_path: Path, change: Change
) -> None:
    song = write_song(tmp_path / "music" / "song.flac")
    (first,) = await separated(client_of, sandbox, song)
    changed = change(song)
    for _ in range(2):
        (job,) = await separated(client_of, sandbox, changed)
        assert (job.id, job.hash, job.error, job.paths) == (first.id, first.hash, None, first.paths)
        assert all(path.exists() for path in job.paths)
    assert len(sandbox.jobs) == 1
    assert len(list((tmp_path / "stems").rglob("*.mp3"))) == 2


async def test_the_audio_is_read_once_for_a_changed_song_and_never_for_a_known_one(
    sandbox: Sandbox, client_of: NewClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    songs = [write_song(tmp_path / "music" / f"{number}.flac") for number in range(5)]
    await separated(client_of, sandbox, *songs)
    read: list[str] = []
    real = digest.content_of

    def counted(path: str, **arguments: Callable[[], bool]) -> digest.AudioContent:
        read.append(Path(path).name)
        return real(path, **arguments)

    monkeypatch.setattr(digest, "content_of", counted)
    os.utime(songs[2], ns=(1, 1))
    await separated(client_of, sandbox, *songs)
    assert read == ["2.flac"]
    await separated(client_of, sandbox, *songs)
    assert read == ["2.flac"], "its new time is in the journal"


async def test_two_copies_in_one_run_are_one_job(sandbox: Sandbox, client_of: NewClient, tmp_path: Path) -> None:
    song = write_song(tmp_path / "music" / "song.flac")
    jobs = await separated(client_of, sandbox, song, copy(song))
    assert len(sandbox.jobs) == 1
    assert len({job.id for job in jobs}) == 1


async def test_other_audio_and_other_settings_are_other_jobs(
    sandbox: Sandbox, client_of: NewClient, tmp_path: Path
) -> None:
    song = write_song(tmp_path / "music" / "song.flac")
    await separated(client_of, sandbox, song)
    write_song(song, 0.4)
    await separated(client_of, sandbox, song)
    await separated(client_of, sandbox, song, options={"add_opt1": "81"})
    assert len(sandbox.jobs) == 3


async def test_a_queued_song_that_was_renamed_is_sent_from_its_new_place(
    held: Sandbox, client_of: NewClient, tmp_path: Path
) -> None:
    songs = [write_song(tmp_path / "music" / f"{number}.flac") for number in range(3)]
    journal = tmp_path / "journal.db"
    async with client_of(held, journal=journal, concurrency=1) as client, anyio.create_task_group() as tasks:
        stream = client.map(songs, algorithm=40)
        tasks.start_soon(anext, stream)
        while len(client.jobs()) < 3 or not held.jobs:
            await anyio.sleep(0.01)
        tasks.cancel_scope.cancel()
    renamed = [song.rename(song.with_name(f"new {song.name}")) for song in songs]
    held.manual = False
    held.finish(held.jobs[0].hash)
    async with client_of(held, journal=journal, concurrency=1) as client:
        jobs = [job async for job in client.map(renamed, algorithm=40)]
    assert [job.error for job in jobs] == [None] * 3
    assert len(held.jobs) == 3, "the one that was sent is not sent again"
    assert len({job.id for job in jobs}) == 3


async def test_a_song_that_is_retagged_while_it_waits_is_sent_all_the_same(
    held: Sandbox, client_of: NewClient, tmp_path: Path
) -> None:
    first, second = (write_song(tmp_path / "music" / f"{number}.flac") for number in range(2))
    async with client_of(held, journal=tmp_path / "journal.db", concurrency=1) as client:
        stream = client.map([first, second], algorithm=40)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anext, stream)
            while len(client.jobs()) < 2 or not held.jobs:
                await anyio.sleep(0.01)
            retag(second)
            held.finish(held.jobs[0].hash)
        while len(held.jobs) < 2:
            await anyio.sleep(0.01)
        held.finish(held.jobs[1].hash)
        job = await anext(stream)
        assert (job.error, job.stage) == (None, Stage.DONE)


async def test_failed_songs_are_repeated_on_request_and_damaged_ones_never(
    held: Sandbox, client_of: NewClient, tmp_path: Path
) -> None:
    songs = [write_song(tmp_path / "music" / f"{name}.flac") for name in ("good", "unlucky", "damaged")]
    messages = {"unlucky": "The separation failed", "damaged": "The file could not be read: it is damaged"}

    async def run(**arguments: bool) -> dict[str, bool]:
        failed: dict[str, bool] = {}
        async with client_of(held, journal=tmp_path / "journal.db") as client, anyio.create_task_group() as tasks:

            async def end() -> None:
                ended: set[str] = set()
                while True:
                    for job in client.jobs():
                        if job.hash and job.hash not in ended and not job.done():
                            ended.add(job.hash)
                            name = Path(str(job.source)).stem
                            if name in messages:
                                held.fail(job.hash, messages[name])
                            else:
                                held.finish(job.hash)
                    await anyio.sleep(0.01)

            tasks.start_soon(end)
            async for job in client.map(songs, algorithm=40, **arguments):
                failed[Path(str(job.source)).stem] = isinstance(job.error, JobFailedError)
            tasks.cancel_scope.cancel()
        return failed

    both = {"good": False, "unlucky": True, "damaged": True}
    assert (await run(), len(held.jobs)) == (both, 3)
    assert (await run(), len(held.jobs)) == (both, 3), "a failed song is not paid again unasked"
    del messages["unlucky"]
    assert (await run(retry_failed=True), len(held.jobs)) == ({**both, "unlucky": False}, 4)
    assert (await run(retry_failed=True), len(held.jobs)) == ({**both, "unlucky": False}, 4)


async def test_a_song_that_was_missing_when_it_was_to_be_sent_is_sent_once_it_is_back(
    held: Sandbox, client_of: NewClient, tmp_path: Path
) -> None:
    first, second = (write_song(tmp_path / "music" / f"{number}.flac") for number in range(2))
    away = tmp_path / "unmounted.flac"
    async with client_of(held, journal=tmp_path / "journal.db", concurrency=1) as client:
        ended: list[Job] = []

        async def run() -> None:
            ended.extend([job async for job in client.map([first, second], algorithm=40)])

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run)
            while len(client.jobs()) < 2 or not held.jobs:
                await anyio.sleep(0.01)
            second.rename(away)
            held.finish(held.jobs[0].hash)
        assert [type(job.error) for job in ended] == [type(None), UploadError]
    away.rename(second)
    held.manual = False
    (job,) = await separated(client_of, held, second)
    assert job.error is None
    assert len(held.jobs) == 2


@pytest.mark.parametrize("change", [None, rename])
async def test_a_pruned_song_is_not_paid_again(
    sandbox: Sandbox, client_of: NewClient, tmp_path: Path, change: Change | None
) -> None:
    song = write_song(tmp_path / "music" / "song.flac")
    (first,) = await separated(client_of, sandbox, song)
    for _ in range(2):
        async with client_of(sandbox, journal=tmp_path / "journal.db") as client:
            await client.prune()
            assert client.jobs() == []
    (job,) = await separated(client_of, sandbox, song if change is None else change(song))
    assert (job.hash, job.error, job.paths) == (first.hash, None, first.paths)
    assert len(sandbox.jobs) == 1
    async with client_of(sandbox, journal=tmp_path / "journal.db") as client:
        known = await client.find(hash=first.hash)
        assert known is not None
        assert await client.prune([known]) == 1
    await separated(client_of, sandbox, tmp_path / "music" / ("song.flac" if change is None else "renamed.flac"))
    assert len(sandbox.jobs) == 2, "a job that is given is forgotten"
