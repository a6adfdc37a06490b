from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from attrs import evolve

from mvsep_async.errors import JournalError
from mvsep_async.journal import lock as lock_module
from mvsep_async.library import manifest as manifest_module
from mvsep_async.library.manifest import Manifest
from mvsep_async.library.records import ManifestFile, SeparatedSong
from mvsep_async.library.timeline import JobTimeline, Span

SONG = SeparatedSong(
    source="a/caf\udce9.wav",
    method="w",
    method_name="BS Roformer",
    title="A song",
    size=5,
    mtime_ns=7,
    content="c",
    audio_length=3,
    seconds=None,
    credits=3,
    place="A/{stem}",
    files=(ManifestFile("one", "Vocals", "A/Vocals.mp3", 10, "hash", "https://de.mvsep.com"),),
    kept={"one": ["Vocals"], "two": None},
    tagged=True,
    timelines=(JobTimeline("one", (Span("up", 1.0, 2.5),)),),
    run="r1",
    finished=9.0,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "Stems" / ".mvsep" / "manifest.sqlite"


def test_a_row_comes_back_as_it_was(path: Path) -> None:
    manifest = Manifest.open(path)
    manifest.record(SONG)
    manifest.close()
    manifest = Manifest.open(path)
    assert manifest.song(SONG.source, "w") == SONG
    assert manifest.song(SONG.source, "other") is None
    manifest.record(evolve(SONG, size=6))
    assert list(manifest.songs()) == list(manifest.songs(run="r1")) == [evolve(SONG, size=6)]
    assert list(manifest.songs(run="r2")) == []
    manifest.close()


def test_a_place_has_one_song(path: Path) -> None:
    manifest = Manifest.open(path)
    manifest.record(SONG)
    assert manifest.claim("a/{STEM}", "b.wav") == SONG.source, "done songs keep their places"
    assert manifest.claim(SONG.place, SONG.source) is None
    assert manifest.claim("new", "b.wav") is None
    assert manifest.claim("new", "b.wav") is None
    assert manifest.claim("new", "c.wav") == "b.wav"
    manifest.close()


def test_looking_writes_nothing(path: Path) -> None:
    manifest = Manifest.open_read_only(path)
    assert manifest.claim("x", "a.wav") is None
    assert manifest.song("a.wav", "w") is None
    manifest.close()
    assert not path.parent.parent.exists()


def test_looking_into_one_that_is_there(path: Path) -> None:
    with_row = Manifest.open(path)
    with_row.record(SONG)
    with_row.close()
    before = path.read_bytes()
    manifest = Manifest.open_read_only(path)
    assert manifest.song(SONG.source, "w") == SONG
    assert manifest.claim(SONG.place, "b.wav") == SONG.source
    with pytest.raises(JournalError):
        manifest.record(SONG)
    manifest.close()
    assert path.read_bytes() == before


def test_two_runs_at_one_target_are_refused(path: Path) -> None:
    manifest = Manifest.open(path)
    with pytest.raises(JournalError, match="is working on the library"):
        Manifest.open(path)
    manifest.close()
    Manifest.open(path).close()


@pytest.mark.parametrize("opened", [Manifest.open, Manifest.open_read_only])
def test_a_manifest_that_cannot_be_used_is_reported(path: Path, opened: Callable[[Path], Manifest]) -> None:
    path.parent.mkdir(parents=True)
    path.touch()
    with pytest.raises(JournalError, match="is empty, so it was damaged"):
        opened(path)
    path.write_bytes(b"no database at all, but long enough to look like a file" * 40)
    with pytest.raises(JournalError, match="cannot be used"):
        opened(path)
    path.unlink()
    foreign = sqlite3.connect(path)
    foreign.execute("CREATE TABLE other (x)")
    foreign.commit()
    foreign.close()
    with pytest.raises(JournalError, match="not a manifest"):
        opened(path)
    path.unlink()
    Manifest.open(path).close()
    newer = sqlite3.connect(path)
    newer.execute("PRAGMA user_version = 99")
    newer.close()
    with pytest.raises(JournalError, match="newer"):
        opened(path)


def test_a_process_that_is_killed_while_it_creates_one_leaves_none(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError("killed")))
    with pytest.raises(JournalError):
        Manifest.open(path)
    monkeypatch.undo()
    assert not path.exists()
    Manifest.open(path).close()


@pytest.mark.parametrize("opened", [Manifest.open, Manifest.open_read_only])
def test_what_a_killed_process_was_about_to_write_is_undone(path: Path, opened: Callable[[Path], Manifest]) -> None:
    with closing(Manifest.open(path)) as manifest:
        manifest.record(SONG)
    left = path.with_name(path.name + "-journal")
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA cache_size = 1")  # pages are written before the commit
        db.execute("BEGIN IMMEDIATE")
        db.execute("DELETE FROM songs")
        db.executemany("INSERT INTO failures VALUES (?, '', 0, 0, ?, 0, '', ?)", ((n, n, "x" * 900) for n in range(99)))
        as_killed = path.read_bytes(), left.read_bytes()
    path.write_bytes(as_killed[0])
    left.write_bytes(as_killed[1])
    with closing(opened(path)) as manifest:
        assert list(manifest.songs()) == [SONG]


@pytest.mark.parametrize("everywhere", [False, True])
def test_on_a_share_without_locks_a_local_file_is_locked(
    path: Path, monkeypatch: pytest.MonkeyPatch, everywhere: bool, tmp_path: Path
) -> None:
    real = lock_module.FileLock.acquire

    def acquire(lock: lock_module.FileLock) -> None:
        if everywhere or lock.path.is_relative_to(path.parent):
            raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))
        real(lock)

    monkeypatch.setattr(lock_module.FileLock, "acquire", acquire)
    monkeypatch.setattr(manifest_module.tempfile, "gettempdir", lambda: str(tmp_path))
    with closing(Manifest.open(path)) as manifest:
        manifest.record(SONG)
        if not everywhere:
            with pytest.raises(JournalError, match="is working on the library"):
                Manifest.open(path)
    with closing(Manifest.open(path)) as manifest:
        assert list(manifest.songs()) == [SONG]


@pytest.mark.parametrize(
    ("column", "value"),
    [("files", "["), ("files", "[1]"), ("kept", ""), ("timelines", "[[1]]"), ("files", None), ("source", 5)],
)
def test_a_damaged_row_is_an_error_and_not_a_song_that_is_unknown(path: Path, column: str, value: object) -> None:
    with closing(Manifest.open(path)) as manifest:
        manifest.record(SONG)
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA writable_schema = ON")
        db.execute("UPDATE sqlite_master SET sql = replace(sql, 'NOT NULL', '') WHERE name = 'songs'")
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute(f"UPDATE songs SET {column} = ?", (value,))
    with closing(Manifest.open_read_only(path)) as manifest, pytest.raises(JournalError, match="is damaged"):
        manifest.songs_with(SONG.content, SONG.method)
