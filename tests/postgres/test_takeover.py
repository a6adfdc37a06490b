"""A process is killed or suspended in each state of a job: another one goes on, and nothing is paid twice or lost."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mvsep_async.sandbox import Fault, FaultKind, Sandbox
from tests.conftest import wav
from tests.postgres.processes import LEASE, Workers, wait_for, workers
from tests.postgres.support import songs as write_songs

pytestmark = pytest.mark.slow

STATES = ("queued", "uploading", "creating", "lost", "waiting", "processing", "downloading")


@contextmanager
def at_state(state: str, database: str, folder: Path) -> Iterator[tuple[Sandbox, Workers, list[Path]]]:
    """Start a process whose jobs stay in this state until `go_on` is called."""
    slow = {
        "creating": {"bytes_per_second": 100_000},
        "processing": {"job_seconds": 600.0},
    }.get(state, {"manual": state in ("waiting", "uploading")})
    # Of a song that is being sent, much more than the system keeps in its buffers is left when the process stops.
    seconds = {"creating": 125.0, "uploading": 12.0}.get(state, 0.2)
    songs = []
    for number in range(2):
        path = folder / f"song {number}.wav"
        path.write_bytes(wav(seconds + number / 10))
        songs.append(path)
    with Sandbox(stems="copy", **{"job_seconds": 0.5, **slow}) as sandbox, workers(sandbox, database, folder) as made:  # type: ignore[arg-type]
        if state == "queued":
            sandbox.occupy(sandbox.premium_token, 10)
        if state == "downloading":
            stall = Fault(kind=FaultKind.STALL, path="/storage/*", after_bytes=1000, seconds=12, count=None)
            sandbox.faults.add(stall)
        if state == "lost":
            sandbox.faults.add(Fault(kind=FaultKind.LOSE_ANSWER, path="separation/create", count=2))
            sandbox.faults.add(Fault(kind=FaultKind.REFUSE, path="app/*", status=503, count=None, skip=1))
        yield sandbox, made, songs


def reached(state: str, made: Workers, songs: list[Path]) -> bool:
    """Tell whether all songs are in the journal, and one is in this state."""
    states = made.states().values()
    return len(states) == len(songs) and state in states


def go_on(state: str, sandbox: Sandbox) -> None:
    sandbox.faults.clear()
    sandbox.bytes_per_second = None
    if state == "queued":
        sandbox.release(sandbox.premium_token)
    if state in ("waiting", "uploading", "processing"):
        sandbox.manual = False
        for job in sandbox.jobs:
            sandbox.finish(job.hash)


def check(sandbox: Sandbox, made: Workers, songs: list[Path]) -> None:
    """Wait until all songs are separated, and check that each was paid once and its stems are whole."""
    made.wait_for_state("finished")
    names = [job.filename for job in sandbox.jobs if "song" in job.filename]
    assert sorted(name.partition("song")[2] for name in names) == sorted(
        song.name.partition("song")[2].replace(" ", "-") for song in songs
    ), names
    for song in songs:
        stems = list((made.folder / "stems" / song.stem).iterdir())
        assert stems
        assert all(stem.read_bytes() == song.read_bytes() for stem in stems), stems


@pytest.mark.parametrize("state", STATES)
def test_a_killed_process_is_replaced(state: str, database: str, tmp_path: Path) -> None:
    with at_state(state, database, tmp_path) as (sandbox, made, songs):
        first = made.start(songs, concurrency=1 if state == "uploading" else None)
        wait_for(lambda: reached(state, made, songs), made)
        first.kill()
        made.start([], stays=True)
        go_on(state, sandbox)
        check(sandbox, made, songs)


@pytest.mark.parametrize("state", STATES)
def test_a_suspended_process_pays_for_nothing_that_was_taken_over(state: str, database: str, tmp_path: Path) -> None:
    with at_state(state, database, tmp_path) as (sandbox, made, songs):
        other = made.start([], stays=True)
        first = made.start(songs, stays=True, concurrency=1 if state == "uploading" else None)
        wait_for(lambda: reached(state, made, songs), made)
        first.signal(signal.SIGSTOP)
        time.sleep(LEASE + 1.5)  # what is tested is what happens after this time
        go_on(state, sandbox)
        made.wait_for_state("finished")
        first.signal(signal.SIGCONT)
        # The first one's own calls end with the jobs of the other.
        wait_for(lambda: sum(words[0] == "done" for words in first.said()) == len(songs), made)
        check(sandbox, made, songs)
        assert other.process.poll() is None


def test_a_job_is_found_whose_process_was_killed_before_the_answer_to_its_create(database: str, tmp_path: Path) -> None:
    with two_songs(database, tmp_path) as (sandbox, made, songs):
        sandbox.faults.add(Fault(kind=FaultKind.STALL, path="separation/create", after_bytes=1, seconds=600, count=2))
        first = made.start(songs, concurrency=10)
        wait_for(lambda: len(sandbox.jobs) == len(songs), made)
        assert set(made.states().values()) == {"creating"}
        first.kill()
        made.start([], stays=True, concurrency=10)
        check(sandbox, made, songs)


def test_an_answer_that_arrives_after_the_takeover_is_used(database: str, tmp_path: Path) -> None:
    with two_songs(database, tmp_path) as (sandbox, made, songs):
        sandbox.faults.add(Fault(kind=FaultKind.STALL, path="separation/create", after_bytes=1, seconds=10, count=2))
        # The other process cannot find the jobs in the service's lists.
        sandbox.faults.add(Fault(kind=FaultKind.REFUSE, path="app/*", status=503, count=None))
        first = made.start(songs, stays=True, concurrency=10)
        other = made.start([], stays=True, concurrency=10)
        wait_for(lambda: len(sandbox.jobs) == len(songs), made)
        first.signal(signal.SIGSTOP)
        made.wait_for_state("lost")
        first.signal(signal.SIGCONT)
        check(sandbox, made, songs)
        assert other.process.poll() is None


@contextmanager
def two_songs(database: str, folder: Path) -> Iterator[tuple[Sandbox, Workers, list[Path]]]:
    with Sandbox(stems="copy", job_seconds=0.5) as sandbox, workers(sandbox, database, folder) as made:
        yield sandbox, made, write_songs(folder, 2)
