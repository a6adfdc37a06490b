"""The command line, killed at bad moments and started again: one paid job a song, whole stems, nothing left over."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from mvsep_async.sandbox import Sandbox
from tests.audio.songs import write_song

pytestmark = pytest.mark.slow

Ready = Callable[[Sandbox, Path], bool]


def start(sandbox: Sandbox, music: Path, stems: Path, *words: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "mvsep_async", "library", str(music), str(stems), "--poll-interval", "0.05", *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        env={
            **os.environ,
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "MVSEP_API_TOKEN": sandbox.premium_token,
            "MVSEP_BASE_URL": sandbox.url,
            "XDG_CONFIG_HOME": str(music.parent / "config"),
        },
    )


def paid(count: int) -> Ready:
    return lambda sandbox, stems: len(sandbox.jobs) >= count


def fetched(count: int) -> Ready:
    return lambda sandbox, stems: sum(path.suffix == ".mp3" for path in stems.rglob("*")) >= count


async def kill_when(ready: Ready, sandbox: Sandbox, music: Path, stems: Path, *words: str) -> None:
    process = start(sandbox, music, stems, *words)
    try:
        while not ready(sandbox, stems):
            assert process.poll() is None, process.stderr and process.stderr.read()
            await anyio.sleep(0.005)
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("words", [("-a", "40"), ("-a", "40", "-a", "48", "--copy-tags")], ids=["plain", "tagged"])
async def test_a_killed_library_continues_and_pays_once(
    sandbox: Sandbox, music: Path, tmp_path: Path, words: tuple[str, ...]
) -> None:
    stems = tmp_path / "Stems"
    ways = words.count("-a")
    sandbox.job_seconds = 0.3
    for number in range(16):
        write_song(music / f"album {number % 3}" / f"{number:02}.flac", 0.1 + number / 50, title=f"Song {number}")
    await kill_when(paid(5), sandbox, music, stems, *words)
    await kill_when(fetched(10), sandbox, music, stems, *words)
    last = start(sandbox, music, stems, *words)
    _, told = await anyio.to_thread.run_sync(last.communicate)
    assert last.returncode == 0, told.decode()
    jobs = sandbox.jobs
    assert len(jobs) == 16 * ways, "every song is paid once for each way"
    files = {path.relative_to(stems).as_posix() for path in stems.rglob("*") if path.is_file()}
    hidden = {name for name in files if name.startswith(".mvsep/")}
    assert len(files - hidden) == 16 * 2 * ways
    assert all(name.endswith(".mp3") and "(2)" not in name for name in files - hidden)
    assert {name.partition("-")[0] for name in hidden} <= {
        f".mvsep/{name}"
        for name in ("journal.sqlite", "journal.sqlite.lock", "manifest.sqlite", "manifest.sqlite.lock")
    }
    if ways == 1:
        for song in music.rglob("*.flac"):
            for stem in ("Vocals", "Other"):
                copy = stems / song.parent.name / song.stem / f"{stem}.mp3"
                assert copy.read_bytes() == song.read_bytes()


async def test_a_killed_recipe_continues_and_pays_once(sandbox: Sandbox, music: Path, tmp_path: Path) -> None:
    stems = tmp_path / "Stems"
    sandbox.job_seconds = 0.2
    for number in range(6):
        write_song(music / f"{number}.wav", 0.1 + number / 50)
    recipe = tmp_path / "r.toml"
    recipe.write_text(
        '[[step]]\nname = "voice"\nalgorithm = 40\nkeep = []\n'
        '[[step]]\nname = "lead"\nalgorithm = 49\ninput = "voice.Vocals"\nkeep = ["Lead vocals"]\n'
    )
    words = ("--recipe", str(recipe), "--transfer", "file")
    await kill_when(paid(8), sandbox, music, stems, *words)
    last = start(sandbox, music, stems, *words)
    _, told = await anyio.to_thread.run_sync(last.communicate)
    assert last.returncode == 0, told.decode()
    assert sorted(job.sep_type for job in sandbox.jobs) == [40] * 6 + [49] * 6
    assert {path.name for path in stems.glob("*/*.mp3")} == {"Lead vocals.mp3"}
    assert not any(path.is_file() for path in (stems / ".mvsep" / "stems").glob("*"))
