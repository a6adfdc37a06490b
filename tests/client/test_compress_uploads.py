"""`compress_uploads`: the service gets FLAC, and the song is still the same song."""

from __future__ import annotations

from pathlib import Path

import pytest

import mvsep_async.config as config_module
from mvsep_async import MVSepClient
from mvsep_async.errors import ConfigurationError
from mvsep_async.sandbox import Sandbox
from tests.conftest import NewClient, wav


async def test_a_song_is_sent_as_flac_and_known_by_its_original(
    sandbox: Sandbox, client_of: NewClient, tmp_path: Path
) -> None:
    song = tmp_path / "song.wav"
    song.write_bytes(wav(2.0))
    journal = tmp_path / "journal.sqlite"
    async with client_of(sandbox, journal=journal, compress_uploads=True) as client:
        (job,) = [job async for job in client.map([song], algorithm=40)]
    async with client_of(sandbox, journal=journal) as client:
        again = [job async for job in client.map([song], algorithm=40)]
    assert [job.hash for job in again] == [job.hash]
    (sent,) = sandbox.jobs
    assert str(sent.hash).endswith(".flac")
    assert sent.bytes < song.stat().st_size


def test_the_encoder_has_to_be_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config_module, "find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match=r"mvsep-async\[compress\]"):
        MVSepClient("token", compress_uploads=True)
