from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from attrs import evolve

from mvsep_async.errors import JournalError
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
def test_a_manifest_that_cannot_be_used_is_reported(path: Path, opened: type[Manifest]) -> None:
    path.parent.mkdir(parents=True)
    path.write_bytes(b"no database at all, but long enough to look like a file" * 40)
    with pytest.raises(JournalError, match="cannot be used"):
        Manifest.open(path)
    path.unlink()
    foreign = sqlite3.connect(path)
    foreign.execute("CREATE TABLE other (x)")
    foreign.commit()
    foreign.close()
    with pytest.raises(JournalError, match="not a manifest"):
        Manifest.open(path)
    path.unlink()
    Manifest.open(path).close()
    newer = sqlite3.connect(path)
    newer.execute("PRAGMA user_version = 99")
    newer.close()
    with pytest.raises(JournalError, match="newer"):
        Manifest.open_read_only(path)
    with pytest.raises(JournalError, match="newer"):
        Manifest.open(path)
