"""The other commands, against a real service: tables for people, JSON for programs, the same names in both."""

from __future__ import annotations

import importlib
import io
import json
import os
import re
import shutil
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from subprocess import Popen
from types import ModuleType

import pytest
from rich.cells import cell_len
from rich.console import Console

from mvsep_async.cli.terminal import Terminal
from mvsep_async.sandbox import Sandbox
from tests.cli.conftest import TOKEN, Cli
from tests.conftest import wav

FAST = ("--poll-interval", "0.02")


def test_a_table_has_the_names_of_the_json(cli: Cli, service: Sandbox) -> None:
    rows = cli("algorithms", "bs", "roformer", "--json").document
    table = cli("algorithms", "bs", "roformer").out
    header = table.splitlines()[0].split()
    assert header == [name for name in rows[0] if name not in ("group", "needs", "description")]
    assert {40, 63} <= {row["sep_type"] for row in rows}
    assert len(table.splitlines()) == len(rows) + 2


def test_that_it_is_tried_again_is_said_once(child: Callable[..., Popen[str]], service: Sandbox) -> None:
    service.faults.add(kind="refuse", path="app/queue", status=503, count=2)
    out, err = child("queue", "--json").communicate()
    assert json.loads(out)["in_process"] == 0
    (line,) = err.splitlines()
    assert line.startswith("trying again: the service answered 503")


def test_a_wait_for_the_request_limit_is_explained(
    child: Callable[..., Popen[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Sandbox(requests_per_minute=1) as sandbox:
        monkeypatch.setenv("MVSEP_BASE_URL", sandbox.url)
        monkeypatch.setenv("MVSEP_API_TOKEN", sandbox.premium_token)
        process = child("queue")
        assert process.stderr is not None
        assert re.match(r"waiting \d+ s: the service's requests of this minute", process.stderr.readline())


def test_all_algorithms(cli: Cli, service: Sandbox) -> None:
    numbers = [row["sep_type"] for row in cli("algorithms", "--json").document]
    assert numbers == sorted(numbers)
    assert len(numbers) > 80
    assert "no algorithm" in cli("algorithms", "qqqqqqqq").err


def test_one_algorithm(cli: Cli, service: Sandbox) -> None:
    shown = cli("algorithms", "show", "BS Roformer", "--json").document
    assert shown["sep_type"] == 40
    assert shown["options"][0]["choices"]["81"]
    assert shown["options"][1]["price_factors"] == {"8": 2.0}
    assert shown["options"][2]["conditions"] == [
        {"action": "show", "option": "add_opt1", "operator": "in", "choices": ["171"]}
    ]
    text = cli("algorithms", "show", "40").out
    assert "81" in text
    assert "(default)" in text
    assert "8  87.5% (price × 2)" in text
    assert "only if add_opt1 is 171" in text
    missed = cli("algorithms", "show", "BS Roformr")
    assert missed.code == 2
    assert "BS Roformer" in missed.err


@pytest.mark.parametrize(
    ("words", "key"),
    [
        (["account"], "credits"),
        (["queue"], "in_process"),
        (["history"], None),
        (["news"], "title"),
        (["demo-page"], "hash"),
        (["demo-page", "--algorithm", "40"], None),
        (["quality", "queue"], None),
        (["quality", "leaderboard", "0"], None),
    ],
)
def test_listings(cli: Cli, service: Sandbox, words: list[str], key: str | None) -> None:
    document = cli(*words, "--json").document
    if key is not None:
        assert key in (document[0] if isinstance(document, list) else document)
    ran = cli(*words)
    assert ran.code == 0
    assert ran.out or "nothing" in ran.err


def test_switches(cli: Cli, service: Sandbox) -> None:
    assert "premium is off" in cli("account", "premium", "off").out
    assert cli("account", "--json").document["premium_enabled"] is False
    assert cli("account", "premium", "on", "--json").document["premium"] is True
    assert "long-filenames is on" in cli("account", "long-filenames", "on").out
    assert cli("account", "--json").document["long_filenames_enabled"] is True


def test_free_separations_that_are_left(cli: Cli, service: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cli("account", "--json").document["free_separations"] == {"left": 50, "max": 50}
    assert "free_separations" not in cli("account").out
    monkeypatch.setenv("MVSEP_API_TOKEN", service.free_token)
    assert cli("account", "--json").document["free_separations"] == {"left": 50, "max": 50}
    assert "50 of 50 left today" in cli("account").out


def test_purchases(cli: Cli, service: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    (bought,) = cli("account", "purchases", "--json").document
    assert bought["credits"] > 0
    assert set(bought) == {"id", "created_at", "credits", "amount", "currency", "status"}
    table = cli("account", "purchases", "--all").out.splitlines()
    assert table[0].split() == ["id", "date", "credits", "amount", "currency", "status"]
    assert len(table) == 3
    monkeypatch.setenv("MVSEP_API_TOKEN", service.free_token)
    assert cli("account", "purchases").err == "no credits were bought yet\n"


def test_credit_alert(cli: Cli, service: Sandbox) -> None:
    assert cli("account", "credit-alert", "0").code == 0
    assert "sends no mail" in cli("account", "credit-alert").out
    assert "fewer than 25 credits" in cli("account", "credit-alert", "25").out
    assert cli("account", "credit-alert", "--json").document == {"credit_threshold": 25.0}
    assert cli("account", "credit-alert", "-1").code == 2


def test_the_mirror_costs_a_credit_and_says_so(cli: Cli, service: Sandbox, songs: list[str]) -> None:
    assert cli("separate", songs[0], *FAST).code == 0
    before = cli("account", "--json").document["credits"]
    ran = cli("download", "--last", "--mirror", "--out", "mirrored", *FAST)
    assert (ran.code, "1 credit" in ran.err) == (0, True)
    assert cli("account", "--json").document["credits"] == before - 1


def test_a_job_from_its_hash(cli: Cli, holding: Sandbox) -> None:
    (hash,) = holding.occupy(TOKEN)
    holding.show(hash, "waiting", current_order=3, queue_count=7)
    status = cli("status", hash, "--json").document
    assert (status["status"], status["queue_position"], status["queue_length"]) == ("waiting", 3, 7)
    assert "waiting" in cli("status", hash).out
    cancelled = cli("cancel", hash, "--json")
    assert cancelled.document == {"source": None, "hash": hash, "status": "cancelled", "files": [], "error": None}
    assert holding.unfinished(TOKEN) == 0
    watched = cli("watch", hash, "--json", *FAST)
    assert watched.code == 1
    assert watched.document["status"] in ("cancelled", "failed")


def test_a_hash_that_is_not_there(cli: Cli, service: Sandbox) -> None:
    gone = "20200101000000-0123456789-gone.mp3"
    for words in (("status", gone), ("cancel", gone)):
        ran = cli(*words)
        assert (ran.code, ran.out, ran.err.count("\n")) == (1, "", 1)
        assert ran.err.startswith("error: ")
    ran = cli("download", gone, "--json", *FAST)
    assert ran.code == 1
    assert ran.document["status"] == "failed"
    assert ran.document["hash"] == gone
    assert cli("watch").code == 2


def test_download_of_finished_jobs(cli: Cli, service: Sandbox, songs: list[str], home: Path) -> None:
    assert cli("separate", *songs, "--out", "first", *FAST).code == 0
    hashes = [job.hash for job in service.jobs]
    ran = cli("download", *hashes, "--out", "second", "--json", *FAST)
    assert ran.code == 0, ran.err
    assert sorted(one["hash"] for one in ran.documents) == sorted(hashes)
    files = [Path(file) for one in ran.documents for file in one["files"]]
    assert files
    assert all(file.is_relative_to(home / "second") and file.is_file() for file in files)
    wrong = cli("download", hashes[0], "--stems", "tuba", "--out", "third", *FAST)
    assert wrong.code == 1
    assert "tuba" in wrong.out


def test_jobs_are_named_by_a_short_id(cli: Cli, service: Sandbox, songs: list[str], home: Path) -> None:
    assert cli("separate", *songs, *FAST).code == 0
    table = cli("jobs").out.splitlines()[2:]
    ids = [line.split()[0] for line in table]
    assert all(len(id) == 4 for id in ids)
    for number, (id, line) in enumerate(zip(ids, table, strict=True)):
        assert f"song {number}.wav" in line
        assert f"stems/song {number}/" in line
        assert cli("status", id, "--json").document["hash"].endswith(f"-song-{number}.wav")
    assert sorted(line.split()[0] for line in cli("history").out.splitlines()[2:]) == sorted(ids)
    shutil.rmtree(home / "stems")
    assert cli("download", ids[0], *FAST).code == 0
    last = cli("download", "--last", *FAST)
    assert (last.code, last.out.split("  ")[0][2:]) == (0, "song 2.wav")
    assert sorted(path.name for path in (home / "stems").iterdir()) == ["song 0", "song 2"]
    unknown = cli("download", "zzzz")
    assert (unknown.code, unknown.err.count("\n")) == (2, 1)
    ambiguous = cli("status", "2")
    assert (ambiguous.code, "names 3 jobs" in ambiguous.err) == (2, True)


def test_a_job_of_another_program_is_found_by_the_start_of_its_id(
    cli: Cli, holding: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    (hash,) = holding.occupy(TOKEN)
    assert cli("status", hash[15:21], "--json").document["hash"] == hash
    assert cli("jobs", "delete", hash).code == 1


def test_history_names_the_song_and_the_days_left(cli: Cli, service: Sandbox, songs: list[str]) -> None:
    cli("separate", songs[0], "--no-journal", *FAST)
    (line,) = cli("history").out.splitlines()[2:]
    assert "song-0" in line
    assert "days left" in line


def test_tables_are_a_line_a_row_at_80_columns(
    cli: Cli, service: Sandbox, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = home / ("A very long title that does not end so soon " * 3 + ".wav")
    long.write_bytes(wav())
    assert cli("separate", str(long), *FAST).code == 0
    monkeypatch.setattr(Terminal, "show", lambda self, what: Console(width=80).print(what))
    for words, rows in ((("jobs",), 1), (("history",), 1), (("algorithms", "--all"), None), (("algorithms",), None)):
        lines = cli(*words).out.splitlines()
        assert all(cell_len(line) <= 80 for line in lines)
        assert rows is None or len(lines) == rows + 2
        assert "…" in "".join(lines)


def test_which_algorithm_to_pick(cli: Cli, service: Sandbox) -> None:
    ran = cli("algorithms")
    assert "karaoke" in ran.out
    assert len(ran.out.splitlines()) <= 22
    assert "--all" in ran.err
    assert len(cli("algorithms", "--all").out.splitlines()) > 80


def test_quiet_writes_results_only(cli: Cli, service: Sandbox, songs: list[str]) -> None:
    ran = cli("separate", *songs, "--quiet", *FAST)
    assert (ran.code, ran.err, len(ran.out.splitlines())) == (0, "", 3)
    assert cli("separate", "gone.wav", "--reference", "gone.wav", "-q").err.startswith("error: ")


def test_watching_a_job_to_its_end(cli: Cli, service: Sandbox, songs: list[str]) -> None:
    cli("separate", songs[0], *FAST)
    ran = cli("watch", service.jobs[0].hash, "--json", *FAST)
    assert ran.code == 0
    assert ran.document["status"] == "done"


def test_jobs_of_a_journal(cli: Cli, service: Sandbox, songs: list[str]) -> None:
    assert cli("separate", *songs, "--journal", "run.db", *FAST).code == 0
    rows = cli("jobs", "--journal", "run.db", "--json").document
    assert [row["state"] for row in rows] == ["finished"] * 3
    assert all(Path(row["source"]).name in cli("jobs", "--journal", "run.db").out for row in rows)
    resumed = cli("jobs", "resume", "--journal", "run.db", *FAST)
    assert (resumed.code, "nothing is left" in resumed.err) == (0, True)
    assert cli("jobs", "prune", "--journal", "run.db", "--json").document == {"pruned": 3}
    assert cli("jobs", "--journal", "run.db", "--json").document == []
    assert len(service.jobs) == 3


def test_a_journal_that_is_not_there_is_not_made(cli: Cli, service: Sandbox, home: Path) -> None:
    for words in ([], ["prune"], ["resume"]):
        ran = cli("jobs", *words, "--journal", "nope.db")
        assert ran.code == 2
        assert "nope.db" in ran.err
    assert not list(home.iterdir())


def test_estimate(cli: Cli, service: Sandbox, songs: list[str], home: Path) -> None:
    (home / "songs" / "text.mp3").write_text("no song")
    ran = cli("estimate", "songs", "--algorithm", "40", "--json")
    assert ran.code == 1
    assert ran.document["credits"] == 3
    assert len(ran.document["unreadable"]) == 1
    assert "3 songs" in cli("estimate", *songs, "--algorithm", "40").out
    assert cli("estimate", "--algorithm", "40").code == 2


def test_quality_entries(cli: Cli, service: Sandbox, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(home / "stems.zip", "w") as archive:
        archive.writestr("song_0_vocals.wav", b"x" * 100)

    def typed(text: str) -> None:
        monkeypatch.setattr("sys.stdin", io.StringIO(text))

    typed("secret words\n")
    added = cli(
        "quality",
        "add",
        "stems.zip",
        "--name",
        "Mine",
        "--text",
        "First try",
        "--password-stdin",
        "--json",
        "--verbose",
    )
    assert added.code == 0, added.err
    assert "secret words" not in added.err
    number = str(added.document["id"])
    assert cli("quality", "entry", number, "--json").document["algo_name"] == "Mine"
    typed("wrong\n")
    assert cli("quality", "delete", number, "--password-stdin").code == 2
    typed("secret words\n")
    assert cli("quality", "delete", number, "--password-stdin", "--json").document["deleted"] is True
    assert cli("quality", "entry", number).code == 1


def test_completion(cli: Cli) -> None:
    ran = cli("completion", "fish")
    assert ran.code == 0
    assert "mvsep-async" in ran.out


def test_demo(cli: Cli, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mvsep_async.cli.commands import demo

    monkeypatch.setattr(demo, "STAGE", demo.STAGE | {"speed": 10_000.0, "queue_seconds": 0.0, "min_seconds": 0.0})
    ran = cli("demo", "--songs", "6")
    assert ran.code == 0, ran.err
    assert str(home / "mvsep-demo" / "stems") in ran.out
    uploaded = {path.suffix for path in (home / "mvsep-demo" / "songs").iterdir()}
    assert uploaded == {".wav", ".flac", ".mp3", ".m4a", ".ogg", ".aiff"}
    assert len(list((home / "mvsep-demo" / "stems").rglob("*.flac"))) == 12


@pytest.mark.parametrize("command", ["demo", "sandbox"])
def test_without_the_extra_it_says_how_to_install_it(cli: Cli, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    real = importlib.import_module

    def without_starlette(name: str, package: str | None = None) -> ModuleType:
        if name == "mvsep_async.sandbox":
            raise ImportError("no", name="starlette")
        return real(name, package)

    monkeypatch.setattr(importlib, "import_module", without_starlette)  # the commands are loaded by it too
    ran = cli(command)
    assert ran.code == 2
    assert 'pip install "mvsep-async[sandbox]"' in ran.err
    assert "starlette" in ran.err


@pytest.mark.parametrize("out", ["stems", "other"])
def test_what_was_downloaded_is_not_downloaded_again(
    cli: Cli, service: Sandbox, songs: list[str], home: Path, out: str
) -> None:
    cli("separate", songs[0], *FAST)
    assert cli("download", "--last", "-o", out, *FAST).code == 0
    files = sorted(path.name for path in (home / out / "song 0").iterdir())
    assert files == ["Other.mp3", "Vocals.mp3"]
    again = cli("download", "--last", "-o", out, *FAST)
    assert (again.code, again.out.replace(os.sep, "/")) == (
        0,
        f"✓ song 0.wav  already fetched: skipped  Vocals, Other  {out}/song 0/\n",
    )
    (home / out / "song 0" / "Vocals.mp3").unlink()
    document = cli("download", "--last", "-o", out, "--json", *FAST).document
    assert (document["status"], len(document["files"])) == ("done", 2)
    assert (home / out / "song 0" / "Vocals.mp3").is_file()


def test_jobs_and_history_name_algorithms_and_songs_of_libraries(
    cli: Cli, service: Sandbox, songs: list[str], home: Path
) -> None:
    cli("separate", songs[0], "-a", "63", *FAST)
    assert cli("library", "songs", "lib", "-a", "40", *FAST).code == 0
    rows = cli("jobs").out.splitlines()[2:]
    assert sum("BS Roformer SW" in row for row in rows) == 1
    assert sorted(row.split("  ")[1].strip() for row in cli("history").out.splitlines()[2:]) == [
        "song 0.wav",
        "song 0.wav",
        "song 1.wav",
        "song 2.wav",
    ]
    assert {row["algorithm"] for row in cli("jobs", "--json").document} == {63, "BS Roformer"}


def test_the_state_of_a_job_names_its_song_and_where_its_stems_are(
    cli: Cli, service: Sandbox, songs: list[str], home: Path
) -> None:
    cli("separate", songs[0], *FAST)
    shown = cli("status", service.jobs[0].hash).out.replace(os.sep, "/").splitlines()
    shown = [line.rstrip() for line in shown]
    assert shown[0].split(maxsplit=1) == ["song", "song 0.wav"]
    assert ["stems", "stems/song 0/"] in [line.split(maxsplit=1) for line in shown]
    assert [line.removeprefix("files").split()[0] for line in shown if line.endswith("B")] == ["Vocals", "Other"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["songs/song 0.wav"], "`mvsep-async separate 'songs/song 0.wav'` separates it"),
        (["https://x.test/a.mp3"], "`mvsep-async separate https://x.test/a.mp3` separates it"),
        (["-v", "jobs"], "options follow the command: `mvsep-async COMMAND -v`"),
        (["separate", "ftp://x.test/a.mp3"], "give an http:// or https:// link"),
        (["separate", "songs", "--poll-interval", "-1"], "--poll-interval. Must be > 0"),
        (["separate", "songs", "-a", "xyzzy"], "`mvsep-async algorithms --all`"),
    ],
)
def test_what_to_type_instead(cli: Cli, service: Sandbox, songs: list[str], words: list[str], said: str) -> None:
    ran = cli(*words)
    assert (ran.code, service.jobs) == (2, [])
    assert said in ran.err + ran.out


def test_an_estimate_without_an_algorithm_is_for_the_one_that_separate_takes(
    cli: Cli, service: Sandbox, songs: list[str]
) -> None:
    ran = cli("estimate", *songs)
    assert (ran.code, "no algorithm given: taking BS Roformer" in ran.err) == (0, True)
    assert "3 credits" in ran.out


def test_jobs_of_other_accounts_are_mentioned_where_there_are_none(
    cli: Cli, service: Sandbox, songs: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cli("jobs").err == "there are no jobs yet\n"
    cli("separate", songs[0], *FAST)
    monkeypatch.delenv("MVSEP_API_TOKEN")
    said = cli("jobs").err
    assert "there are no jobs of this account at 127.0.0.1 yet, and no token is set (`mvsep-async login`" in said
    (journal,) = (Path(os.environ["XDG_STATE_HOME"]) / "mvsep-async" / "journals").glob("*.sqlite")
    assert str(journal) in said
    assert "song 0.wav" in cli("jobs", "--journal", str(journal)).out


@pytest.mark.skipif(sys.platform == "win32", reason="there are other permissions there")
def test_places_that_cannot_be_written_are_reported_before_anything_is_sent(
    cli: Cli, service: Sandbox, songs: list[str], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "file").write_text("in the way")
    ran = cli("library", "songs", "lib", "-a", "40", "--report", "file/report.html", *FAST)
    assert (ran.code, "'file' cannot be" in ran.err, service.jobs) == (2, True, [])
    ran = cli("separate", songs[0], "--journal", "file/jobs.sqlite", *FAST)
    assert (ran.code, "file/jobs.sqlite' cannot be made" in ran.err, service.jobs) == (2, True, [])
    assert "--no-journal" in ran.err
