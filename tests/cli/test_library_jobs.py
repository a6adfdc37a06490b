"""The jobs of libraries, by `jobs`: a person need not know where a library's journal is."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from mvsep_async.sandbox import Sandbox
from tests.cli.conftest import TOKEN, Child, Cli, until
from tests.conftest import wav

FAST = ("--poll-interval", "0.02")


@pytest.fixture
def music(home: Path) -> list[str]:
    """Two songs in `music`, one of them with a name that looks like a pattern, and one of the same name in a folder."""
    names = ["[live] a*.wav", "B/song.wav", "song.wav"]
    for number, name in enumerate(names):
        (path := home / "music" / name).parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(wav(0.1 + number / 100))
    return names


def stopped(child: Child, service: Sandbox, *words: str, sent: int) -> None:
    """Start a library and interrupt it when so many songs are at the service."""
    process = child("library", "music", "lib", *words, *FAST)
    until(lambda: service.unfinished(TOKEN) == sent or process.poll() is not None)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert process.returncode == 130, err


def test_resume_finishes_the_songs_of_a_library_that_were_begun_and_no_others(
    cli: Cli, child: Child, holding: Sandbox, music: list[str], home: Path
) -> None:
    stopped(child, holding, "-a", "40", "--stems", "Vocals", sent=3)
    (home / "music" / "C").mkdir()
    (home / "music" / "C" / "song.wav").write_bytes(wav(0.5))  # added since: not to be paid for
    rows = cli("jobs", "--json").document
    assert len(rows) == 3
    holding.manual = False
    for job in holding.jobs:
        holding.finish(job.hash)
    ran = cli("jobs", "resume", *FAST)
    assert (ran.code, len(holding.jobs)) == (0, 3), ran.err
    assert "resuming 3 songs of the library lib" in ran.err
    stems = sorted(path.relative_to(home / "lib").as_posix() for path in (home / "lib").rglob("Vocals.mp3"))
    assert stems == ["B/song/Vocals.mp3", "[live] a_/Vocals.mp3", "song/Vocals.mp3"]
    assert "nothing is left to do" in cli("jobs", "resume", *FAST).err
    assert cli("library", "music", "lib", "-a", "40", "--stems", "Vocals", *FAST).code == 0
    assert len(holding.jobs) == 4


def test_prune_keeps_what_a_library_has_not_fetched_yet(
    cli: Cli, child: Child, holding: Sandbox, music: list[str], home: Path
) -> None:
    holding.faults.add(kind="refuse", path="/storage/*", count=None, status=503)
    process = child("library", "music", "lib", "-a", "40", *FAST)
    until(lambda: holding.unfinished(TOKEN) == 3 or process.poll() is not None)
    for job in holding.jobs:
        holding.finish(job.hash)
    until(lambda: holding.faults.triggered >= 6 or process.poll() is not None)
    process.send_signal(signal.SIGINT)
    process.communicate()
    holding.faults.clear()
    holding.manual = False
    assert cli("jobs", "prune").out == "0 jobs forgotten\n"
    assert cli("library", "music", "lib", "-a", "40", *FAST).code == 0
    assert len(holding.jobs) == 3
    assert cli("jobs", "prune").code == 0
    assert len(cli("jobs", "--json").document) == 3  # the manifest has them
    assert cli("library", "music", "lib", "-a", "40", *FAST).code == 0
    assert len(holding.jobs) == 3


def test_a_library_that_is_in_use_is_skipped(cli: Cli, child: Child, holding: Sandbox, music: list[str]) -> None:
    process = child("library", "music", "lib", "-a", "40", *FAST)
    until(lambda: holding.unfinished(TOKEN) == 3 or process.poll() is not None)
    for command in ("resume", "prune"):
        ran = cli("jobs", command)
        assert (ran.code, "skipping the library lib: another command is working on it" in ran.err) == (0, True)


def test_a_job_of_a_library_is_downloaded_by_its_id(cli: Cli, service: Sandbox, music: list[str], home: Path) -> None:
    assert cli("library", "music", "lib", "-a", "40", *FAST).code == 0
    rows = cli("jobs").out.splitlines()
    id = next(row.split()[0] for row in rows if "live" in row)
    assert cli("download", id, "--out", "again", *FAST).code == 0
    assert sorted(path.name for path in (home / "again").rglob("*.mp3")) == ["Other.mp3", "Vocals.mp3"]
