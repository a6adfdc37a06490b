"""The web applications of the pages, served to a browser and to the service."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.docs.pages import ROOT, blocks_of
from tests.docs.reader import Reader
from tests.serving import served

SONG = Path("song.flac")
"""In the folder of the reader, in which this runs."""


@pytest.fixture
def defined(reader: Reader, request: pytest.FixtureRequest) -> dict[str, Any]:
    """What the first block of a page defines."""
    block = blocks_of(ROOT / "docs" / "how-to" / request.param)[0]
    reader.read(block)
    return reader.names


@pytest.mark.parametrize("defined", ["web.md"], indirect=True)
async def test_a_browser_sends_a_song_and_hears_of_it_until_it_is_over(defined: dict[str, Any]) -> None:
    async with served(defined["app"]) as address, httpx.AsyncClient(base_url=address) as browser:
        sent = await browser.post("/jobs", params={"name": "song.flac"}, content=SONG.read_bytes())
        assert sent.status_code == 202, sent.text
        heard = await browser.get(f"/jobs/{sent.json()['id']}")
    assert heard.headers["content-type"].startswith("text/event-stream")
    events = [json.loads(line.removeprefix("data: ")) for line in heard.text.splitlines() if line]
    assert [event["stage"] for event in events[-2:]] == ["done", "over"]
    assert "error" not in events[-1]
    assert len(events[-1]["files"]) == 2


@pytest.mark.parametrize("defined", ["web.md"], indirect=True)
async def test_a_browser_gets_an_error_for_invalid_requests(defined: dict[str, Any]) -> None:
    async with served(defined["app"]) as address, httpx.AsyncClient(base_url=address) as browser:
        refused = await browser.post("/jobs", params={"name": "a.flac", "algorithm": "no such"}, content=b"some bytes")
        assert refused.status_code == 422
        assert "no such" in refused.json()["error"]
        assert (await browser.get("/jobs/unknown")).status_code == 404


@pytest.mark.parametrize("defined", ["webhooks.md"], indirect=True)
async def test_the_receiver_is_reached_where_it_says(defined: dict[str, Any]) -> None:
    receiver = defined["receiver"]
    path = receiver.url.removeprefix("https://bot.example.com")
    async with served(defined["app"]) as address, httpx.AsyncClient(base_url=address) as service:
        assert (await service.get(path)).status_code == 200
        assert (await service.post(path, json={"hash": "20260301120000-0e3e5c6c85-x.mp3"})).status_code == 200
        assert (await service.get("/hooks/guessed")).status_code == 404
    assert defined["client"].webhook_url == receiver.url
