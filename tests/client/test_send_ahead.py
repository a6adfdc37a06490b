"""Songs that are sent ahead of their slots, while their last bytes wait."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from mvsep_async import InvalidRequestError, Job, MVSepClient, Stage
from mvsep_async.jobs.job import entry_of
from mvsep_async.jobs.lifecycle import JobState
from mvsep_async.observe import Event, SlotTaken
from mvsep_async.sandbox import Sandbox
from mvsep_async.submission import attempt
from mvsep_async.submission.held_body import RESERVED
from tests.conftest import NewClient, wav

from .support import calls, paid, reached, until


@pytest.fixture
def songs(tmp_path: Path) -> list[Path]:
    """Three songs that are large enough to be sent ahead."""
    paths = [tmp_path / f"song {number}.wav" for number in range(3)]
    for number, path in enumerate(paths):
        path.write_bytes(wav(10.0 + number))
    return paths


def is_held(job: Job) -> bool:
    """Tell whether all of a song is sent but the bytes that wait for the slot."""
    sent, total = job.progress.bytes_sent, job.progress.bytes_total
    waiting = entry_of(job).state is JobState.UPLOADING
    return waiting and sent is not None and total is not None and total - RESERVED <= sent < total


async def first_and_held(client: MVSepClient, songs: list[Path]) -> tuple[Job, Job]:
    """Submit two songs for one slot, and return their jobs when the second is sent ahead."""
    first, second = [await client.submit(song, algorithm=40) for song in songs[:2]]
    await reached(first, Stage.WAITING)
    await until(lambda: is_held(second))
    return first, second


async def test_the_next_song_is_complete_when_its_slot_comes_free(
    held: Sandbox, client_of: NewClient, songs: list[Path]
) -> None:
    taken: list[str] = []

    def listen(event: Event) -> None:
        if isinstance(event, SlotTaken):
            taken.append(event.job)

    async with client_of(held, concurrency=1, on_event=listen) as client:
        first, second = await first_and_held(client, songs)
        assert second.stage is Stage.UPLOADING
        assert second.hash is None
        assert "slot" in (second.progress.message or "")
        assert taken == [first.id]
        assert paid(held) == 1
        held.finish(str(first.hash))
        await reached(second, Stage.WAITING)
        assert taken == [first.id, second.id]
        assert second.progress.message is None
    creates = [request for request in held.requests if request.path == "/api/separation/create"]
    assert [request.status for request in creates] == [200, 200]
    assert [job.bytes for job in held.jobs] == [song.stat().st_size for song in songs[:2]]


async def test_a_third_song_waits_in_the_queue(held: Sandbox, client_of: NewClient, songs: list[Path]) -> None:
    async with client_of(held, concurrency=1) as client:
        _, _ = await first_and_held(client, songs)
        third = await client.submit(songs[2], algorithm=40)
        await until(lambda: calls(held, "separation/get") > 20)
        assert third.stage is Stage.QUEUED


async def test_small_songs_are_not_sent_ahead(held: Sandbox, client_of: NewClient, song: Path) -> None:
    async with client_of(held, concurrency=1) as client:
        first, second = [await client.submit(song, algorithm=40) for _ in range(2)]
        await reached(first, Stage.WAITING)
        await until(lambda: calls(held, "separation/get") > 20)
        assert second.stage is Stage.QUEUED


async def test_a_song_that_is_sent_ahead_can_be_cancelled(
    held: Sandbox, client_of: NewClient, songs: list[Path]
) -> None:
    async with client_of(held, concurrency=1) as client:
        first, second = await first_and_held(client, songs)
        third = await client.submit(songs[2], algorithm=40)
        assert await second.cancel()
        assert second.stage is Stage.CANCELLED
        held.finish(str(first.hash))
        await reached(third, Stage.WAITING)
    assert paid(held) == 2


async def test_a_closed_client_leaves_no_trace_of_what_it_sent_ahead(
    held: Sandbox, client_of: NewClient, songs: list[Path], tmp_path: Path
) -> None:
    journal = tmp_path / "journal.db"
    async with client_of(held, concurrency=1, journal=journal) as client:
        first, _ = await first_and_held(client, songs)
    assert paid(held) == 1
    held.finish(str(first.hash))
    async with client_of(held, concurrency=1, journal=journal) as client:
        await until(lambda: paid(held) == 2)
        held.finish(held.jobs[1].hash)
        for job in client.jobs():
            await job
    assert paid(held) == 2
    assert calls(held, "app/separation_history") == 0


CHILD = """
import sys, anyio
from mvsep_async import MVSepClient
async def main(url, token, journal, *songs):
    async with MVSepClient(token, base_url=url, journal=journal, concurrency=1, poll_interval=0.02) as client:
        jobs = [await client.submit(song, algorithm=40) for song in songs]
        while (jobs[1].progress.bytes_sent or 0) < (jobs[1].progress.bytes_total or 1e9) - 4096:
            await anyio.sleep(0.01)
        print("held", flush=True)
        await anyio.sleep(600)
anyio.run(main, *sys.argv[1:])
"""


async def test_a_killed_process_has_lost_nothing_of_what_it_sent_ahead(
    held: Sandbox, client_of: NewClient, songs: list[Path], tmp_path: Path
) -> None:
    journal = tmp_path / "journal.db"
    words = [sys.executable, "-c", CHILD, held.url, held.premium_token, str(journal), *map(str, songs[:2])]
    async with await anyio.open_process(words) as child:
        assert child.stdout is not None
        assert (await child.stdout.receive()).strip() == b"held"
        child.kill()
        await child.wait()
    assert paid(held) == 1
    held.finish(held.jobs[0].hash)
    async with client_of(held, concurrency=1, journal=journal) as client:
        await until(lambda: paid(held) == 2)
        held.finish(held.jobs[1].hash)
        for job in client.jobs():
            await job
    assert paid(held) == 2
    # The journal says that the second song was not sent to its end: it is not searched for.
    assert calls(held, "app/separation_history") == 0


async def test_another_program_takes_the_slot_meanwhile(client_of: NewClient, songs: list[Path]) -> None:
    async with Sandbox(stems="copy", manual=True, premium_limit=1) as service:
        async with client_of(service, concurrency=1) as client:
            first, second = await first_and_held(client, songs)
            service.finish(str(first.hash))
            service.occupy(service.premium_token)
            await until(lambda: 400 in [request.status for request in service.requests])
            assert paid(service) == 1
            service.release(service.premium_token)
            await reached(second, Stage.WAITING)
        assert paid(service) == 2


async def test_the_service_refuses_the_song_that_was_sent_ahead(
    held: Sandbox, client_of: NewClient, songs: list[Path]
) -> None:
    async with client_of(held, concurrency=1) as client:
        answer = {"success": False, "errors": {"output_format": ["is not valid"]}}
        held.faults.add(kind="refuse", path="separation/create", skip=1, body=answer)
        first, second = await first_and_held(client, songs)
        third = await client.submit(songs[2], algorithm=40)
        held.finish(str(first.hash))
        with pytest.raises(InvalidRequestError):
            await second
        await reached(third, Stage.WAITING)
    assert paid(held) == 2


async def test_the_wait_is_bounded_and_costs_only_bandwidth(
    held: Sandbox, client_of: NewClient, songs: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempt, "HOLD_LIMIT", 1.0)
    async with client_of(held, concurrency=1) as client:
        first, second = await first_and_held(client, songs)
        await reached(second, Stage.QUEUED)
        await until(lambda: calls(held, "separation/create") == 2)  # the log has a request when it is over
        looks = calls(held, "separation/get")
        await until(lambda: calls(held, "separation/get") > looks + 20)
        assert second.stage is Stage.QUEUED  # nothing says when its slot may come free: it is not sent again
        assert calls(held, "separation/create") == 2
        held.finish(str(first.hash))
        await reached(second, Stage.WAITING)
    assert paid(held) == 2


@pytest.fixture
async def impatient() -> AsyncIterator[Sandbox]:
    """A service that waits half a second for more of a request."""
    async with Sandbox(stems="copy", manual=True, body_read_timeout=0.5) as sandbox:
        yield sandbox


async def test_a_connection_that_is_cut_meanwhile_costs_only_bandwidth(
    impatient: Sandbox, client_of: NewClient, songs: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempt, "TRICKLE_EVERY", 1.5)
    async with client_of(impatient, concurrency=1) as client:
        first, second = await first_and_held(client, songs)
        await reached(second, Stage.QUEUED)
        impatient.finish(str(first.hash))
        await reached(second, Stage.WAITING)
    assert paid(impatient) == 2
    assert calls(impatient, "app/separation_history") == 0


async def test_the_connection_is_kept_open_while_the_last_bytes_wait(
    impatient: Sandbox, client_of: NewClient, songs: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempt, "TRICKLE_EVERY", 0.1)
    async with client_of(impatient, concurrency=1) as client:
        first, second = await first_and_held(client, songs)
        held_since = anyio.current_time()
        await until(lambda: anyio.current_time() > held_since + 1.5)
        assert is_held(second)
        impatient.finish(str(first.hash))
        await reached(second, Stage.WAITING)
    assert [request.status for request in impatient.requests if request.path == "/api/separation/create"] == [200, 200]


async def test_a_song_that_changes_while_its_end_waits_is_sent_as_it_was(
    held: Sandbox, client_of: NewClient, songs: list[Path]
) -> None:
    size = songs[1].stat().st_size
    async with client_of(held, concurrency=1) as client:
        first, second = await first_and_held(client, songs)
        songs[1].unlink()
        held.finish(str(first.hash))
        await reached(second, Stage.WAITING)
    assert held.jobs[1].bytes == size


async def test_uploads_go_one_at_a_time(client_of: NewClient, songs: list[Path]) -> None:
    """Whichever is the first: at no moment are two songs partly sent."""
    most = 0
    for song in songs:
        song.write_bytes(song.read_bytes() * 2)  # a few pieces each
    async with Sandbox(stems="copy", manual=True, link_bytes_per_second=1e6) as service:
        async with client_of(service) as client:
            jobs: list[Job] = []

            async def watch(job: Job) -> None:
                nonlocal most
                async for _ in job:
                    most = max(most, sum(0 < sent(job) < (job.progress.bytes_total or 0) for job in jobs))
                    if job.stage is Stage.WAITING:
                        return

            async with anyio.create_task_group() as tasks:
                for song in songs:
                    jobs.append(await client.submit(song, algorithm=40))
                    tasks.start_soon(watch, jobs[-1])
        assert paid(service) == len(songs)
        assert {job.bytes for job in service.jobs} == {song.stat().st_size for song in songs}
    assert most == 1


def sent(job: Job) -> int:
    """Return how many bytes of a song are sent."""
    return job.progress.bytes_sent or 0
