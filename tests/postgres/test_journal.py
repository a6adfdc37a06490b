"""The journal of one process: what it does when only a part of its changes can be written."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from mvsep_async.errors import JournalError
from mvsep_async.jobs.request import JobRequest, JobSettings
from mvsep_async.journal.changes import PendingChanges
from mvsep_async.postgres import journal as journal_module
from mvsep_async.postgres.connection import Transactions
from mvsep_async.postgres.jobs import Written
from mvsep_async.postgres.journal import PostgresJournal
from mvsep_async.postgres.store import Store


class Tables:
    """The first part that is written belongs to another process; the second one cannot be written."""

    def __init__(self) -> None:
        self.parts: list[list[str]] = []
        self.away = True

    async def run(self, call: Any) -> Any:
        return await call(None)

    async def write(self, _: object, part: PendingChanges, machines: object) -> Written:
        if self.parts and self.away:
            raise JournalError("the database cannot be reached")
        self.parts.append(list(part.added))
        return Written(elsewhere=list(part.added) if len(self.parts) == 1 else [], conflicts={})


async def test_jobs_that_belong_to_another_process_are_reported_even_if_a_later_part_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(journal_module, "_MOST", 1)
    tables, lost = Tables(), list[str]()
    store = cast("Store", SimpleNamespace(jobs=tables, me=SimpleNamespace(machine="here")))
    journal = PostgresJournal(Path("spool"), (), cast("Transactions", tables), store, False, lost.extend)
    for id in ("mv1", "mv2"):
        journal.add(JobRequest(id, None, JobSettings()))
    with pytest.raises(JournalError):
        await journal.flush()
    assert (tables.parts, lost) == ([["mv1"]], ["mv1"])
    tables.away = False
    await journal.flush()
    assert (tables.parts, lost) == ([["mv1"], ["mv2"]], ["mv1"])
