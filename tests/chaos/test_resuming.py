"""A second client continues from the journal and the folders of a first one."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from mvsep_async import DownloadError, InvalidRequestError, MVSepClient, ServiceUnavailableError, Stage, TransportError
from mvsep_async.sandbox import Sandbox
from tests.client.support import calls, paid, until
from tests.conftest import NewClient, wav


def names(folder: Path) -> list[str]:
    """Return the paths of all files below a folder, relative to it."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def fetched(sandbox: Sandbox) -> int:
    """Return how many requests came for result files."""
    return sum(request.path.startswith("/storage/") for request in sandbox.requests)


async def map_all(client: MVSepClient, song: Path, directory: Path | str, **more: object) -> None:
    async for job in client.map([song], directory=directory, algorithm=40, **more):  # type: ignore[arg-type]
        assert job.error is None


async def test_a_relative_folder_is_the_same_one_to_the_next_process(
    sandbox: Sandbox, client_of: NewClient, song: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        async with client_of(sandbox, journal="j.db") as client:
            await map_all(client, song, "stems")
            (job,) = client.jobs()
            assert list(job.paths) == [tmp_path / "stems" / "Some Song" / f"{stem}.mp3" for stem in ("Vocals", "Other")]
    assert names(tmp_path / "stems") == ["Some Song/Other.mp3", "Some Song/Vocals.mp3"]
    assert (paid(sandbox), fetched(sandbox)) == (1, 2)


async def test_a_file_to_be_written_over_is_not_taken_for_the_result(
    sandbox: Sandbox, client_of: NewClient, song: Path, tmp_path: Path
) -> None:
    old = tmp_path / "stems" / "Some Song" / "Vocals.mp3"
    old.parent.mkdir(parents=True)
    old.write_bytes(b"of long ago")
    sandbox.faults.add(kind="stall", path="/storage/*", seconds=60.0, count=None)
    async with client_of(sandbox, journal=tmp_path / "j.db") as client:
        job = await client.submit(song, algorithm=40)
        await job
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: job.download(tmp_path / "stems", overwrite=True))
            await until(lambda: fetched(sandbox) + sandbox.faults.triggered >= 2)
            tasks.cancel_scope.cancel()
    sandbox.faults.clear()
    assert old.read_bytes() == b"of long ago"
    async with client_of(sandbox, journal=tmp_path / "j.db") as client:
        (job,) = client.jobs()
        paths = await job.download(tmp_path / "stems", overwrite=True)
        requests = fetched(sandbox)
        assert await job.download(tmp_path / "stems", overwrite=True) == paths
        assert fetched(sandbox) == requests
    assert {path.read_bytes() for path in paths} == {song.read_bytes()}
    assert names(tmp_path / "stems") == ["Some Song/Other.mp3", "Some Song/Vocals.mp3"]


async def test_a_song_that_was_changed_before_it_was_sent_is_paid_for_once(
    sandbox: Sandbox, client_of: NewClient, song: Path, tmp_path: Path
) -> None:
    async def map_both(client: MVSepClient) -> None:
        async for job in client.map([song, second], algorithm=40):
            assert job.error is None

    second = tmp_path / "second.wav"
    second.write_bytes(wav(0.2))
    sandbox.manual = True
    async with (
        client_of(sandbox, journal=tmp_path / "j.db", concurrency=1) as client,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(map_both, client)
        await until(lambda: len(client.jobs()) == 2 and paid(sandbox) == 1)
        tasks.cancel_scope.cancel()
    second.write_bytes(wav(0.3))
    sandbox.manual = False
    sandbox.finish(sandbox.jobs[0].hash)
    for _ in range(2):
        async with client_of(sandbox, journal=tmp_path / "j.db", concurrency=1) as client:
            await map_both(client)
            (_, old, new) = client.jobs()
            with pytest.raises(InvalidRequestError, match="changed since it was submitted"):
                await old
            await new
    assert paid(sandbox) == 2


async def begun_and_left(client: MVSepClient, sandbox: Sandbox, song: Path, directory: Path) -> None:
    """Leave a job while its stems are on their way."""
    fault = sandbox.faults.add(kind="stall", path="/storage/*", after_bytes=600, seconds=60.0, count=None)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(map_all, client, song, directory)
        await until(lambda: len(list(directory.rglob("*.part.json"))) == 2)
        tasks.cancel_scope.cancel()
    sandbox.faults.remove(fault)


async def test_a_file_of_another_program_is_not_taken_for_the_result(
    sandbox: Sandbox, client_of: NewClient, song: Path, tmp_path: Path
) -> None:
    stems, other = tmp_path / "stems", tmp_path / "other" / song.name
    other.parent.mkdir()
    other.write_bytes(wav(2.0))
    async with client_of(sandbox, journal=tmp_path / "a.db") as client:
        await begun_and_left(client, sandbox, song, stems)
    async with client_of(sandbox, journal=tmp_path / "b.db") as client:
        await map_all(client, other, stems)
    async with client_of(sandbox, journal=tmp_path / "a.db") as client:
        await map_all(client, song, stems)
        (job,) = client.jobs()
        assert {path.read_bytes() for path in job.paths} == {song.read_bytes()}
    for name in ("Vocals", "Other"):
        assert (stems / "Some Song" / f"{name}.mp3").read_bytes() == other.read_bytes()
    assert len(names(stems)) == 4


async def test_what_was_named_in_the_last_moment_is_known_by_its_bytes(
    sandbox: Sandbox, client_of: NewClient, song: Path, tmp_path: Path
) -> None:
    stems = tmp_path / "stems"
    async with client_of(sandbox, journal=tmp_path / "j.db") as client:
        await begun_and_left(client, sandbox, song, stems)
    whole, just_named = (stems / "Some Song" / f"{name}.mp3" for name in ("Vocals", "Other"))
    for path in (whole, just_named):
        path.with_name(path.name + ".part").write_bytes(song.read_bytes())
    whole.with_name(whole.name + ".part").rename(whole)
    whole.with_name(whole.name + ".part.json").unlink()
    just_named.hardlink_to(just_named.with_name(just_named.name + ".part"))
    async with client_of(sandbox, journal=tmp_path / "j.db") as client:
        await map_all(client, song, stems)
        (job,) = client.jobs()
        assert list(job.paths) == [whole, just_named]
    assert names(stems) == ["Some Song/Other.mp3", "Some Song/Vocals.mp3"]
    assert {path.read_bytes() for path in job.paths} == {song.read_bytes()}


async def test_each_folder_that_was_downloaded_to_is_known_again(
    sandbox: Sandbox, client_of: NewClient, song: Path, tmp_path: Path
) -> None:
    async with client_of(sandbox, journal=tmp_path / "j.db") as client:
        job = await client.submit(song, algorithm=40)
        await job.download(tmp_path / "one")
        await job.download(tmp_path / "two")
    async with client_of(sandbox, journal=tmp_path / "j.db") as client:
        (job,) = client.jobs()
        requests = fetched(sandbox)
        await job.download(tmp_path / "one")
        await job.download(tmp_path / "two")
    assert fetched(sandbox) == requests
    assert names(tmp_path / "one") == names(tmp_path / "two") == ["Some Song/Other.mp3", "Some Song/Vocals.mp3"]


async def test_the_only_copy_of_a_song_outlives_an_outage_longer_than_our_patience(
    sandbox: Sandbox, client_of: NewClient, tmp_path: Path
) -> None:
    await sandbox.go_down()
    async with client_of(sandbox, journal=tmp_path / "j.db", patience=0.05) as client:
        job = await client.submit(wav(), filename="a.wav", algorithm=40)
        with pytest.raises(TransportError):
            await job
    await sandbox.come_back()
    async with client_of(sandbox, journal=tmp_path / "j.db") as client:
        (job,) = client.jobs()
        await job
    assert paid(sandbox) == 1
    assert names(tmp_path / "j.db.spool") == []


async def test_a_create_that_only_ever_brings_nonsense_ends_with_it(
    sandbox: Sandbox, client_of: NewClient, song: Path
) -> None:
    sandbox.faults.add(kind="html", path="separation/create", count=None, status=502)
    async with client_of(sandbox, patience=0.1, poll_interval=0.002) as client:
        job = await client.submit(song, algorithm=40)
        with pytest.raises(ServiceUnavailableError) as raised:
            await job
    assert raised.value.job == job.id
    assert paid(sandbox) == 0


async def test_a_create_that_only_ever_brings_nonsense_is_repeated_meanwhile(
    sandbox: Sandbox, client_of: NewClient, song: Path
) -> None:
    sandbox.faults.add(kind="html", path="separation/create", count=None, status=502)
    async with client_of(sandbox, poll_interval=0.002) as client:
        job = await client.submit(song, algorithm=40)
        await until(lambda: calls(sandbox, "separation/create") > 1)
        assert not job.done()
    assert paid(sandbox) == 0


async def test_a_failed_download_is_taken_up_by_the_next_process(
    sandbox: Sandbox, client_of: NewClient, song: Path, tmp_path: Path
) -> None:
    sandbox.faults.add(kind="refuse", path="/storage/*", count=None, status=500)
    async with client_of(sandbox, journal=tmp_path / "j.db", patience=0.05) as client:
        async for job in client.map([song], directory=tmp_path / "stems", algorithm=40):
            assert isinstance(job.error, DownloadError)
    sandbox.faults.clear()
    async with client_of(sandbox, journal=tmp_path / "j.db", patience=20) as client:
        await map_all(client, song, tmp_path / "stems")
        (job,) = client.jobs()
        assert job.stage is Stage.FINISHED
    assert paid(sandbox) == 1
    assert names(tmp_path / "stems") == ["Some Song/Other.mp3", "Some Song/Vocals.mp3"]
