"""`limit_rate` bounds uploads and downloads together."""

from __future__ import annotations

from pathlib import Path

import anyio
import httpx
import httpx2
import pytest

from mvsep_async.sandbox import Sandbox
from tests.conftest import NewClient, wav


@pytest.mark.parametrize("library", [None, httpx, httpx2])
async def test_uploads_and_downloads_together(
    sandbox: Sandbox, client_of: NewClient, tmp_path: Path, library: object
) -> None:
    song = tmp_path / "song.wav"
    song.write_bytes(wav(4.0))  # 128 kB: up once, and down twice
    http = None if library is None else library.AsyncClient(trust_env=False)  # type: ignore[attr-defined]
    rate = 400_000
    async with client_of(sandbox, limit_rate=rate, http=http) as client:
        began = anyio.current_time()
        paths = await client.separate(song, tmp_path / "out", algorithm=40, output_format=1)
        took = anyio.current_time() - began
    if http is not None:
        await http.aclose()
    assert [path.read_bytes() for path in paths] == [song.read_bytes()] * 2
    assert took > (3 * song.stat().st_size - 3 * 65_536) / rate
