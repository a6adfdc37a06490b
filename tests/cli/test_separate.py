from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from mvsep_async.sandbox import Sandbox
from tests.cli.conftest import TOKEN, Child, Cli, until
from tests.conftest import wav

FAST = ("--poll-interval", "0.02")


def test_songs_become_stems(cli: Cli, service: Sandbox, songs: list[str], home: Path) -> None:
    ran = cli("separate", *songs, "--algorithm", "BS Roformer", "--format", "flac", "--out", "made", *FAST)
    assert ran.code == 0, ran.err
    assert sorted(path.relative_to(home).as_posix() for path in (home / "made").rglob("*.*")) == [
        f"made/song {number}/{stem}.flac" for number in range(3) for stem in ("Other", "Vocals")
    ]
    assert [job.sep_type for job in service.jobs] == [40, 40, 40]
    assert "3 songs done" in ran.err
    assert ran.out.count("\n") == 3


def test_json_is_one_object_a_finished_job(cli: Cli, service: Sandbox, songs: list[str], home: Path) -> None:
    ran = cli("separate", *songs, "--json", *FAST)
    assert ran.code == 0, ran.err
    assert sorted(document["source"] for document in ran.documents) == sorted(songs)
    for document in ran.documents:
        assert list(document) == ["source", "hash", "status", "files", "error"]
        assert document["status"] == "done"
        assert document["error"] is None
        assert document["hash"] in [job.hash for job in service.jobs]
        assert document["files"]
        for file in document["files"]:
            assert Path(file).is_absolute()
            assert Path(file).is_file()


def test_the_daily_limit_is_shown_and_waited_for(
    child: Child, songs: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Sandbox(stems="copy", job_seconds=0.0, free_per_day=1) as sandbox:
        monkeypatch.setenv("MVSEP_BASE_URL", sandbox.url)
        monkeypatch.setenv("MVSEP_API_TOKEN", sandbox.free_token)
        process = child("separate", *songs[:2], "--json", "--poll-interval", "0.002")
        assert process.stderr is not None
        for line in process.stderr:
            if "the free separations of today are used up" in line:
                break
        sandbox.advance(86_400)
        out, _ = process.communicate()
    assert [json.loads(line)["status"] for line in out.splitlines()] == ["done", "done"]


def test_a_second_command_waits_for_the_first_while_others_read(
    cli: Cli, child: Child, holding: Sandbox, songs: list[str], home: Path
) -> None:
    first = child("separate", songs[0], *FAST)
    until(lambda: holding.unfinished(TOKEN) == 1)
    second = child("separate", songs[1], "--json", *FAST)
    assert second.stderr is not None
    line = second.stderr.readline()
    while "uses the journal" not in line:
        line = second.stderr.readline()
    assert f"process {first.pid} uses the journal and has 1 unfinished job" in line
    (row,) = cli("jobs", "--json").document
    assert row["state"] == "waiting"
    id = row["id"].removeprefix("mv")[:4]
    assert cli("status", id, "--json").document["hash"] == row["hash"]
    assert cli("history", "--json").document[0]["hash"] == row["hash"]
    assert len(holding.jobs) == 1
    holding.finish(row["hash"])
    assert first.wait(60) == 0
    assert cli("download", id, "--out", "again", *FAST).code == 0
    until(lambda: holding.unfinished(TOKEN) == 1)
    holding.finish(holding.jobs[1].hash)
    out, _ = second.communicate(timeout=60)
    assert json.loads(out)["status"] == "done"


def test_a_bad_source_among_good_ones_is_reported_by_name(
    cli: Cli, service: Sandbox, songs: list[str], home: Path
) -> None:
    (home / "text.mp3").write_text("this is no song at all\n")
    (home / "empty.wav").touch()
    (home / "folder").mkdir()
    (home / "sandbox-fail.wav").write_bytes(wav(0.77))
    given = ["nope.wav", "text.mp3", "empty.wav", "folder", "sandbox-fail.wav", songs[0]]
    ran = cli("separate", *given, "--json", *FAST)
    assert ran.code == 1
    by_source = {document["source"]: document for document in ran.documents}
    assert sorted(by_source) == sorted(given)
    assert by_source[songs[0]]["status"] == "done"
    for source in given[:-1]:
        assert by_source[source]["status"] == "failed"
        assert by_source[source]["files"] == []
    assert "file not found" in by_source["nope.wav"]["error"]
    assert "is text, not audio" in by_source["text.mp3"]["error"]
    assert "empty" in by_source["empty.wav"]["error"]
    assert "no audio in it" in by_source["folder"]["error"]
    assert by_source["sandbox-fail.wav"]["hash"]


def test_a_refused_song_has_its_name_on_the_line(cli: Cli, service: Sandbox, songs: list[str]) -> None:
    ran = cli("separate", "nope.wav", songs[0], *FAST)
    assert "nope.wav  file not found" in ran.out


def test_nothing_that_could_be_run_is_bad_usage(cli: Cli, service: Sandbox) -> None:
    ran = cli("separate", "nope.wav", "neither.wav", *FAST)
    assert ran.code == 2
    assert service.jobs == []


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--algorithm", "roformr"], "BS Roformer"),
        (["--algorithm", "40", "--opt", "colour=red"], "add_opt1"),
        (["--algorithm", "40", "--opt", "add_opt1=9999"], "81"),
        (["--algorithm", "40", "--opt", "add_opt1"], "NAME=VALUE"),
        (["--algorithm", "40", "--opt", "a=1", "--opt", "a=2"], "twice"),
        (["--format", "ogg"], "mp3, wav16"),
        (["--layout", "{artist}/{stem}"], "{artist}"),
        (["--reference", "nope.wav"], "nope.wav"),
    ],
)
def test_invalid_settings_are_reported_before_anything_is_sent(
    cli: Cli, service: Sandbox, songs: list[str], words: list[str], told: str
) -> None:
    ran = cli("separate", *songs, *words, *FAST)
    assert ran.code == 2
    assert ran.out == ""
    assert ran.err.count("\n") == 1
    assert told in ran.err
    assert service.jobs == []


def test_a_premium_format_on_a_free_account(
    cli: Cli, service: Sandbox, songs: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MVSEP_API_TOKEN", service.free_token)
    ran = cli("separate", *songs, "--format", "flac24", *FAST)
    assert ran.code == 2
    assert "premium" in ran.err
    assert service.jobs == []


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root writes everywhere")
def test_a_folder_that_cannot_be_written(cli: Cli, service: Sandbox, songs: list[str], home: Path) -> None:
    (home / "closed").mkdir(mode=0o500)
    ran = cli("separate", *songs, "--out", "closed", *FAST)
    assert ran.code == 2
    assert service.jobs == []


def test_a_file_where_the_folder_should_be(cli: Cli, service: Sandbox, songs: list[str]) -> None:
    ran = cli("separate", *songs, "--out", songs[0], *FAST)
    assert ran.code == 2
    assert songs[0] in ran.err
    assert service.jobs == []


def test_nothing_given(cli: Cli, service: Sandbox) -> None:
    assert "give files" in cli("separate").err
    ran = cli("separate", "--algorithm", "40")
    assert ran.code == 2
    assert "takes songs" in ran.err


def test_a_wrong_token_ends_it_at_the_first_song(
    cli: Cli, service: Sandbox, songs: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MVSEP_API_TOKEN", "wrong")
    ran = cli("separate", *songs, *FAST)
    assert ran.code == 2
    assert "error: the service does not accept the API token" in ran.err
    assert ran.out.count("does not accept") <= 1


def test_a_folder_is_walked_and_the_stems_in_it_are_not(
    cli: Cli, service: Sandbox, songs: list[str], home: Path
) -> None:
    assert cli("separate", "songs", "--out", "songs/stems", *FAST).code == 0
    ran = cli("separate", "songs", "--out", "songs/stems", "--json", "--overwrite", *FAST)
    assert sorted(document["source"] for document in ran.documents) == sorted(songs)


def test_chosen_stems_in_a_layout(cli: Cli, service: Sandbox, songs: list[str], home: Path) -> None:
    ran = cli("separate", songs[0], "-a", "40", "--stems", "vocals", "--layout", "{stem}/{song}", "-o", "made", *FAST)
    assert ran.code == 0, ran.err
    assert [path.relative_to(home).as_posix() for path in (home / "made").rglob("*.*")] == ["made/Vocals/song 0.mp3"]


def test_configured_settings_hold(cli: Cli, service: Sandbox, songs: list[str], home: Path) -> None:
    file = Path(os.environ["XDG_CONFIG_HOME"]) / "mvsep-async" / "config.toml"
    file.parent.mkdir(parents=True)
    file.write_text('out = "from-file"\nformat = "flac"\nalgorithm = "40"\n')
    assert cli("separate", songs[0], *FAST).code == 0
    assert {path.suffix for path in (home / "from-file").rglob("*.*")} == {".flac"}
    assert service.jobs[0].sep_type == 40
    assert cli("separate", songs[1], "--format", "mp3", "--out", "by-flag", *FAST).code == 0
    assert {path.suffix for path in (home / "by-flag").rglob("*.*")} == {".mp3"}


def test_a_journal_makes_the_same_command_free(cli: Cli, service: Sandbox, songs: list[str], home: Path) -> None:
    words = ("separate", *songs, "--journal", "run.db", "--json", *FAST)
    first, second = cli(*words), cli(*words)
    assert (first.code, second.code) == (0, 0), first.err + second.err
    assert len(service.jobs) == 3
    assert sorted(one["hash"] for one in first.documents) == sorted(one["hash"] for one in second.documents)
    assert all(one["files"] for one in second.documents)


def test_a_file_that_is_no_journal(cli: Cli, service: Sandbox, songs: list[str], home: Path) -> None:
    (home / "run.db").write_bytes(b"something else entirely, and long enough to be read" * 100)
    ran = cli("separate", *songs, "--journal", "run.db", *FAST)
    assert ran.code == 2
    assert "run.db" in ran.err
    assert ran.err.count("\n") == 1
    assert service.jobs == []
    with closing(sqlite3.connect(home / "run.db")) as database, pytest.raises(sqlite3.DatabaseError):
        database.execute("SELECT 1 FROM sqlite_master")


def test_the_token_is_in_no_output(cli: Cli, service: Sandbox, songs: list[str]) -> None:
    said = []
    for words in (
        ("separate", *songs, "--journal", "run.db", *FAST),
        ("separate", "nope.wav", *FAST),
        ("account",),
        ("queue",),
        ("history",),
        ("config",),
        ("config", "--json"),
        ("status", "20200101000000-0123456789-gone.mp3"),
        ("jobs", "--journal", "run.db", "--json"),
    ):
        ran = cli(*words, "--verbose")
        said.append(ran.out + ran.err)
    assert "HTTP Request: GET" in "".join(said)
    assert TOKEN not in "".join(said)
    assert TOKEN.encode() not in Path("run.db").read_bytes()
