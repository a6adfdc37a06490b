"""The PyPI package `mvsep-cli`, as published, against the sandbox."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
import soundfile

from mvsep_async.sandbox import Sandbox

pytestmark = pytest.mark.slow

LAUNCHER = Path(__file__).with_name("launcher.py")
Mvsep = Callable[..., str]


@pytest.fixture
def mvsep(sandbox: Sandbox, tmp_path: Path) -> Mvsep:
    """Run the command with a HOME of its own; gives what it printed."""
    home = tmp_path / "home"
    home.mkdir()

    def run(*arguments: str, code: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, str(LAUNCHER), sandbox.url, *arguments],
            env={**os.environ, "HOME": str(home), "MVSEP_API_TOKEN": sandbox.premium_token},
            cwd=tmp_path, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    return run


def uploaded(printed: str) -> str:
    """The hash that `upload` printed."""
    found = re.search(r"^Hash: (\S+)$", printed, re.MULTILINE)
    assert found is not None
    return found[1]


def test_algorithms_are_listed(mvsep: Mvsep) -> None:
    listed = mvsep("list")
    assert "63: BS Roformer SW (vocals, bass, drums, guitar, piano, other)" in listed
    assert len(re.findall(r"^  \d+: ", listed, re.MULTILINE)) > 80
    assert "37: DrumSep" in mvsep("list", "--search", "drumsep")
    assert "DrumSep SCNet XL (5 stems)" in mvsep("algorithms", "--id", "37")
    assert "add_opt1" in mvsep("algorithms")


def test_upload_wait_status_download_history(mvsep: Mvsep, song: Path, tmp_path: Path) -> None:
    hash_ = uploaded(mvsep("upload", str(song), "-t", "40", "-f", "2"))
    assert hash_.endswith("-13-dimensions.wav")
    assert "Task completed successfully!" in mvsep("wait", hash_, "--interval", "1")
    status = mvsep("status", hash_)
    assert "Status: done" in status
    assert "Output format: flac (16 bit)" in status
    mvsep("download", hash_, "-o", "stems")
    stems = sorted(path.name for path in (tmp_path / "stems").iterdir())
    assert stems == ["13 Dimensions_other.flac", "13 Dimensions_vocals.flac"]
    assert all(soundfile.info(tmp_path / "stems" / name).duration == 2.0 for name in stems)
    assert hash_ in mvsep("history")


def test_the_examples_of_its_readme(mvsep: Mvsep, song: Path, tmp_path: Path) -> None:
    song.rename(tmp_path / "song.wav")
    assert "49: MVSep Karaoke" in mvsep("list", "-s", "karaoke")
    assert "BS Roformer by frazer and becruily" in mvsep("list", "--models", "49")
    assert "Demucs4 HT" in mvsep("algorithms", "-i", "20")
    hash_ = uploaded(mvsep("upload", "song.wav", "-t", "49", "--add-opt1", "5", "--wait"))
    assert "Downloaded 4 files" in mvsep("run", "song.wav", "-t", "49", "--add-opt1", "5", "-f", "2", "-o", "./output")
    assert len(list((tmp_path / "output").glob("*.flac"))) == 4
    assert "Downloaded 4 files" in mvsep("download", hash_, "-o", "./output")
    assert hash_ in mvsep("history")


@pytest.mark.parametrize("number", range(6))
def test_every_output_format(mvsep: Mvsep, song: Path, tmp_path: Path, number: int) -> None:
    mvsep("run", str(song), "-t", "40", "-f", str(number), "-i", "1", "-o", "out")
    extensions = [path.suffix for path in (tmp_path / "out").iterdir()]
    assert extensions == [[".mp3", ".wav", ".flac", ".m4a", ".wav", ".flac"][number]] * 2


def test_all_in_one(mvsep: Mvsep, song: Path, tmp_path: Path) -> None:
    printed = mvsep("run", str(song), "-t", "63", "-f", "1", "-i", "1", "-o", "out")
    assert "Downloaded 6 files" in printed
    assert len(list((tmp_path / "out").glob("*.wav"))) == 6


def test_waiting_and_failing_are_shown(mvsep: Mvsep, sandbox: Sandbox, song: Path) -> None:
    sandbox.manual = True
    hash_ = uploaded(mvsep("upload", str(song), "-t", "40"))
    assert "Current order: 1" in mvsep("status", hash_, code=1)
    sandbox.show(hash_, "merging", finished_chunks=2, all_chunks=4)
    assert "Merging: 2/4 chunks" in mvsep("status", hash_, code=1)
    sandbox.fail(hash_, "no luck")
    assert "Error: no luck" in mvsep("status", hash_, code=1)
    assert "Task failed: no luck" in mvsep("wait", hash_, code=1)
    assert "Status: not_found" in mvsep("status", "20240101000000-0000000000-none.mp3", code=1)


def test_refusals_reach_it(mvsep: Mvsep, song: Path) -> None:
    assert "Server error (400)" in mvsep("upload", str(song), "-t", "9999", code=1)


# The command has no words for these; its library does.
CALLS = {
    "queue": "print(api.get_queue_info())",
    "history": "print(api.get_separation_history(limit=5))",
    "news": "print(api.get_news('ru', limit=1))",
    "switches": (
        "print(api.disable_premium(), api.enable_premium(), api.enable_long_filenames(), api.disable_long_filenames())"
    ),
    "cancel": "print(api.cancel_task(sys.argv[3]))",
    "url": "print(api.create_task(remote_url=sys.argv[1] + '/storage/temp/' + sys.argv[3], sep_type=49, add_opt1='5'))",
    "quality": "print(api.create_quality_entry(sys.argv[3], 'Mine', 'text', password='p'))",
}
EXPECTED = {
    "queue": "'in_process': 0",
    "history": "-13-dimensions.wav",
    "news": "Обновления в декабре",
    "switches": "successfully disabled",
    "cancel": "'success': True",
    "url": "/api/separation/get-remote?hash=",
    "quality": "'link': ",
}


@pytest.mark.parametrize("name", CALLS)
def test_the_library_behind_it(sandbox: Sandbox, song: Path, tmp_path: Path, name: str) -> None:
    sandbox.manual = True
    answer = httpx.post(
        f"{sandbox.url}/api/separation/create",
        data={"api_token": sandbox.premium_token},
        files={"audiofile": (song.name, song.read_bytes())},
        timeout=60,
    )
    hash_ = answer.json()["data"]["hash"]
    script = (
        f"import sys\nfrom mvsep_cli.api import MVSEP_API\napi = MVSEP_API(sys.argv[2], sys.argv[1])\n{CALLS[name]}\n"
    )
    argument = str(song) if name == "quality" else hash_
    done = subprocess.run(
        [sys.executable, "-c", script, sandbox.url, sandbox.premium_token, argument],
        env={**os.environ, "HOME": str(tmp_path), "PYTHONIOENCODING": "utf-8"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert EXPECTED[name] in done.stdout
    assert sandbox.job(hash_).cancelled == (name == "cancel")
