"""After a loss of power, unsynced writes are gone, and the next process starts from the rest."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from mvsep_async.journal.changes import PendingChanges
from mvsep_async.journal.store import Store
from mvsep_async.sandbox import Sandbox
from tests.client.support import paid
from tests.conftest import NewClient


async def test_from_whatever_was_synced_last_a_song_comes_to_its_end(
    sandbox: Sandbox, client_of: NewClient, song: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, moments = tmp_path / "home", tmp_path / "moments"
    home.mkdir()
    write = Store.write
    synced: list[Path] = []
    worst: list[Path] = []

    def keep_journal(store: Store) -> None:
        """Copy the journal as it is on disk after a sync; a `-shm` does not survive."""
        synced.append(moments / f"journal {len(synced)}")
        synced[-1].mkdir(parents=True)
        for name in ("j.db", "j.db-wal"):
            if (home / name).exists():
                shutil.copy(home / name, synced[-1])

    def keep_worst_moment() -> None:
        """Copy the last synced journal together with all that has come to disk since."""
        worst.append(moments / f"moment {len(worst)}")
        shutil.copytree(synced[-1], worst[-1])
        if (home / "stems").exists():
            shutil.copytree(home / "stems", worst[-1] / "stems")

    def watched(store: Store, changes: PendingChanges, **how: Any) -> None:
        if how["synced"] and synced:
            keep_worst_moment()
        write(store, changes, **how)
        if how["synced"]:
            keep_journal(store)

    monkeypatch.setattr(Store, "write", watched)
    async with client_of(sandbox, journal=home / "j.db") as client:
        async for job in client.map([song], directory=home / "stems", algorithm=40):
            assert job.error is None
    keep_worst_moment()
    monkeypatch.undo()
    assert len(worst) >= 3, "the intent, the answer, the plan of the download"

    for moment in worst:
        shutil.rmtree(home)
        shutil.copytree(moment, home)
        async with client_of(sandbox, journal=home / "j.db") as client:
            async for job in client.map([song], directory=home / "stems", algorithm=40):
                assert job.error is None
        names = sorted(str(path.relative_to(home)) for path in home.rglob("*") if path.is_file())
        assert names == ["j.db", "j.db.lock", "stems/Some Song/Other.mp3", "stems/Some Song/Vocals.mp3"]
        assert {path.read_bytes() for path in (home / "stems").rglob("*.mp3")} == {song.read_bytes()}
        assert paid(sandbox) == 1
