"""Start, suspend and kill worker processes, and look at what the shared journal says of their jobs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from attrs import define, field

from mvsep_async.sandbox import Sandbox

LEASE = 1.5


@define
class Worker:
    """One worker process."""

    process: subprocess.Popen[str]
    log: Path

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.process.pid, number)

    def kill(self) -> None:
        if self.process.poll() is None:
            self.signal(signal.SIGKILL)
            self.process.wait()

    def said(self) -> list[list[Any]]:
        """Return what the process has printed."""
        lines = self.log.read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("[")]


@define
class Workers:
    """All processes of one test."""

    sandbox: Sandbox
    journal: str
    folder: Path
    lease: float = LEASE
    all: list[Worker] = field(factory=list)

    def start(
        self,
        sources: Sequence[str | Path],
        *,
        stays: bool = False,
        journal: str | None = None,
        concurrency: int | None = None,
    ) -> Worker:
        """Start a process that separates these sources, and wait until it has the journal open."""
        settings = {
            "url": self.sandbox.url,
            "token": self.sandbox.premium_token,
            "journal": journal or self.journal,
            "lease": self.lease,
            "concurrency": concurrency,
            "target": str(self.folder / "stems"),
            "sources": [str(source) for source in sources],
            "stays": stays,
        }
        log = self.folder / f"worker {len(self.all)}.log"
        with log.open("w") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.postgres.worker", json.dumps(settings)],
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
                env={**os.environ, "PYTHONFAULTHANDLER": "1"},
            )
        worker = Worker(process, log)
        self.all.append(worker)
        wait_for(lambda: ["open"] in worker.said() or process.poll() is not None, worker)
        assert process.poll() is None, log.read_text()
        return worker

    def states(self) -> dict[str, str]:
        """Return the state of each job in the journal, by its key."""
        with psycopg.connect(self.journal) as connection:
            return dict(connection.execute("SELECT owner_key, state FROM mvsep.jobs").fetchall())

    def wait_for_state(self, *states: str) -> None:
        """Wait until every job is in one of these states."""
        wait_for(lambda: (found := self.states()) and set(found.values()) <= set(states), self)

    def end(self) -> None:
        for worker in self.all:
            worker.kill()


@contextmanager
def workers(sandbox: Sandbox, journal: str, folder: Path, lease: float = LEASE) -> Iterator[Workers]:
    """Provide worker processes that are killed at the end."""
    made = Workers(sandbox, journal, folder, lease)
    try:
        yield made
    finally:
        made.end()


def wait_for(condition: Callable[[], object], about: object, seconds: float = 60.0) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(describe(about))
        time.sleep(0.05)


def describe(about: object) -> str:
    if isinstance(about, Worker):
        return about.log.read_text()[-4000:]
    if isinstance(about, Workers):
        with psycopg.connect(about.journal) as connection:
            tables = [
                *connection.execute("SELECT * FROM mvsep.jobs").fetchall(),
                *connection.execute("SELECT *, clock_timestamp() FROM mvsep.processes").fetchall(),
            ]
        return "\n".join([*map(str, tables), *(describe(worker) for worker in about.all)])
    return str(about)
