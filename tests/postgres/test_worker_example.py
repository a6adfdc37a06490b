"""The example with web servers and workers: two of each as processes, and a worker that is killed in the middle."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import psycopg
import pytest

from mvsep_async.sandbox import Sandbox
from tests.conftest import wav

EXAMPLE = Path(__file__).parents[2] / "examples" / "worker"
WAIT = 120.0
"""Seconds for what takes a few on an idle machine."""


@contextmanager
def processes(environment: dict[str, str]) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    started: list[subprocess.Popen[bytes]] = []

    def start(*words: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen([sys.executable, *words], cwd=EXAMPLE, env={**os.environ, **environment})
        started.append(process)
        return process

    try:
        yield start
    finally:
        for process in started:
            process.kill()
        for process in started:
            process.wait()


async def events(http: httpx.AsyncClient, id: str) -> AsyncIterator[dict[str, Any]]:
    async with http.stream("GET", f"/songs/{id}/events", timeout=WAIT) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        async for line in answer.aiter_lines():
            if line.startswith("data: "):
                yield json.loads(line.removeprefix("data: "))


async def until(condition: Callable[[], Any]) -> None:
    with anyio.fail_after(WAIT):
        while not condition():
            await anyio.sleep(0.05)


@pytest.mark.slow
async def test_a_song_is_paid_once_and_delivered_though_its_worker_is_killed(
    held: Sandbox, database: str, tmp_path: Path
) -> None:
    environment = {
        "DATABASE_URL": database,
        "MVSEP_API_TOKEN": held.premium_token,
        "MVSEP_BASE_URL": held.url,
        "FOLDER": str(tmp_path / "data"),
        "XDG_STATE_HOME": str(tmp_path / "state"),
        "LEASE": "6",
        "PYTHONPATH": str(EXAMPLE.parents[1]),
    }
    async with anyio.create_task_group() as tasks:
        with processes(environment) as start:
            assert (
                await anyio.to_thread.run_sync(
                    start("-m", "procrastinate", "--app", "stems.tasks", "schema", "--apply").wait
                )
                == 0
            )
            sockets = [tmp_path / f"front{number}.sock" for number in range(2)]
            for path in sockets:
                start("-m", "uvicorn", "--factory", "front:create_app", "--uds", str(path), "--log-level", "warning")
            workers = [start("worker.py") for _ in range(2)]
            one, other = (
                httpx.AsyncClient(
                    base_url="http://stems", transport=httpx.AsyncHTTPTransport(uds=str(path), retries=10), timeout=WAIT
                )
                for path in sockets
            )
            async with one, other:
                await until(lambda: all(path.exists() for path in sockets))
                answer = await one.post("/songs", files={"song": ("My Song.wav", wav())})
                id = answer.json()["id"]
                seen: list[list[dict[str, Any]]] = [[], []]

                async def watch(http: httpx.AsyncClient, found: list[dict[str, Any]]) -> None:
                    async for event in events(http, id):
                        found.append(event)

                for http, found in zip((one, other), seen, strict=True):
                    tasks.start_soon(watch, http, found)
                await until(lambda: held.jobs)
                owner = worker_of(database)
                victim = next(worker for worker in workers if worker.pid == owner)
                victim.send_signal(signal.SIGKILL)
                await until(lambda: worker_of(database) != owner)
                held.finish(held.jobs[0].hash)
                await until(lambda: all(found and found[-1]["stage"] == "over" for found in seen))
                for found in seen:
                    assert found[-1]["error"] is None
                    assert "waiting" in [event["stage"] for event in found]
                    fractions = [event["fraction"] for event in found if event.get("fraction") is not None]
                    assert fractions == sorted(fractions)
                files = seen[0][-1]["files"]
                assert len(files) == 2
                for path in files:
                    stem = await other.get(path)
                    assert (stem.status_code, stem.content) == (200, (await one.get(path)).content)
                # The task of the killed worker is delivered again, and ends with the same job.
                await until(lambda: task_states(database) == ["succeeded"])
                assert (await one.get("/songs/unknown/events")).status_code == 404
    assert len(held.jobs) == 1


def worker_of(database: str) -> int | None:
    """Return the process that works on the song, and whose lease is valid."""
    with psycopg.connect(database) as connection:
        row = connection.execute(
            """
            SELECT p.name FROM mvsep.jobs j JOIN mvsep.processes p ON p.id = j.owner
            WHERE p.lease_until > clock_timestamp()
            """
        ).fetchone()
    return None if row is None else int(row[0].rpartition(" ")[2])


def task_states(database: str) -> list[str]:
    with psycopg.connect(database) as connection:
        rows = connection.execute("SELECT status FROM procrastinate_jobs WHERE task_name = 'separate'").fetchall()
    return [status for (status,) in rows]
