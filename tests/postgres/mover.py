"""A process that moves a journal, and kills itself before or after one of its steps."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio

from mvsep_async.http.token import Token
from mvsep_async.journal.sqlite import SqliteJournal
from mvsep_async.postgres import move
from mvsep_async.postgres.jobs import JobTable
from mvsep_async.postgres.processes import ProcessTable
from mvsep_async.postgres_url import PostgresURL

STEPS: list[tuple[Any, str]] = [
    (move, "_copy_spooled"),
    (move, "_insert"),
    (move, "_check_out"),
    (move, "_write_out"),
    (move, "_remove_spooled"),
    (SqliteJournal, "set_mark"),
    (SqliteJournal, "flush"),
    (JobTable, "write"),
    (ProcessTable, "leave"),
]


def main(direction: str, path: str, url: str, kill_at: str) -> None:
    left = int(kill_at)

    def step() -> None:
        nonlocal left
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1

    def stepped(function: Callable[..., Any]) -> Callable[..., Any]:
        async def call(*arguments: Any, **named: Any) -> Any:
            step()
            result = await function(*arguments, **named)
            step()
            return result

        return call

    for owner, name in STEPS:
        setattr(owner, name, stepped(getattr(owner, name)))
    arguments = (Token("some-token"), "https://mvsep.com")
    if direction == "to":
        anyio.run(move.move_to_postgres, Path(path), PostgresURL(url), *arguments)
    else:
        anyio.run(move.move_to_sqlite, PostgresURL(url), Path(path), *arguments)


if __name__ == "__main__":
    main(*sys.argv[1:])
