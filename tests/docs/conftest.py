"""A sandbox, and a reader's folder with some songs and `mvsep-async` on the path."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import pytest
import soundfile
from mutagen.flac import FLAC

from mvsep_async.catalogue.catalogue import Catalogue
from mvsep_async.sandbox import Sandbox
from mvsep_async.sandbox.catalogue import catalogue_json
from mvsep_async.testing import no_waiting
from tests.docs.pages import ROOT
from tests.docs.reader import Reader

SONGS: Final = ("song.flac", "other.wav", "third.ogg", "reference.wav", "podcast.wav")
ALBUM: Final = {
    "music/Nina/Blue/01 First.flac": {"artist": "Nina", "album": "Blue", "title": "First", "tracknumber": "1"},
    "music/Nina/Blue/02 Second.flac": {"artist": "Nina", "album": "Blue", "title": "Second", "tracknumber": "2"},
    "music/Loose.flac": {},
}
"""Every file that the pages name."""

SCOPES: Final = ("single_upload", "no_upload", "matchering_upload")

_LAUNCHER: Final = """\
#!{python} -SE
import sys

sys.path.append({here!r})
from warm import ask

sys.exit(ask({address!r}, sys.argv[1:]))
"""


@pytest.fixture(scope="session")
def service() -> Iterator[Sandbox]:
    """One sandbox for all pages: songs take a hundredth of a second there."""
    with Sandbox(speed=10_000.0, min_seconds=0.01) as running:
        yield running


@pytest.fixture(scope="session")
def songs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The songs, made once."""
    folder = tmp_path_factory.mktemp("songs")
    rate = 8000
    for number, name in enumerate((*SONGS, *ALBUM)):
        time = np.arange(rate // 4) / rate
        both = np.stack([np.sin(2 * np.pi * (220 + 20 * number) * time), np.sin(2 * np.pi * 330 * time)], axis=1)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / name, 0.3 * both, rate)
    for name, tags in ALBUM.items():
        file = FLAC(folder / name)
        file.update(tags)
        file.save()
    return folder


@pytest.fixture(scope="session")
def programs() -> Iterator[Path]:
    """A folder for the path, with the command line, which does not wait between its looks at a job."""
    with tempfile.TemporaryDirectory(prefix="mvsep-") as name:  # short: it is part of a socket's address
        address = f"{name}/warm"
        launcher = Path(name) / "mvsep-async"
        launcher.write_text(_LAUNCHER.format(python=sys.executable, here=str(Path(__file__).parent), address=address))
        launcher.chmod(0o755)
        command = [sys.executable, "-m", "tests.docs.warm", address]
        with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as warm:
            assert warm.stdout is not None
            assert warm.stdout.readline() == "ready\n"
            yield Path(name)


@pytest.fixture
def reader(
    service: Sandbox, songs: Path, programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Reader]:
    """A reader with a fresh folder, in which this process is, too."""
    folder = tmp_path / "here"
    shutil.copytree(songs, folder)
    for url in ("https://example.com/song.mp3", "https://example.com/podcast.mp3"):
        service.remote_file(url, folder / "song.flac")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("MVSEP_API_TOKEN", service.premium_token)
    monkeypatch.setenv("MVSEP_BASE_URL", service.url)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    with no_waiting():
        yield Reader(folder, dict(os.environ), Catalogue(json.loads(catalogue_json(SCOPES))))
