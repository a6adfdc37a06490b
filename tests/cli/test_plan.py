"""What a run would cost: `--dry-run`, and the question before many credits are spent."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import PIPE, Popen

import pytest

from mvsep_async.sandbox import Sandbox
from tests.cli.conftest import Cli
from tests.conftest import wav

FAST = ("--poll-interval", "0.02")


def test_a_dry_run_says_what_it_would_cost_and_sends_nothing(
    cli: Cli, service: Sandbox, songs: list[str], home: Path
) -> None:
    cli("separate", songs[0], "-a", "40", *FAST)
    (home / "songs" / "text.mp3").write_text("no song")
    ran = cli("separate", "songs", "https://x.test/a.mp3", "gone.wav", "-a", "40", "--dry-run")
    assert ran.code == 0, ran.err
    assert "3 songs to separate with BS Roformer" in ran.out
    assert "1 already separated, 1 of unknown length; 0:00 of audio: 2 credits of 999 left" in ran.out
    assert "text.mp3" in ran.err
    assert "there is no file 'gone.wav'" in ran.err
    document = cli("separate", "songs", "-a", "40", "--dry-run", "--force", "--json").document
    assert (document["songs"], document["credits"], document["separated_before"]) == (3, 3, 0)
    assert len(service.jobs) == 1


def test_what_is_taken_where_no_algorithm_is_given(cli: Cli, service: Sandbox, songs: list[str]) -> None:
    ran = cli("separate", songs[0], *FAST)
    assert "no algorithm given: taking BS Roformer" in ran.err
    assert cli("separate", songs[0], "--karaoke", *FAST).code == 0
    assert cli("separate", songs[0], "--preset", "drums", *FAST).code == 0
    assert [job.sep_type for job in service.jobs] == [40, 49, 44]
    assert "give one of" in cli("separate", songs[0], "--karaoke", "-a", "40").err
    assert "did you mean karaoke" in cli("separate", songs[0], "--preset", "karaok").err


@pytest.fixture
def long_song(home: Path) -> list[str]:
    """A song of 25 credits."""
    (home / "long").mkdir()
    (home / "long" / "song.wav").write_bytes(wav(25 * 60.0, rate=100))
    return ["long"]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals there")
@pytest.mark.parametrize(("answer", "code"), [("n\n", 2), ("\n", 2), ("y\n", 0)])
@pytest.mark.parametrize("command", ["separate", "library"])
def test_a_person_is_asked_before_many_credits_are_spent(
    service: Sandbox, long_song: list[str], command: str, answer: str, code: int
) -> None:
    master, slave = os.openpty()
    words = [command, *long_song, *(["stems"] if command == "library" else ["-o", "stems"]), "-a", "40", *FAST]
    process = Popen([sys.executable, "-m", "mvsep_async", *words], stdin=slave, stderr=slave, stdout=PIPE)
    os.close(slave)
    try:
        said = b""
        while b"[y/N]" not in said:
            said += os.read(master, 1000)
        assert b"about 25 credits" in said
        assert service.jobs == []
        os.write(master, answer.encode())
        # What is shown has to be read: a terminal's buffer is small.
        while True:
            try:
                if not os.read(master, 1000):
                    break
            except OSError:
                break
        process.communicate()
    finally:
        process.kill()
        os.close(master)
    assert process.returncode == code
    assert len(service.jobs) == (1 if code == 0 else 0)


def test_without_a_terminal_nothing_is_asked(
    child: Callable[..., Popen[str]], service: Sandbox, long_song: list[str]
) -> None:
    process = child("separate", *long_song, "-a", "40", *FAST)
    _, err = process.communicate()
    assert (process.returncode, len(service.jobs)) == (0, 1), err


def test_lists(cli: Cli, service: Sandbox, songs: list[str], home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "list.txt").write_text(f"{songs[0]}\n\n{songs[1]}\n")
    (home / "songs" / "mix.m3u").write_text("#EXTM3U\n#EXTINF:1,A song\nsong 2.wav\n")
    ran = cli("separate", "@list.txt", "songs/mix.m3u", "--dry-run", "--json")
    assert ran.document["songs"] == 3
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(songs[:2])))
    ran = cli("separate", "-", "--json", *FAST)
    assert sorted(one["source"] for one in ran.documents) == songs[:2]
    ran = cli("separate", "@gone.txt", songs[0], "--json", *FAST)
    assert ran.code == 1
    assert "the list 'gone.txt' cannot be read" in "".join(one["error"] or "" for one in ran.documents)
