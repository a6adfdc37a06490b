"""A client of httpx2, given as `http=`, works like one of httpx."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import anyio
import httpx
import httpx2
import pytest

from mvsep_async import ConfigurationError, MVSepClient, TransportError
from mvsep_async.http.budget import Budget
from mvsep_async.http.call import Call
from mvsep_async.http.gate import Gate
from mvsep_async.http.hosts import Host
from mvsep_async.http.wire import Wire
from mvsep_async.sandbox import Sandbox
from mvsep_async.transport.compat import Timeouts
from tests.conftest import NewClient, wav

TOKEN = "Zx9-secret-7fLq0aPt"


async def test_a_song_there_and_back(sandbox: Sandbox, client_of: NewClient, song: Path, tmp_path: Path) -> None:
    async with httpx2.AsyncClient(trust_env=False) as http, client_of(sandbox, http=http) as client:
        paths = await client.separate(song, tmp_path / "out", algorithm="BS Roformer", output_format=1)
        assert not http.is_closed
    assert [path.read_bytes() for path in paths] == [song.read_bytes()] * 2


async def test_a_cut_download_is_resumed(sandbox: Sandbox, client_of: NewClient, tmp_path: Path) -> None:
    song = tmp_path / "long.wav"
    song.write_bytes(wav(20.0))
    sandbox.faults.add(kind="cut_response", path="/storage/*", after_bytes=100_000, count=3)
    async with httpx2.AsyncClient(trust_env=False) as http, client_of(sandbox, http=http) as client:
        paths = await client.separate(song, tmp_path / "out", algorithm=40, output_format=1)
    assert [path.read_bytes() for path in paths] == [song.read_bytes()] * 2
    downloads = [request.status for request in sandbox.requests if request.path.startswith("/storage/")]
    assert 206 in downloads


async def test_a_lost_answer_is_not_paid_twice(
    sandbox: Sandbox, client_of: NewClient, song: Path, tmp_path: Path
) -> None:
    sandbox.faults.add(kind="lose_answer", path="separation/create")
    sandbox.faults.add(kind="html", path="separation/get", status=502)
    async with httpx2.AsyncClient(trust_env=False) as http, client_of(sandbox, http=http) as client:
        assert await client.separate(song, tmp_path / "out", algorithm=40)
    assert len(sandbox.jobs) == 1


@pytest.mark.parametrize("library", [httpx, httpx2])
async def test_errors_and_timeouts_are_mapped(library: Any) -> None:
    queue = Call(method="GET", path="app/queue")
    async with library.AsyncClient(trust_env=False) as http:
        async with Sandbox() as sandbox:
            sandbox.faults.add(kind="stall", path="app/queue", count=None, seconds=10)
            wire = wire_to(sandbox.url, http, Timeouts.of(library.Timeout(5.0, read=0.05)))
            with pytest.raises(TransportError, match="stopped answering"):
                await wire.call(queue)
        with pytest.raises(TransportError, match="no connection"):
            await wire.call(queue)
    with pytest.raises(ConfigurationError, match="closed"):
        await wire.call(queue)


def wire_to(url: str, http: Any, timeouts: Timeouts) -> Wire:
    return Wire(http, Host.parse(url), None, Gate(Budget(fixed=10_000)), timeouts)


async def test_no_logger_of_httpx2_writes_the_token(caplog: pytest.LogCaptureFixture, song: Path) -> None:
    with caplog.at_level(logging.DEBUG):
        for name in ("httpx2", "httpcore2", "httpcore2.http11", "httpcore2.connection"):
            caplog.set_level(logging.DEBUG, logger=name)
        async with (
            Sandbox(premium_token=TOKEN, stems="copy", job_seconds=0.0) as sandbox,
            httpx2.AsyncClient(trust_env=False) as http,
            MVSepClient(TOKEN, base_url=sandbox.url, http=http, poll_interval=0.02) as client,
        ):
            await (await client.submit(song, algorithm=40))
            await client.account.user()
    assert "api_token" in caplog.text
    assert TOKEN not in caplog.text


def test_on_trio(tmp_path: Path) -> None:
    song = tmp_path / "song.wav"
    song.write_bytes(wav())

    async def main() -> None:
        with Sandbox(stems="copy", job_seconds=0.0) as sandbox:
            async with (
                httpx2.AsyncClient(trust_env=False) as http,
                MVSepClient(
                    sandbox.premium_token, base_url=sandbox.url, http=http, poll_interval=0.02, requests_per_minute=6000
                ) as client,
            ):
                assert await client.separate(song, tmp_path / "out", algorithm=40)

    anyio.run(main, backend="trio")
