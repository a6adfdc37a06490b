"""What can be submitted, and what is refused before anything is sent."""

from __future__ import annotations

import threading
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from mvsep_async import (
    AuthenticationError,
    ClientClosedError,
    ConfigurationError,
    InvalidRequestError,
    Job,
    MVSepClient,
    OutputFormat,
    Pair,
    Preset,
    Stage,
    UploadError,
)
from mvsep_async.jobs.job import entry_of
from mvsep_async.sandbox import Sandbox
from mvsep_async.sources import Data, JobSource
from mvsep_async.submission import prepare
from tests.conftest import STRANGER, NewClient, wav

from .support import Stream, all_of, calls, paid, reached, stages, until


async def test_a_file_from_the_queue_to_the_disk(
    sandbox: Sandbox, client_of: NewClient, song: Path, tmp_path: Path
) -> None:
    async with client_of(sandbox) as client:
        job = await client.submit(song, algorithm=40, output_format=OutputFormat.FLAC_16)
        seen = await all_of(aiter(job))
        separation = await job
        paths = await job.download(tmp_path / "stems")
    assert stages(seen)[:2] == [Stage.QUEUED, Stage.UPLOADING]
    assert stages(seen)[-1] is Stage.DONE
    assert seen[-1].fraction == 1.0
    fractions = [progress.fraction for progress in seen if progress.fraction is not None]
    assert fractions == sorted(fractions)
    assert (seen[-1].bytes_sent, seen[-1].bytes_total) == (song.stat().st_size, song.stat().st_size)
    assert separation.hash == job.hash
    assert [file.stem for file in separation.files] == ["Vocals", "Other"]
    assert paths == [tmp_path / "stems" / "Some Song" / f"{stem}.flac" for stem in ("Vocals", "Other")]
    assert {path.read_bytes() for path in paths} == {song.read_bytes()}
    assert job.stage is Stage.FINISHED
    assert list(job.paths) == paths
    (made,) = sandbox.jobs
    assert (made.sep_type, made.output_format, made.bytes) == (40, 2, song.stat().st_size)
    assert made.filename.startswith(job.id)


async def test_submit_returns_while_no_slot_is_free(held: Sandbox, client_of: NewClient, song: Path) -> None:
    async with client_of(held, concurrency=1) as client:
        first = await client.submit(song, algorithm=40)
        second = await client.submit(song, algorithm=40)
        await reached(first, Stage.WAITING)
        assert (second.stage, second.hash, second.done()) == (Stage.QUEUED, None, False)
        assert second.progress.place == 0
        assert paid(held) == 1
        held.finish(str(first.hash))
        await first
        await reached(second, Stage.WAITING)
        assert client.jobs() == [first, second]


async def test_options_are_translated_and_sent(sandbox: Sandbox, client_of: NewClient, song: Path) -> None:
    async with client_of(sandbox) as client:
        await (await client.submit(song, algorithm="BS Roformer", options={"add_opt1": "81"}))
    assert (sandbox.jobs[0].sep_type, sandbox.jobs[0].options) == (40, {"add_opt1": "81"})


async def test_bytes(sandbox: Sandbox, client_of: NewClient, tmp_path: Path) -> None:
    async with client_of(sandbox) as client:
        paths = await client.separate(wav(), tmp_path, algorithm=40, filename="Lied über Öl.wav")
    assert {path.parent for path in paths} == {tmp_path / "Lied über Öl"}
    assert {path.read_bytes() for path in paths} == {wav()}
    assert sandbox.jobs[0].filename.isascii()


async def test_an_async_iterable_is_read_once_and_left_nowhere(
    sandbox: Sandbox, client_of: NewClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    data = wav()
    async with client_of(sandbox) as client:
        paths = await client.separate(Stream(data[:100], data[100:]), tmp_path, algorithm=40, filename="song.wav")
        assert {path.read_bytes() for path in paths} == {data}
    assert list((tmp_path / "temporary").iterdir()) == []


async def test_a_copy_that_no_process_comes_back_for_is_removed_whatever_the_end(
    sandbox: Sandbox, client_of: NewClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    async with client_of(sandbox, api_token=STRANGER) as client:
        job = await client.submit(Stream(wav()), algorithm=40, filename="song.wav")
        with pytest.raises(AuthenticationError):
            await job
        await until(lambda: not [path for path in tmp_path.rglob("*") if path.is_file()])


async def test_a_job_that_was_sent_keeps_no_bytes(held: Sandbox, client_of: NewClient) -> None:
    song = wav()
    async with client_of(held, concurrency=1) as client:
        sent, waiting, cancelled = [await client.submit(song, algorithm=40, filename="a.wav") for _ in range(3)]
        await cancelled.cancel()
        await reached(sent, Stage.WAITING)
        shown = f"Data(<{len(song)} bytes>, 'a.wav')"
        assert {repr(job.source) for job in (sent, waiting, cancelled)} == {shown}
        kept = [job.source.data for job in (sent, waiting, cancelled) if isinstance(job.source, Data)]
        assert kept == [b"", song, b""]
        held.finish(str(sent.hash))
        await reached(waiting, Stage.WAITING)
        held.finish(str(waiting.hash))
        await waiting
    assert [job.bytes for job in held.jobs] == [len(song)] * 2


async def test_an_async_iterable_that_breaks_is_the_callers_own_error(
    sandbox: Sandbox, client_of: NewClient, tmp_path: Path
) -> None:
    class BrokenError(Exception):
        pass

    async def broken() -> Any:
        yield b"RIFF"
        raise BrokenError

    async with client_of(sandbox) as client:
        with pytest.raises(BrokenError):
            await client.submit(broken(), algorithm=40, filename="song.wav")
        assert client.jobs() == []
    assert sandbox.jobs == []


async def test_a_pair_for_matchering(sandbox: Sandbox, client_of: NewClient, song: Path, tmp_path: Path) -> None:
    reference = tmp_path / "reference.wav"
    reference.write_bytes(wav(0.2))
    async with client_of(sandbox) as client:
        matchering = (await client.catalogue()).find("Matchering")
        paths = await client.separate(Pair(song, reference), tmp_path / "out", algorithm=matchering)
    assert sandbox.jobs[0].bytes == song.stat().st_size + reference.stat().st_size
    assert {path.parent.name for path in paths} == {"Some Song"}


async def test_a_generator_needs_no_song(sandbox: Sandbox, client_of: NewClient, tmp_path: Path) -> None:
    async with client_of(sandbox) as client:
        job = await client.submit(None, algorithm=62, options={"add_opt1": "Hello"})
        seen = await all_of(aiter(job))
        paths = await job.download(tmp_path)
    assert Stage.UPLOADING not in stages(seen)
    assert Stage.FETCHING not in stages(seen)
    assert [path.exists() for path in paths] == [True]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda folder: folder / "absent.wav", "file not found"),
        (lambda folder: folder, "folder"),
        (lambda folder: str(folder / "empty.wav"), "empty"),
        (lambda _: b"", "empty"),
        (lambda _: "https://", "is not a URL"),
        (lambda _: "http://host/a b.mp3", "is not a URL"),
        (lambda _: "https://[::1", "is not a URL"),
        (lambda _: "song\0.wav", "name is not valid"),
        (lambda _: 5, "int"),
        (lambda folder: Pair(folder / "absent.wav", folder / "empty.wav"), "file not found"),
    ],
)
async def test_a_source_that_cannot_be_is_refused_before_anything_is_sent(
    sandbox: Sandbox, client_of: NewClient, tmp_path: Path, make: Any, said: str
) -> None:
    (tmp_path / "empty.wav").touch()
    async with client_of(sandbox) as client:
        with pytest.raises(InvalidRequestError, match=said):
            await client.submit(make(tmp_path), algorithm=40, filename="song.wav")
        assert client.jobs() == []
    assert calls(sandbox, "separation/create") == 0


async def test_bytes_without_a_name_are_refused(sandbox: Sandbox, client_of: NewClient) -> None:
    async with client_of(sandbox) as client:
        for source in (wav(), Stream(wav())):
            with pytest.raises(InvalidRequestError, match="filename"):
                await client.submit(source, algorithm=40)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"algorithm": "no such thing at all"}, "no such thing"),
        ({"algorithm": 99_999}, "99999"),
        ({"algorithm": 40, "options": {"add_opt9": "1"}}, "add_opt9"),
        ({"algorithm": 40, "options": {"add_opt1": "no such choice"}}, "no such choice"),
        ({"options": {"add_opt1": "1"}}, "name the algorithm too"),
        ({"algorithm": 40, "output_format": 77}, "77"),
        ({"algorithm": 40, "webhook_url": "ftp://host/"}, "webhook"),
        ({"algorithm": 40, "on_unknown": "perhaps"}, "perhaps"),
        ({"algorithm": 40, "remote_type": "mega"}, "remote_type"),
        ({"algorithm": 40, "metadata": object()}, "metadata"),
    ],
)
async def test_settings_that_cannot_be_are_refused_before_anything_is_sent(
    sandbox: Sandbox, client_of: NewClient, song: Path, arguments: dict[str, Any], said: str
) -> None:
    async with client_of(sandbox) as client:
        with pytest.raises(InvalidRequestError, match=said):
            await client.submit(song, **arguments)
        assert client.jobs() == []
    assert calls(sandbox, "separation/create") == 0


async def test_a_premium_format_is_refused_for_a_free_account(
    sandbox: Sandbox, client_of: NewClient, song: Path
) -> None:
    async with client_of(sandbox, api_token=sandbox.free_token) as client:
        with pytest.raises(InvalidRequestError, match="premium"):
            await client.submit(song, algorithm=40, output_format=OutputFormat.WAV_32)
    assert sandbox.jobs == []


async def test_an_algorithm_for_premium_accounts_is_refused_for_a_free_account(
    sandbox: Sandbox, client_of: NewClient, song: Path
) -> None:
    async with client_of(sandbox, api_token=sandbox.free_token) as client:
        for algorithm in (30, "Ensemble All-In"):
            with pytest.raises(InvalidRequestError, match="is for premium accounts"):
                await client.submit(song, algorithm=algorithm)
    assert not calls(sandbox, "separation/create")


async def test_a_song_too_long_for_a_free_account_fails_before_it_is_sent(
    sandbox: Sandbox, client_of: NewClient, tmp_path: Path
) -> None:
    song = tmp_path / "long.wav"
    song.write_bytes(wav(601, rate=100))
    async with client_of(sandbox, api_token=sandbox.free_token) as client:
        for source in (song, Pair(song, song), song.read_bytes()):
            algorithm = 68 if isinstance(source, Pair) else 40
            filename = "long.wav" if isinstance(source, bytes) else None
            job = await client.submit(source, algorithm=algorithm, filename=filename)
            with pytest.raises(InvalidRequestError, match=r"long\.wav lasts 10:01 min.*anyway=True"):
                await job
        assert not calls(sandbox, "separation/create")
        await client.submit(song, algorithm=40, anyway=True)
        await until(lambda: calls(sandbox, "separation/create"))
    async with client_of(sandbox) as client:
        await (await client.submit(song, algorithm=40))


async def test_limits_are_checked_with_an_explicit_concurrency_too(
    sandbox: Sandbox, client_of: NewClient, tmp_path: Path
) -> None:
    song = tmp_path / "long.wav"
    song.write_bytes(wav(601, rate=100))
    async with client_of(sandbox, api_token=sandbox.free_token, concurrency=2) as client:
        with pytest.raises(InvalidRequestError, match="lasts 10:01 min"):
            await (await client.submit(song, algorithm=40))
    assert not calls(sandbox, "separation/create")


@pytest.mark.parametrize("status", [413, 422])
async def test_a_size_that_was_refused_is_not_uploaded_again(
    sandbox: Sandbox, client_of: NewClient, tmp_path: Path, status: int
) -> None:
    songs = [tmp_path / f"{seconds}.wav" for seconds in (1, 2, 3)]
    for song, seconds in zip(songs, (1, 2, 3), strict=True):
        song.write_bytes(wav(seconds))
    reason = {"success": False, "errors": ["The audiofile must not be greater than 100 kilobytes."]}
    sandbox.faults.add(kind="refuse", path="separation/create", status=status, body=reason, count=1)
    async with client_of(sandbox) as client:
        with pytest.raises(InvalidRequestError):
            await (await client.submit(songs[1], algorithm=40))
        with pytest.raises(InvalidRequestError, match=r"3\.wav has .* MiB.*refused .* MiB as too large.*anyway=True"):
            await (await client.submit(songs[2], algorithm=40))
        assert calls(sandbox, "separation/create") == 1
        await (await client.submit(songs[0], algorithm=40))
        await (await client.submit(songs[2], algorithm=48))
        await (await client.submit(songs[2], algorithm=40, anyway=True))
    assert calls(sandbox, "separation/create") == 4


async def test_what_the_plan_does_not_allow_can_be_sent_anyway(
    sandbox: Sandbox, client_of: NewClient, song: Path
) -> None:
    async with client_of(sandbox, api_token=sandbox.free_token) as client:
        job = await client.submit(song, algorithm=30, output_format=OutputFormat.WAV_32, anyway=True)
        with pytest.raises(InvalidRequestError, match="purchase premium membership"):
            await job
    assert calls(sandbox, "separation/create") == 1


async def test_a_preset_brings_its_options_and_stems(
    sandbox: Sandbox, client_of: NewClient, song: Path, tmp_path: Path
) -> None:
    preset = Preset("mine", "BS Roformer", {"add_opt1": "81"}, stems=("vocals",))
    async with client_of(sandbox) as client:
        job = await client.submit(song, algorithm=preset, options={"Overlap": "8"})
        assert (entry_of(job).request.settings.algorithm, dict(entry_of(job).request.settings.options)) == (
            40,
            {"add_opt1": "81", "add_opt2": "8"},
        )
        paths = await client.separate(song, tmp_path / "stems", algorithm=preset)
        assert [path.name for path in paths] == ["Vocals.mp3"]
        mapped = [job async for job in client.map([song], directory=tmp_path / "more", algorithm=preset)]
        assert [path.name for path in mapped[0].paths] == ["Vocals.mp3"]


async def test_a_song_that_vanishes_while_it_waits_fails_its_job_alone(
    held: Sandbox, client_of: NewClient, song: Path, tmp_path: Path
) -> None:
    async with client_of(held, concurrency=1) as client:
        gone = tmp_path / "gone.wav"
        gone.write_bytes(wav())
        first = await client.submit(song, algorithm=40)
        second = await client.submit(gone, algorithm=40)
        third = await client.submit(song, algorithm=40)
        gone.unlink()
        await reached(first, Stage.WAITING)
        held.finish(str(first.hash))
        with pytest.raises(UploadError, match="does not exist"):
            await second
        await reached(third, Stage.WAITING)
        assert second.error is not None
        assert second.error.job == second.id
    assert paid(held) == 2


async def test_a_wrong_token_fails_the_job_and_says_what_to_check(
    sandbox: Sandbox, client_of: NewClient, song: Path
) -> None:
    for concurrency in (None, 3):
        async with client_of(sandbox, api_token=STRANGER, concurrency=concurrency) as client:
            first, second = [await client.submit(song, algorithm=40) for _ in range(2)]
            for job in (first, second):
                with pytest.raises(AuthenticationError, match="MVSEP_API_TOKEN") as caught:
                    await job
                assert caught.value.job == job.id
    assert sandbox.jobs == []


async def test_without_a_token_nothing_can_be_submitted(
    sandbox: Sandbox, client_of: NewClient, song: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MVSEP_API_TOKEN", raising=False)
    async with MVSepClient(base_url=sandbox.url) as client:
        with pytest.raises(ConfigurationError, match="MVSEP_API_TOKEN"):
            await client.submit(song, algorithm=40)


async def test_token_and_address_come_from_the_environment(
    sandbox: Sandbox, song: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MVSEP_API_TOKEN", f" {sandbox.premium_token}\n")
    monkeypatch.setenv("MVSEP_BASE_URL", f"{sandbox.url}/api/")
    async with MVSepClient(poll_interval=0.02) as client:
        await (await client.submit(song, algorithm=40))


@pytest.mark.parametrize(
    "settings",
    [
        {"base_url": "mvsep.com"},
        {"base_url": "https://user:secret@mvsep.com"},
        {"base_url": "https://mvsep.com/elsewhere"},
        {"concurrency": 0},
        {"requests_per_minute": 0},
        {"poll_interval": 0.0},
        {"poll_interval": float("nan")},
        {"timeout": 0},
        {"timeout": -1.0},
        {"patience": -1},
        {"group_cap": 0},
        {"api_token": "two words"},
        {"api_token": "tökén"},
    ],
)
def test_client_settings_that_cannot_be(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        MVSepClient(**{"api_token": STRANGER, **settings})
    assert "secret" not in str(caught.value)
    assert "tökén" not in str(caught.value)


async def test_a_client_works_only_inside_its_block(sandbox: Sandbox, client_of: NewClient, song: Path) -> None:
    client = client_of(sandbox)
    with pytest.raises(ClientClosedError, match="not open"):
        await client.submit(song, algorithm=40)
    async with client:
        pass
    with pytest.raises(ClientClosedError, match="closed"):
        await client.submit(song, algorithm=40)
    with pytest.raises(ClientClosedError):
        client.jobs()
    with pytest.raises(ConfigurationError, match="once"):
        async with client:
            pass


async def test_the_same_key_is_the_same_job(held: Sandbox, client_of: NewClient, song: Path) -> None:
    async with client_of(held) as client:
        first = await client.submit(song, algorithm=40, key="song 1")
        assert await client.submit(song, algorithm=63, key="song 1") == first
        assert await client.submit(song, algorithm=40, key="song 2") != first
        await reached(first, Stage.WAITING)
        assert await client.submit(song, algorithm=40, key="song 1") == first
    assert paid(held) <= 2


async def test_a_known_key_needs_nothing_of_a_service_that_is_down(
    held: Sandbox, client_of: NewClient, song: Path, tmp_path: Path
) -> None:
    journal = tmp_path / "journal.sqlite"
    async with client_of(held, journal=journal) as client:
        first = await client.submit(song, algorithm="BS Roformer", key="song 1")
    await held.go_down()
    async with client_of(held, journal=journal) as client:
        with anyio.fail_after(60):
            assert (await client.submit(song, algorithm="BS Roformer", key="song 1")).id == first.id


async def test_the_same_key_at_the_same_time_is_the_same_job(
    sandbox: Sandbox, client_of: NewClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    jobs: list[Job] = []
    async with client_of(sandbox) as client:

        async def submit(stream: Stream) -> None:
            jobs.append(await client.submit(stream, algorithm="BS Roformer", key="k", filename="song.wav"))

        streams = [Stream(wav()[:50], wav()[50:], held_before=1) for _ in range(3)]
        async with anyio.create_task_group() as tasks:
            for stream in streams:
                tasks.start_soon(submit, stream)
            await streams[0].reached.wait()
            await anyio.wait_all_tasks_blocked()
            for stream in streams:
                stream.go_on.set()
        assert [stream.reached.is_set() for stream in streams] == [True, False, False]  # one is read, the rest wait
        assert len(set(jobs)) == 1
        assert client.jobs() == jobs[:1]
        await jobs[0]
        spooled = [path for path in tmp_path.rglob("*") if path.is_file()]
        assert len(spooled) <= 1  # of the job that there is; the others' copies are not left behind
    assert paid(sandbox) == 1


async def test_separate_takes_the_key_too(sandbox: Sandbox, client_of: NewClient, song: Path, tmp_path: Path) -> None:
    async with client_of(sandbox) as client:
        first = await client.separate(song, tmp_path / "a", algorithm=40, key="k")
        again = await client.separate(song, tmp_path / "a", algorithm=40, key="k")
        elsewhere = await client.separate(song, tmp_path / "b", algorithm=40, key="k")
    assert first == again
    assert [path.is_relative_to(tmp_path / "b") for path in elsewhere] == [True, True]
    assert paid(sandbox) == 1


async def test_what_the_caller_gives_along_stays_with_the_job(held: Sandbox, client_of: NewClient, song: Path) -> None:
    async with client_of(held) as client:
        job = await client.submit(song, algorithm=40, metadata={"chat": 7, "tags": ["a", None]}, group="user 7")
        assert job.metadata == {"chat": 7, "tags": ["a", None]}
        assert (job.source, entry_of(job).request.group) == (song, "user 7")


async def test_groups_take_turns_and_priority_decides_within_one(
    held: Sandbox, client_of: NewClient, song: Path
) -> None:
    async with client_of(held, concurrency=1) as client:
        first = await client.submit(song, algorithm=40, group="a")
        await reached(first, Stage.WAITING)
        waiting = (("a1", "a", 0), ("a2", "a", 0), ("a3", "a", 5), ("b1", "b", 0), ("b2", "b", 9))
        names = {
            (await client.submit(song, algorithm=40, group=group, priority=priority)).id: name
            for name, group, priority in waiting
        }
        order = []
        for _ in names:
            held.finish(held.jobs[-1].hash)
            count = len(held.jobs)
            while len(held.jobs) == count:
                await anyio.sleep(0.005)
            order.append(next(name for tag, name in names.items() if held.jobs[-1].filename.startswith(tag)))
    assert order == ["a3", "b2", "a1", "b1", "a2"]


async def test_a_group_can_be_capped(held: Sandbox, client_of: NewClient, song: Path) -> None:
    async with client_of(held, group_cap=1) as client:
        first, second, other = [await client.submit(song, algorithm=40, group=group) for group in ("a", "a", "b")]
        await reached(first, Stage.WAITING)
        await reached(other, Stage.WAITING)
        assert second.stage is Stage.QUEUED
        held.finish(str(first.hash))
        await reached(second, Stage.WAITING)


async def test_a_cap_holds_too_after_a_job_from_elsewhere_is_over(
    held: Sandbox, client_of: NewClient, song: Path
) -> None:
    async with client_of(held) as client:
        elsewhere = await client.submit(song, algorithm=40)
        await reached(elsewhere, Stage.WAITING)
    async with client_of(held, group_cap=1) as client:
        guest = client.attach(str(elsewhere.hash))
        held.finish(str(elsewhere.hash))
        await guest
        first, second = [await client.submit(song, algorithm=40) for _ in range(2)]
        await reached(first, Stage.WAITING)
        assert second.stage is Stage.QUEUED
        held.finish(str(first.hash))
        await reached(second, Stage.WAITING)


async def test_other_tasks_run_while_many_jobs_fail(song: Path) -> None:
    passes: list[int] = []

    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("nobody is there")

    async def count(jobs: list[Job]) -> None:
        while not jobs[-1].done():
            await anyio.lowlevel.checkpoint()
            passes.append(sum(job.done() for job in jobs[::100]))

    async with (
        httpx.AsyncClient(transport=httpx.MockTransport(refuse)) as http,
        MVSepClient(STRANGER, base_url="https://mvsep.example", http=http, patience=0) as client,
        anyio.create_task_group() as tasks,
    ):
        jobs = [await client.submit(song, algorithm=40) for _ in range(3000)]
        tasks.start_soon(count, jobs)
    assert len(set(passes)) > 3


async def test_other_tasks_run_while_a_library_is_submitted(held: Sandbox, client_of: NewClient, song: Path) -> None:
    passes = 0

    async def count() -> None:
        nonlocal passes
        while True:
            await anyio.lowlevel.checkpoint()
            passes += 1

    async with client_of(held, concurrency=1) as client, anyio.create_task_group() as tasks:
        await client.submit(song, algorithm=40)
        tasks.start_soon(count)
        await anyio.lowlevel.checkpoint()
        before = passes
        for _ in range(10_000):
            await client.submit(song, algorithm=40)
        assert passes - before > 3
        tasks.cancel_scope.cancel()


async def test_a_network_share_that_hangs_does_not_stop_the_event_loop(
    held: Sandbox, client_of: NewClient, song: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is looked at in a thread; the caller can be cancelled meanwhile, and others submit."""
    asked, answers = threading.Event(), threading.Event()

    def hang(source: JobSource) -> None:
        if str(source).startswith("/share"):
            asked.set()
            answers.wait(30)

    monkeypatch.setattr(prepare, "check_source", hang)
    async with client_of(held) as client, anyio.create_task_group() as tasks:
        tasks.start_soon(partial(client.submit, "/share/song.wav", algorithm=40))
        await until(asked.is_set)
        assert (await client.submit(song, algorithm=40)).stage is not Stage.FAILED
        assert not answers.is_set()
        assert len(client.jobs()) == 1
        tasks.cancel_scope.cancel()
    answers.set()
