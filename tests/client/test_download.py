"""Stems on disk: complete, checked, at the right place, and fetched only once."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import anyio
import httpx
import pytest
from attrs import evolve
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mvsep_async import DownloadError, InvalidRequestError, Job, MVSepClient, Stage
from mvsep_async.download.part_file import PartFile
from mvsep_async.download.ranges import ResumeState
from mvsep_async.errors import MVSepError
from mvsep_async.sandbox import Sandbox
from mvsep_async.sandbox.settings import Quirks
from tests.conftest import STRANGER, NewClient, wav

from .support import all_of, reached, stages, until


@pytest.fixture
def long_song(tmp_path: Path) -> Path:
    path = tmp_path / "song.wav"
    path.write_bytes(wav(30.0))
    return path


def fetched(sandbox: Sandbox) -> int:
    return sum(request.path.startswith("/storage/processed/") for request in sandbox.requests)


def files_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


async def separated(client: MVSepClient, song: Path, **arguments: Any) -> Job:
    job = await client.submit(song, algorithm=40, **arguments)
    await job
    return job


@pytest.mark.parametrize("fault", [{"kind": "cut_response"}, {"kind": "cut_response", "reset": True}])
async def test_an_interrupted_download_continues(
    sandbox: Sandbox, client_of: NewClient, long_song: Path, tmp_path: Path, fault: dict[str, Any]
) -> None:
    async with client_of(sandbox) as client:
        job = await separated(client, long_song)
        sandbox.faults.add(path="/storage/processed/*", after_bytes=600_000, count=2, **fault)
        paths = await job.download(tmp_path / "stems")
        assert {path.read_bytes() for path in paths} == {long_song.read_bytes()}
    statuses = [request.status for request in sandbox.requests]
    assert statuses.count(0) == 2
    # A reset discards what has arrived and was not read: on a busy machine that may be everything.
    assert statuses.count(206) == 2 or (fault.get("reset") and statuses.count(206) < 2)
    assert files_below(tmp_path / "stems") == ["song/Other.mp3", "song/Vocals.mp3"]


@pytest.mark.parametrize("status", [200, 502])
async def test_a_page_is_never_saved_as_audio(
    sandbox: Sandbox, client_of: NewClient, song: Path, tmp_path: Path, status: int
) -> None:
    async with client_of(sandbox, patience=0.3) as client:
        job = await separated(client, song)
        page = sandbox.faults.add(kind="html", path="/storage/processed/*", status=status, count=None)
        with pytest.raises(DownloadError) as caught:
            await job.download(tmp_path / "stems")
        assert (caught.value.job, caught.value.hash) == (job.id, job.hash)
        assert [path for path in files_below(tmp_path / "stems") if not path.endswith(".part")] == []
        # The job is separated all the same, and the next try is the same download.
        assert (job.stage, job.error) == (Stage.DONE, None)
        sandbox.faults.remove(page)
        assert len(await job.download(tmp_path / "stems")) == 2
    assert files_below(tmp_path / "stems") == ["Some Song/Other.mp3", "Some Song/Vocals.mp3"]


async def test_an_expired_link_is_renewed(sandbox: Sandbox, client_of: NewClient, song: Path, tmp_path: Path) -> None:
    async with client_of(sandbox) as client:
        job = await separated(client, song)
        sandbox.expire_links()
        paths = await job.download(tmp_path / "stems")
    assert {path.read_bytes() for path in paths} == {song.read_bytes()}


async def test_deleted_results_are_an_error(sandbox: Sandbox, client_of: NewClient, song: Path, tmp_path: Path) -> None:
    async with client_of(sandbox) as client:
        job = await separated(client, song)
        sandbox.delete(str(job.hash))
        with pytest.raises(DownloadError, match="deleted or expired"):
            await job.download(tmp_path / "stems")


async def test_a_job_without_files_says_so(sandbox: Sandbox, client_of: NewClient, song: Path, tmp_path: Path) -> None:
    sandbox.quirks = Quirks(empty_files=True)
    async with client_of(sandbox) as client:
        job = await separated(client, song)
        with pytest.raises(DownloadError, match="no files"):
            await job.download(tmp_path / "stems")
        with pytest.raises(DownloadError, match="no files"):
            await client.separate(song, tmp_path / "stems", algorithm=40)


async def test_complete_files_are_not_fetched_again(
    sandbox: Sandbox, client_of: NewClient, song: Path, tmp_path: Path
) -> None:
    async with client_of(sandbox) as client:
        job = await separated(client, song)
        first = await job.download(tmp_path / "a")
        await job.download(tmp_path / "b")
        assert fetched(sandbox) == 4
        assert await job.download(tmp_path / "a") == first
        assert fetched(sandbox) == 4
        first[0].unlink()
        assert await job.download(tmp_path / "a") == first
        assert fetched(sandbox) == 5
        assert {path.parent.parent for path in job.paths} == {tmp_path / "a", tmp_path / "b"}


async def test_two_downloads_of_one_job_at_once_take_turns(
    sandbox: Sandbox, client_of: NewClient, long_song: Path, tmp_path: Path
) -> None:
    results: list[list[Path]] = []
    async with client_of(sandbox) as client:
        job = await separated(client, long_song)

        async def download() -> None:
            results.append(await job.download(tmp_path / "stems"))

        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(download)
    assert results[0] == results[1] == results[2]
    assert fetched(sandbox) == 2


async def test_two_jobs_of_one_name_get_different_files(sandbox: Sandbox, client_of: NewClient, tmp_path: Path) -> None:
    songs = []
    for number in range(3):
        path = tmp_path / str(number) / "song.wav"
        path.parent.mkdir()
        path.write_bytes(wav(0.1 * (number + 1)))
        songs.append(path)
    async with client_of(sandbox) as client:
        jobs = [await separated(client, song) for song in songs]
        results: dict[str, list[Path]] = {}

        async def download(job: Job) -> None:
            results[job.id] = await job.download(tmp_path / "stems")

        async with anyio.create_task_group() as tasks:
            for job in jobs:
                tasks.start_soon(download, job)
        for job, song in zip(jobs, songs, strict=True):
            assert {path.read_bytes() for path in results[job.id]} == {song.read_bytes()}
            assert await job.download(tmp_path / "stems") == results[job.id]
    assert files_below(tmp_path / "stems") == sorted(
        f"song/{stem}{number}.mp3" for stem in ("Vocals", "Other") for number in ("", " (2)", " (3)")
    )


async def test_a_name_that_another_process_is_writing_is_numbered_around(
    sandbox: Sandbox, client_of: NewClient, song: Path, tmp_path: Path
) -> None:
    theirs = PartFile(tmp_path, tmp_path / "stems/Some Song/Vocals.mp3")
    theirs.open()
    theirs.begin(0, ResumeState("theirs"))
    async with client_of(sandbox) as client:
        await client.separate(song, tmp_path / "stems", algorithm=40)
        theirs.write(b"theirs")
        theirs.finish(overwrite=False)
    assert files_below(tmp_path / "stems") == [
        "Some Song/" + name for name in ("Other.mp3", "Vocals (2).mp3", "Vocals.mp3")
    ]
    assert theirs.target.read_bytes() == b"theirs"


async def test_three_processes_download_songs_of_one_name_into_one_folder(sandbox: Sandbox, tmp_path: Path) -> None:
    songs = []
    for number in range(12):
        path = tmp_path / str(number) / "song.wav"
        path.parent.mkdir()
        path.write_bytes(wav(0.1 * (number + 1)))
        songs.append(str(path))
    printed: list[str] = []

    async def process(mine: list[str]) -> None:
        arguments = [sandbox.url, sandbox.premium_token, str(tmp_path / "stems"), *mine]
        done = await anyio.run_process([sys.executable, str(Path(__file__).with_name("same_name.py")), *arguments])
        printed.extend(done.stdout.decode().splitlines())

    async with anyio.create_task_group() as tasks:
        for first in range(3):
            tasks.start_soon(process, songs[first::3])
    stems = [line.split("\t") for line in printed]
    assert len(stems) == len({path for _, path in stems}) == 24
    for song, path in stems:
        assert Path(path).read_bytes() == Path(song).read_bytes()
    assert files_below(tmp_path / "stems") == sorted(
        str(Path(path).relative_to(tmp_path / "stems")) for _, path in stems
    )


async def test_the_name_of_a_removed_file_is_free_again(
    sandbox: Sandbox, client_of: NewClient, song: Path, tmp_path: Path
) -> None:
    async with client_of(sandbox) as client:
        first, second = await separated(client, song), await separated(client, song)
        paths = await first.download(tmp_path / "stems")
        paths[0].unlink()
        assert await second.download(tmp_path / "stems", stems=["vocals"]) == [paths[0]]
        # It is the second job's file from then on, for the first one too.
        assert list(first.paths) == [paths[1]]
        again = await first.download(tmp_path / "stems", stems=["vocals"])
        assert [path.name for path in again] == ["Vocals (2).mp3"]


async def test_a_file_that_another_job_has_overwritten_is_downloaded_again(
    sandbox: Sandbox, client_of: NewClient, tmp_path: Path
) -> None:
    songs = [tmp_path / str(number) / "song.wav" for number in range(2)]
    for number, path in enumerate(songs):
        path.parent.mkdir()
        path.write_bytes(wav(0.1 * (number + 1)))
    async with client_of(sandbox) as client:
        first, second = [await separated(client, song) for song in songs]
        paths = await first.download(tmp_path / "stems")
        assert await second.download(tmp_path / "stems", overwrite=True) == paths
        assert await first.download(tmp_path / "stems", overwrite=True) == paths
    assert {path.read_bytes() for path in paths} == {songs[0].read_bytes()}


async def test_an_error_after_the_payment_says_how_to_get_the_results(
    sandbox: Sandbox, client_of: NewClient, song: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("not a folder")
    async with client_of(sandbox) as client:
        job = await separated(client, song)
        command = f"`mvsep-async download {job.hash}`"
        with pytest.raises(DownloadError, match="cannot be used") as no_folder:
            await job.download(tmp_path / "file")
        with pytest.raises(InvalidRequestError, match="'drums'") as no_stem:
            await job.download(tmp_path / "stems", stems=["drums"])
    assert command in str(no_folder.value)
    assert command in str(no_stem.value)


async def test_an_existing_file_is_kept_unless_overwriting(
    sandbox: Sandbox, client_of: NewClient, song: Path, tmp_path: Path
) -> None:
    there = tmp_path / "stems" / "Some Song" / "Vocals.mp3"
    there.parent.mkdir(parents=True)
    there.write_text("mine")
    async with client_of(sandbox) as client:
        paths = await (await separated(client, song)).download(tmp_path / "stems")
        assert there.read_text() == "mine"
        assert [path.name for path in paths] == ["Vocals (2).mp3", "Other.mp3"]
        paths = await (await separated(client, song)).download(tmp_path / "stems", stems=["vocals"], overwrite=True)
        assert paths == [there]
        assert there.read_bytes() == song.read_bytes()


async def test_chosen_stems_and_layouts(sandbox: Sandbox, client_of: NewClient, song: Path, tmp_path: Path) -> None:
    async with client_of(sandbox) as client:
        job = await separated(client, song)
        (path,) = await job.download(tmp_path, stems=["vocals"], layout="{stem} of {song}")
        assert path == tmp_path / "Vocals of Some Song.mp3"
        with pytest.raises(InvalidRequestError, match="drums") as caught:
            await job.download(tmp_path, stems=["vocals", "drums"])
        assert caught.value.candidates == ("Vocals", "Other")
        for layout in ("../{stem}", "/{stem}", "{nonsense}", "", "a//b"):
            with pytest.raises(InvalidRequestError):
                await job.download(tmp_path, layout=layout)
        (path,) = await client.separate(song, tmp_path / "x", stems=iter(["OTHER"]), algorithm=40)
        assert path.name == "Other.mp3"


async def test_downloading_waits_for_the_job_and_raises_its_error(
    held: Sandbox, client_of: NewClient, song: Path, tmp_path: Path
) -> None:
    async with client_of(held) as client, anyio.create_task_group() as tasks:
        good, bad = [await client.submit(song, algorithm=40) for _ in range(2)]
        errors: list[MVSepError] = []

        async def download(job: Job) -> None:
            try:
                await job.download(tmp_path / "stems")
            except MVSepError as error:
                errors.append(error)

        for job in (good, bad):
            tasks.start_soon(download, job)
            await reached(job, Stage.WAITING)
        held.fail(str(bad.hash), "no luck")
        held.finish(str(good.hash))
        await until(lambda: good.stage is Stage.FINISHED and errors)
        assert errors == [bad.error]
        assert len(good.paths) == 2


async def test_the_download_is_part_of_the_progress_where_it_was_asked_for(
    sandbox: Sandbox, client_of: NewClient, long_song: Path, tmp_path: Path
) -> None:
    async with client_of(sandbox) as client:
        stream = client.map([long_song], directory=tmp_path / "stems", algorithm=40)
        seen = []

        async def subscribe() -> None:
            await until(client.jobs)
            seen.extend(await all_of(aiter(client.jobs()[0])))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(subscribe)
            async for job in stream:
                assert job.stage is Stage.FINISHED
    assert stages(seen)[-3:] == [Stage.DONE, Stage.DOWNLOADING, Stage.FINISHED]
    fractions = [progress.fraction for progress in seen if progress.fraction is not None]
    assert fractions == sorted(fractions)
    assert next(progress.fraction for progress in seen if progress.stage is Stage.DONE) != 1.0
    assert fractions[-1] == 1.0
    assert seen[-1].stage is Stage.FINISHED


async def test_an_unusable_output_folder_is_an_error(
    sandbox: Sandbox, client_of: NewClient, song: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("no folder")
    async with client_of(sandbox) as client:
        job = await separated(client, song)
        for folder in (tmp_path / "file", tmp_path / "file" / "below", tmp_path / ("x" * 300), "nul\0name"):
            with pytest.raises((DownloadError, InvalidRequestError)) as caught:
                await job.download(folder)
            assert "\n" not in str(caught.value)
        await job.download(tmp_path / "good")


NASTY = [
    "../../evil",
    "/etc/passwd",
    "..",
    "C:\\evil",
    "CON",
    "a\0b",
    "\u202egnp.exe",
    "x" * 400,
    "",
    " . ",
    "~",
    "a/b",
]


class Body(httpx.AsyncByteStream):
    """A body that has not been read yet, unlike that of a `Response` made with `content`."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self.data


class Results(httpx.AsyncBaseTransport):
    """A service that has one finished job, whose stems have any names."""

    def __init__(self, stems: list[str], downloads: list[str]) -> None:
        self.files: list[dict[str, object]] = [
            {"url": f"https://files.test/{index}.mp3?n={quote(name)}", "type": stem, "download": name, "size": "1 KB"}
            for index, (stem, name) in enumerate(zip(stems, downloads, strict=True))
        ]

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.host == "files.test":
            assert "api_token" not in str(request.url)
            return httpx.Response(200, stream=Body((b"ID3" + request.url.path.encode()).ljust(2000, b"\1")))
        data = {"algorithm": "x", "files": self.files}
        return httpx.Response(200, json={"success": True, "status": "done", "data": data})


async def fetch_all(stems: list[str], downloads: list[str], folder: Path) -> list[Path]:
    transport = Results(stems, downloads)
    async with (
        httpx.AsyncClient(transport=transport) as http,
        MVSepClient(STRANGER, poll_interval=0.01, requests_per_minute=6000, http=http) as client,
    ):
        return await client.attach("20230327071601-0e3e5c6c85-a.mp3").download(folder)


@pytest.mark.parametrize("said", [1999, "2001", 2000, "2000", 0, None])
async def test_a_result_has_the_length_that_the_service_says(tmp_path: Path, said: object) -> None:
    transport = Results(["Vocals"], ["a.mp3"])
    transport.files[0]["bytes"] = said
    async with (
        httpx.AsyncClient(transport=transport) as http,
        MVSepClient(STRANGER, poll_interval=0.01, requests_per_minute=6000, http=http, patience=0.3) as client,
    ):
        job = client.attach("20230327071601-0e3e5c6c85-a.mp3")
        if said in (1999, "2001"):
            with pytest.raises(DownloadError, match=r"2000 bytes of 2001|more than the 1999 bytes"):
                await job.download(tmp_path)
            assert list(tmp_path.rglob("*.mp3")) == []
        else:
            (path,) = await job.download(tmp_path)
            assert path.stat().st_size == 2000


async def test_nasty_names_from_the_service_stay_in_the_folder_and_apart(tmp_path: Path) -> None:
    paths = await fetch_all(NASTY, [f"{name}.mp3" for name in NASTY], tmp_path / "stems")
    assert len(set(paths)) == len(NASTY)
    inside = (tmp_path / "stems").resolve()
    for index, path in enumerate(paths):
        assert path.resolve().is_relative_to(inside)
        assert path.read_bytes().startswith(f"ID3/{index}.mp3".encode())
    assert sorted(tmp_path.iterdir()) == [tmp_path / "stems"]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.lists(st.text(max_size=30), min_size=1, max_size=5))
async def test_whatever_they_are_called_each_stem_has_its_own_file(
    tmp_path_factory: pytest.TempPathFactory, names: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("out")
    paths = await fetch_all(names, [f"{name}.mp3" for name in names], folder / "stems")
    assert len({str(path).casefold() for path in paths}) == len(names)
    assert [path.read_bytes().rstrip(b"\1") for path in paths] == [f"ID3/{n}.mp3".encode() for n in range(len(names))]
    assert [path.name for path in folder.iterdir()] == ["stems"]


async def test_quirks_of_addresses(sandbox: Sandbox, client_of: NewClient, song: Path, tmp_path: Path) -> None:
    for number, quirks in enumerate(({"escaped_slashes": True}, {"raw_urls": True}, {"rich_files": True, "peaks": 99})):
        sandbox.quirks = evolve(Quirks(), **quirks)
        async with client_of(sandbox) as client:
            paths = await client.separate(song, tmp_path / str(number), algorithm=40)
            assert {path.read_bytes() for path in paths} == {song.read_bytes()}
