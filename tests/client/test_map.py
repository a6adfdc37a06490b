"""`map`: songs are read as slots come free, and jobs are yielded as they finish."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.abc import TaskGroup
from attrs import frozen

from mvsep_async import (
    ClientClosedError,
    InvalidRequestError,
    Job,
    JobFailedError,
    JobNotFoundError,
    OutputFormat,
    Stage,
    UploadError,
)
from mvsep_async.jobs.stream import AHEAD, JobStream
from mvsep_async.sandbox import Sandbox
from tests.conftest import NewClient, wav

from .support import Stream, paid, until


class Songs:
    """Songs that count how many of them were taken, as an iterable or an async one."""

    def __init__(self, folder: Path, count: int) -> None:
        self.paths = [folder / f"song {number}.wav" for number in range(count)]
        for number, path in enumerate(self.paths):
            path.write_bytes(wav(0.01 * (number + 1)))
        self.taken = 0

    def __iter__(self) -> Iterator[Path]:
        for path in self.paths:
            self.taken += 1
            yield path

    async def slowly(self) -> AsyncIterator[Path]:
        for path in self:
            await anyio.sleep(0)
            yield path


@pytest.fixture
def songs(tmp_path: Path) -> Songs:
    return Songs(tmp_path, 8)


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_all_songs_come_back_with_their_stems(
    sandbox: Sandbox, client_of: NewClient, songs: Songs, tmp_path: Path, asynchronous: bool
) -> None:
    done: list[Job] = []
    async with client_of(sandbox) as client:
        sources = songs.slowly() if asynchronous else songs
        async for job in client.map(sources, directory=tmp_path / "out", algorithm=40, metadata={"batch": 1}):
            assert (job.error, job.stage, job.metadata) == (None, Stage.FINISHED, {"batch": 1})
            assert [path.read_bytes() for path in job.paths] == [Path(str(job.source)).read_bytes()] * 2
            done.append(job)
    assert sorted(str(job.source) for job in done) == sorted(map(str, songs.paths))
    assert paid(sandbox) == len(songs.paths)


async def test_without_a_folder_nothing_is_downloaded(sandbox: Sandbox, client_of: NewClient, songs: Songs) -> None:
    async with client_of(sandbox) as client:
        async for job in client.map(songs, algorithm=40):
            assert (job.stage, job.paths) == (Stage.DONE, ())
    assert not any(request.path.startswith("/storage") for request in sandbox.requests)


@pytest.mark.parametrize("concurrency", [1, 2])
async def test_songs_are_read_only_a_little_ahead_of_the_slots(
    held: Sandbox, client_of: NewClient, tmp_path: Path, concurrency: int
) -> None:
    songs = Songs(tmp_path, 20)
    async with client_of(held, concurrency=concurrency) as client:
        stream = client.map(songs, algorithm=40)
        first = anyio.Event()
        taken: list[Job] = []

        async def take_one() -> None:
            taken.append(await anext(stream))
            first.set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(take_one)
            await until(lambda: paid(held) == concurrency and songs.taken == concurrency + AHEAD)
            for _ in range(20):
                await anyio.sleep(0)
            assert songs.taken == concurrency + AHEAD
            held.finish(held.jobs[0].hash)
            await first.wait()
        await until(lambda: songs.taken == concurrency + AHEAD + 1)
        # Who does not take what is finished stops the reading, too.
        for number in range(1, 6):
            await until(lambda number=number: paid(held) > number)
            held.finish(held.jobs[number].hash)
        await until(lambda: sum(job.done() for job in client.jobs()) >= 5)
        for _ in range(20):
            await anyio.sleep(0)
        assert songs.taken == concurrency + AHEAD + 1


async def test_a_free_account_is_not_read_ahead_for_as_if_it_were_premium(
    held: Sandbox, client_of: NewClient, tmp_path: Path
) -> None:
    songs = Songs(tmp_path, 20)
    async with client_of(held, api_token=held.free_token) as client, anyio.create_task_group() as tasks:
        tasks.start_soon(anext, client.map(songs, algorithm=40))
        await until(lambda: paid(held) == 1)
        for _ in range(20):
            await anyio.sleep(0)
        assert songs.taken == 1 + AHEAD
        tasks.cancel_scope.cancel()


async def test_all_slots_of_a_premium_account_are_used_before_any_song_is_done(
    held: Sandbox, client_of: NewClient, tmp_path: Path
) -> None:
    async with client_of(held) as client, anyio.create_task_group() as tasks:
        tasks.start_soon(anext, client.map(Songs(tmp_path, 20), algorithm=40))
        await until(lambda: paid(held) == 10)
        tasks.cancel_scope.cancel()


async def test_songs_are_sent_while_the_stems_of_others_are_downloaded(
    sandbox: Sandbox, client_of: NewClient, tmp_path: Path
) -> None:
    songs = Songs(tmp_path, 20)
    sandbox.faults.add(kind="stall", path="/storage/*", count=None, seconds=3600.0)
    async with client_of(sandbox, concurrency=1) as client, anyio.create_task_group() as tasks:
        tasks.start_soon(anext, client.map(songs, directory=tmp_path / "out", algorithm=40))
        ahead = 2 * (1 + AHEAD)  # as many as are read ahead of the slot may be downloaded
        await until(lambda: paid(sandbox) == ahead and songs.taken == ahead)
        for _ in range(20):
            await anyio.sleep(0)
        assert songs.taken == ahead, "downloads that never end stop the reading"
        tasks.cancel_scope.cancel()


async def test_the_first_to_finish_is_given_first(held: Sandbox, client_of: NewClient, songs: Songs) -> None:
    async with client_of(held) as client:
        stream = client.map(songs, algorithm=40)
        order = []

        async def take() -> None:
            async for job in stream:
                order.append(str(job.hash))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(take)
            await until(lambda: paid(held) == 8)
            backwards = [job.hash for job in reversed(held.jobs)]
            for number, hash in enumerate(backwards):
                held.finish(hash)
                await until(lambda number=number: len(order) == number + 1)
        assert order == backwards


async def test_bad_songs_are_failed_jobs_and_the_rest_continues(
    sandbox: Sandbox, client_of: NewClient, songs: Songs, tmp_path: Path
) -> None:
    (tmp_path / "empty.wav").touch()

    async def nothing() -> AsyncIterator[bytes]:
        return
        yield b""

    bad: list[Any] = [tmp_path / "absent.wav", str(tmp_path / "empty.wav"), tmp_path, 17, b"", nothing()]
    failed: list[Job] = []
    async with client_of(sandbox) as client:
        mixed = [*songs.paths[:2], *bad, *songs.paths[2:]]
        count = 0
        async for job in client.map(mixed, algorithm=40, filename="name.wav", metadata=["mine"]):
            count += 1
            if job.error is not None:
                failed.append(job)
        assert len(client.jobs()) == len(mixed)
    assert count == len(mixed)
    assert len(failed) == len(bad)
    for job in failed:
        assert isinstance(job.error, InvalidRequestError | UploadError)
        assert (job.stage, job.done(), job.metadata, job.error.job) == (Stage.FAILED, True, ["mine"], job.id)
    assert paid(sandbox) == len(songs.paths)


async def test_failures_at_the_service_are_given_too(client_of: NewClient, songs: Songs, tmp_path: Path) -> None:
    songs.paths[3] = songs.paths[3].rename(tmp_path / "sandbox-fail.wav")
    async with Sandbox(stems="copy", job_seconds=0.0) as sandbox, client_of(sandbox) as client:
        errors = [job.error async for job in client.map(songs, directory=tmp_path / "out", algorithm=40)]
    assert len(errors) == 8
    assert [type(error) for error in errors if error is not None] == [JobFailedError]


async def test_a_folder_that_cannot_be_written_fails_the_jobs_before_they_are_paid(
    sandbox: Sandbox, client_of: NewClient, songs: Songs, tmp_path: Path
) -> None:
    (tmp_path / "out").write_text("a file where the folder should be")
    async with client_of(sandbox) as client:
        jobs = [job async for job in client.map(songs, directory=tmp_path / "out", algorithm=40)]
        assert len(jobs) == 8
        for job in jobs:
            assert "out" in str(job.error)
            assert job.stage is Stage.FAILED
    assert paid(sandbox) == 0


async def test_settings_that_cannot_be_end_it_at_the_first_step(
    sandbox: Sandbox, client_of: NewClient, songs: Songs
) -> None:
    async with client_of(sandbox) as client:
        with pytest.raises(InvalidRequestError, match="nonesuch"):
            async for _ in client.map(songs, algorithm="nonesuch"):
                pass
        with pytest.raises(InvalidRequestError, match="layout"):
            client.map(songs, directory="x", layout="../{song}", algorithm=40)
        with pytest.raises(InvalidRequestError, match="key"):
            client.map(songs, algorithm=40, key="one key for all of them")
        with pytest.raises(InvalidRequestError, match="list"):
            client.map("song.wav", algorithm=40)  # of which each letter would be a path
        with pytest.raises(TypeError, match="iterable"):
            await anext(client.map(5, algorithm=40))  # type: ignore[arg-type]
    assert sandbox.jobs == []


async def test_what_the_callers_iterable_raises_comes_after_the_songs_before_it(
    sandbox: Sandbox, client_of: NewClient, songs: Songs
) -> None:
    class OwnError(Exception):
        pass

    def broken() -> Iterator[Path]:
        yield from songs.paths[:3]
        raise OwnError

    jobs = []
    async with client_of(sandbox) as client:
        with pytest.raises(OwnError):
            async for job in client.map(broken(), algorithm=40):
                jobs.append(job)
        assert len(jobs) == 3
        await (await client.submit(songs.paths[0], algorithm=40))  # the client lives on


async def test_leaving_the_loop_leaves_its_jobs_to_the_client(
    sandbox: Sandbox, client_of: NewClient, songs: Songs
) -> None:
    async with client_of(sandbox, concurrency=2) as client:
        stream = client.map(songs, algorithm=40)
        async for _ in stream:
            break
        await stream.aclose()
        with pytest.raises(StopAsyncIteration):
            await anext(stream)
        taken = songs.taken
        for job in client.jobs():
            await job
        assert songs.taken == taken < 8
    assert paid(sandbox) == taken


async def test_a_client_that_closes_ends_it_with_the_reason(held: Sandbox, client_of: NewClient, songs: Songs) -> None:
    caught: list[BaseException] = []
    async with anyio.create_task_group() as tasks, client_of(held) as client:
        stream = client.map(songs, algorithm=40)

        async def take() -> None:
            try:
                await anext(stream)
            except ClientClosedError as error:
                caught.append(error)

        tasks.start_soon(take)
        await until(lambda: paid(held) == 8)
    assert len(caught) == 1


async def test_a_job_that_ends_with_the_client_ends_the_stream_alone() -> None:
    async def submit(source: object) -> Any:
        return source

    async def wait(job: Job) -> None:
        raise ClientClosedError("closed")

    @frozen
    class Backend:
        tasks: TaskGroup

        def slots(self) -> int:
            return 1

        async def account_known(self) -> None:
            await anyio.sleep_forever()

    async with anyio.create_task_group() as tasks:
        stream = JobStream(["a", "b"], submit, wait, wait, Backend(tasks))
        with pytest.raises(ClientClosedError):
            await anext(stream)
        with pytest.raises(StopAsyncIteration):
            await anext(stream)


async def test_bytes_and_streams_are_songs_too(sandbox: Sandbox, client_of: NewClient, tmp_path: Path) -> None:
    async with client_of(sandbox) as client:
        sources = [wav(0.1), Stream(wav(0.2))]
        async for job in client.map(sources, directory=tmp_path, algorithm=40, filename="a.wav"):
            assert job.error is None
    assert {path.parent.name for path in tmp_path.rglob("*.mp3")} == {"a"}
    assert sorted(path.name for path in tmp_path.rglob("*.mp3")) == [
        "Other (2).mp3",
        "Other.mp3",
        "Vocals (2).mp3",
        "Vocals.mp3",
    ]


async def test_results_that_vanish_before_the_download_are_an_error_of_that_job(
    held: Sandbox, client_of: NewClient, songs: Songs, tmp_path: Path
) -> None:
    async with client_of(held) as client, anyio.create_task_group() as tasks:
        jobs: list[Job] = []

        async def take() -> None:
            async for job in client.map(songs.paths[:2], directory=tmp_path / "out", algorithm=40):
                jobs.append(job)

        tasks.start_soon(take)
        await until(lambda: paid(held) == 2)
        held.delete(held.jobs[0].hash)
        held.finish(held.jobs[1].hash)
    kinds = {type(job.error) for job in jobs}
    assert kinds == {type(None), JobNotFoundError}


async def test_with_a_journal_no_song_is_submitted_again(
    sandbox: Sandbox, client_of: NewClient, songs: Songs, tmp_path: Path
) -> None:
    journal, out = tmp_path / "journal.db", tmp_path / "out"
    for count, settings in ((8, {}), (8, {}), (16, {"output_format": OutputFormat.WAV_16})):
        async with client_of(sandbox, journal=journal) as client:
            found = [job async for job in client.map(songs, directory=out, algorithm=40, **settings)]
        assert len(found) == 8
        assert all(job.error is None and len(job.paths) == 2 for job in found)
        assert paid(sandbox) == count
    assert len(list(out.rglob("*.mp3"))) == 16


async def test_the_repr_is_short_and_holds_no_song(sandbox: Sandbox, client_of: NewClient) -> None:
    async with client_of(sandbox) as client:
        stream = client.map([b"secret song " * 1000], filename="song.wav", algorithm=40)
        assert repr(stream) == "<JobStream new, 0 jobs held>"
        assert repr(client.account) == "AccountAPI()"
        assert repr(client.separations) == "SeparationsAPI()"
