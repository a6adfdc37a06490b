"""The command line as other programs meet it: exit codes, what goes to which stream, and no tracebacks."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import cyclopts
import pytest

from mvsep_async.cli.app import ALIASES, COMMANDS
from mvsep_async.sandbox import Sandbox
from tests.cli.conftest import TOKEN, Cli

HASH = "20200101000000-0123456789-x.mp3"


def test_importing_the_package_imports_nothing_of_the_command_line() -> None:
    # httpx imports rich by itself where it finds it.
    script = (
        "import sys, httpx; before = set(sys.modules); import mvsep_async; from mvsep_async import MVSepClient, Job; "
        "print([name for name in ('rich', 'cyclopts', 'mvsep_async.cli') if name in set(sys.modules) - before])"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


@pytest.mark.parametrize("name", [name for name, *_ in COMMANDS])
def test_every_command_explains_itself(cli: Cli, name: str) -> None:
    ran = cli(*name.split(), "--help")
    assert ran.code == 0
    assert f"mvsep-async {name}" in ran.out
    assert "--help-all" in ran.out or "[OPTIONS]" not in ran.out


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["sepratae", "a.wav"], 'Did you mean "separate"'),
        (["separate", "a.wav", "--algoritm", "3"], "Did you mean --algorithm"),
        (["separate", "a.wav", "--concurrency", "0"], "--concurrency"),
        (["account", "premium", "maybe"], '"on"'),
        (["algorithms", "show"], "requires an argument"),
        (["quality", "leaderbord"], 'Did you mean "leaderboard"'),
        (["account", "premium", "on", "two"], "unexpected argument 'two'"),
        (["status", "no-such-job"], "`mvsep-async jobs` lists the jobs"),
        (["separate", "", "--algorithm", "40"], "empty"),
        (["sandbox", "--queue-seconds", "-1"], "--queue-seconds"),
        (
            ["status", "20200101000000-0123456789-x.mp3", "--host", "https://evil.test"],
            "https://evil.test is not a host of the service",
        ),
    ],
)
def test_bad_words_are_answered_with_a_hint(cli: Cli, words: list[str], hint: str) -> None:
    ran = cli(*words)
    assert ran.code == 2
    assert ran.out == ""
    assert ran.err.startswith("error: ")
    assert ran.err.count("\n") == 1
    assert hint in ran.err


def test_cyclopts_says_which_words_are_left_over() -> None:
    app = cyclopts.App()

    @app.default
    def main(word: str) -> None: ...

    with pytest.raises(cyclopts.UnusedCliTokensError) as caught:
        app.parse_args(["one", "two", "three"], exit_on_error=False, print_error=False)
    assert caught.value.unused_tokens == ["two", "three"], f"cyclopts {cyclopts.__version__}"


def test_nothing_prints_the_help(cli: Cli) -> None:
    ran = cli()
    assert ran.code == 0
    assert "separate" in ran.out


@pytest.mark.parametrize("words", [["account"], ["separate", "a.wav"], ["history"], ["cancel", "x"]])
def test_a_missing_token_says_where_to_get_one(cli: Cli, words: list[str]) -> None:
    ran = cli(*words)
    assert ran.code == 2
    assert "mvsep-async login" in ran.err
    assert ran.err.count("\n") == 1


def test_a_wrong_token_is_one_line(cli: Cli, service: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MVSEP_API_TOKEN", "wrong")
    ran = cli("account")
    assert ran.code == 2
    assert "does not accept the API token" in ran.err
    assert ran.err.count("\n") == 1


def test_a_service_that_is_down_is_one_line(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("a password\n"))
    words = ("--name", "Ann", "--email", "ann@example.test", "--password-stdin", "--base-url", "http://127.0.0.1:9")
    ran = cli("register", *words)  # it is sent once only: nobody waits for a second try
    assert ran.code == 1
    assert ran.err.startswith("error: ")
    assert ran.err.count("\n") == 1


def test_waiting_for_a_service_that_does_not_answer_says_why(child: Any, service: Sandbox) -> None:
    service.faults.add(kind="html", status=503, path="app/user", count=2)
    _, err = child("account").communicate()
    assert err == "trying again: the service answered 503 to app/user: it is down or overloaded, try again later\n"


def test_a_port_that_is_taken_is_named(cli: Cli, service: Sandbox) -> None:
    port = str(urlsplit(service.url).port)
    ran = cli("sandbox", "--port", port)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(f"error: port {port} cannot be used")
    assert ran.err.count("\n") == 1


def test_a_bad_address_is_one_line(cli: Cli) -> None:
    ran = cli("queue", "--base-url", "mvsep")
    assert (ran.code, ran.err.count("\n")) == (2, 1)
    assert "'mvsep'" in ran.err


def test_a_fault_of_the_program_itself_is_not_hidden(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mvsep_async.cli.commands.config.load_config", lambda common: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        cli("config")


def test_real_processes(child: Any, service: Any, songs: list[str], home: Path) -> None:
    good = child("separate", *songs, "--json", "--poll-interval", "0.02")
    bad = child("separate", "nope.wav", songs[0], "--poll-interval", "0.02", "--out", "other", "--no-journal")
    out, err = good.communicate()
    assert good.returncode == 0, err
    assert len(out.splitlines()) == 3
    assert "Traceback" not in err
    out, err = bad.communicate()
    assert bad.returncode == 1
    assert "nope.wav" in out
    assert "song 0.wav" in out
    assert "Traceback" not in err


def test_a_reader_that_goes_away_is_met_with_silence(child: Any, service: Any) -> None:
    process = child("algorithms", "--json")
    process.stdout.close()
    process.stdout = None
    _, err = process.communicate()
    assert err == ""
    assert process.returncode == 1


def test_a_console_that_knows_little_gets_ascii(child: Any, service: Any, songs: list[str], home: Path) -> None:
    (home / "春.wav").write_bytes((home / songs[0]).read_bytes())
    process = child("separate", "春.wav", "--poll-interval", "0.02", PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert (out + err).isascii()
    assert "\\u6625.wav" in out


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_standard_error_that_is_full_does_not_end_a_run(service: Sandbox, songs: list[str], home: Path) -> None:
    words = [sys.executable, "-m", "mvsep_async", "separate", *songs, "--poll-interval", "0.02"]
    with Path("/dev/full").open("w") as full:
        ran = subprocess.run(words, stdout=subprocess.PIPE, stderr=full, text=True, check=False)
    assert ran.returncode == 0
    assert len(ran.stdout.splitlines()) == 3


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals there")
def test_a_terminal_that_is_closed_does_not_end_a_run(holding: Sandbox, songs: list[str], home: Path) -> None:
    master, slave = os.openpty()
    words = [sys.executable, "-m", "mvsep_async", "separate", *songs, "--poll-interval", "0.02", "--out", "made"]
    process = subprocess.Popen(words, stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
    os.close(slave)
    try:
        while holding.unfinished(TOKEN) < 3:
            os.read(master, 1000)
        os.close(master)
        for job in holding.jobs:
            holding.finish(job.hash)
        assert process.wait() == 0
    finally:
        process.kill()
        process.wait()
    assert len(list((home / "made").rglob("*.mp3"))) == 6


def test_the_help_fits_a_terminal(cli: Cli) -> None:
    assert len(cli("--help").out.splitlines()) <= 24


@pytest.mark.parametrize(("name", "words"), ALIASES.items())
def test_shorter_names_stay(cli: Cli, name: str, words: str) -> None:
    ran = cli(name, "--help")
    assert (ran.code, ran.out.splitlines()[0].startswith(f"Usage: mvsep-async {words}")) == (0, True)
