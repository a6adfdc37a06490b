"""Ctrl-C, in real processes, with a service that holds its jobs so that no luck is needed."""

from __future__ import annotations

import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from mvsep_async.cli.job_run import JobRun
from mvsep_async.cli.signals import interruptible
from mvsep_async.cli.stopping import print_resume_hint
from mvsep_async.cli.terminal import open_terminal
from mvsep_async.observe.events import Submitted
from mvsep_async.sandbox import Sandbox
from tests.cli.conftest import TOKEN, Child, Cli, until

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals are sent otherwise there")

FAST = ("--poll-interval", "0.02")


def at_service(holding: Sandbox, count: int) -> Callable[[], bool]:
    return lambda: holding.unfinished(TOKEN) == count


def test_a_song_that_was_being_read_counts_as_not_sent(capsys: pytest.CaptureFixture[str]) -> None:
    run = JobRun("separate", reading=True)
    with open_terminal():
        print_resume_hint(run)
        assert "1 song was not sent yet" in capsys.readouterr().err
        run.receive(Submitted("id", 40, None))  # now it is among the jobs
        print_resume_hint(run)
        assert "not sent yet" not in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_once_leaves_the_jobs_and_says_how_to_fetch_them(
    child: Child, cli: Cli, holding: Sandbox, songs: list[str], number: signal.Signals
) -> None:
    process = child("separate", *songs, "--concurrency", "2", "--out", "made here", "--no-journal", *FAST)
    until(at_service(holding, 2))
    process.send_signal(number)
    out, err = process.communicate()
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert out == ""
    hashes = [job.hash for job in holding.jobs]
    assert len(hashes) == 2
    (command,) = (line.strip() for line in err.splitlines() if "download" in line)
    *words, out_option, folder = shlex.split(command)
    assert (words[:2], out_option, folder) == (["mvsep-async", "download"], "--out", "made here")
    assert sorted(words[2:]) == sorted(hashes)
    assert "1 song was not sent yet" in err
    assert holding.unfinished(TOKEN) == 2
    for hash in hashes:
        holding.finish(hash)
    ran = cli("download", *hashes, "--out", "made here", "--json", *FAST)
    assert ran.code == 0, ran.err
    assert sorted(one["hash"] for one in ran.documents) == sorted(hashes)


def test_once_with_a_journal_the_same_command_continues(
    child: Child, cli: Cli, holding: Sandbox, songs: list[str]
) -> None:
    words = ("separate", *songs, "--concurrency", "2", "--journal", "run.db", "--json", *FAST)
    process = child(*words)
    until(at_service(holding, 2))
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert process.returncode == 130
    assert "the same command again" in err
    listed = {row["source"]: row["state"] for row in cli("jobs", "--journal", "run.db", "--json").document}
    assert len(listed) == 3
    assert sorted(listed.values()) == ["queued", "waiting", "waiting"]
    holding.manual = False
    for job in holding.jobs:
        holding.finish(job.hash)
    ran = cli(*words)
    assert ran.code == 0, ran.err
    assert len(ran.documents) == 3
    assert len(holding.jobs) == 3


def test_a_reader_that_goes_away_leaves_no_paid_job_unknown(child: Child, holding: Sandbox, songs: list[str]) -> None:
    process: Any = child("separate", *songs, "--no-journal", *FAST)
    process.stdout.close()
    process.stdout = None
    until(at_service(holding, 3))
    first, *others = holding.jobs
    holding.finish(first.hash)
    _, err = process.communicate()
    assert process.returncode == 1
    assert "Traceback" not in err
    assert "2 jobs continue at the service" in err
    assert all(job.hash in err for job in others)


def test_twice_in_a_real_process(child: Child, holding: Sandbox, songs: list[str]) -> None:
    process: Any = child("separate", *songs, *FAST)
    until(at_service(holding, 3))
    process.send_signal(signal.SIGINT)
    for line in process.stderr:
        if line.startswith("stopping"):
            break
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert process.returncode == 130
    assert "Traceback" not in err


def test_the_first_signal_cancels_and_the_second_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    now = 0.0
    monkeypatch.setattr("mvsep_async.cli.signals._leave", lambda: told.append("left"))

    async def work() -> None:
        nonlocal now
        with interruptible(lambda: told.append("stopping"), clock=lambda: now) as scope:
            with scope:
                signal.raise_signal(signal.SIGINT)
                signal.raise_signal(signal.SIGTERM)
                assert told == []  # the same one told twice, as wrappers do
                now += 0.2
                signal.raise_signal(signal.SIGTERM)
                assert told == ["left"]
                await anyio.sleep_forever()
            assert scope.cancelled_caught

    before = signal.getsignal(signal.SIGTERM)
    anyio.run(work)
    assert told[:2] == ["left", "stopping"]
    assert signal.getsignal(signal.SIGTERM) is before


def test_watching_ends_and_the_job_continues(child: Child, holding: Sandbox) -> None:
    (hash,) = holding.occupy(TOKEN)
    process = child("watch", hash, *FAST)
    until(lambda: any(request.path.endswith("separation/get") for request in holding.requests))
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert process.returncode == 130
    assert "continue at the service" in err
    assert holding.unfinished(TOKEN) == 1


def test_the_sandbox_ends_cleanly(child: Child, monkeypatch: pytest.MonkeyPatch) -> None:
    process: Any = child("sandbox", "--json")
    announced = process.stdout.readline()
    assert '"premium_token"' in announced
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert (process.returncode, err) == (0, "")


def test_a_signal_that_was_ignored_from_the_start_stays_ignored() -> None:
    async def work() -> None:
        with interruptible() as scope:
            signal.raise_signal(signal.SIGINT)
            await anyio.sleep(0)
            assert not scope.cancel_called
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN

    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        anyio.run(work)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_ctrl_c_while_the_program_is_loaded_prints_no_traceback() -> None:
    script = (
        "import sys, mvsep_async.cli as cli\n"
        "class Interrupted:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'mvsep_async.cli.run': raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Interrupted())\n"
        "sys.exit(cli.main(['--version']))"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (130, "")
