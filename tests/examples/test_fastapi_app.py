"""The web application, served by uvicorn and used like a browser would."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from attrs import frozen

from examples.fastapi_app import create_app
from mvsep_async import MVSepClient
from mvsep_async.sandbox import Sandbox
from mvsep_async.sandbox.server.listener import bind
from tests.client.support import calls, until
from tests.conftest import NewClient, wav
from tests.serving import address_of, served


@frozen
class Browser:
    """Somebody at the page."""

    http: httpx.AsyncClient

    async def upload(self, data: bytes, **query: str) -> httpx.Response:
        return await self.http.post("/songs", files={"song": ("Song.wav", data)}, params=query)

    async def events(self, song: str) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        """Read as `EventSource` does: the kind of each event, and its data."""
        kind = "message"
        async with self.http.stream("GET", f"/songs/{song}/events") as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            async for line in answer.aiter_lines():
                name, _, value = line.partition(": ")
                if name == "event":
                    kind = value
                elif name == "data":
                    yield kind, json.loads(value)
                    kind = "message"


@asynccontextmanager
async def browser_of(client: MVSepClient) -> AsyncIterator[Browser]:
    bound = bind(0)
    app = create_app(client, address_of(bound))
    async with (
        served(app, bound, lifespan="on") as url,
        httpx.AsyncClient(base_url=url, trust_env=False, timeout=30) as http,
    ):
        yield Browser(http)


async def test_progress_and_stems_arrive_as_events_with_the_help_of_a_webhook(
    held: Sandbox, client_of: NewClient
) -> None:
    async with browser_of(client_of(held, poll_interval=3600.0)) as browser:
        answer = await browser.upload(wav())
        assert answer.status_code == 202
        song = answer.json()["id"]
        seen = []
        async for kind, data in browser.events(song):
            seen.append(kind)
            if data["stage"] == "waiting":
                held.finish(held.jobs[0].hash)
        assert (seen[0], seen[-1], set(seen[1:-1])) == ("message", "over", {"message"})
        assert data["error"] is None
        assert {file["stem"] for file in data["files"]} == {"Vocals", "Other"}
        assert (await browser.http.get(f"/songs/{song}")).json() == data
        again = [event async for event in browser.events(song)]
        assert again[-1] == ("over", data)
    assert calls(held, "separation/get") == 1


async def test_a_visitor_cancels_and_everybody_who_looks_on_is_told(held: Sandbox, client_of: NewClient) -> None:
    async with browser_of(client_of(held)) as browser:
        song = (await browser.upload(wav())).json()["id"]
        await until(lambda: held.jobs)
        async for kind, data in browser.events(song):
            if kind == "message" and data["stage"] == "waiting":
                assert (await browser.http.delete(f"/songs/{song}")).json()["stage"] == "cancelled"
        assert kind == "over"
        assert "cancelled" in data["error"]
    assert held.jobs[0].cancelled


async def test_the_server_stops_though_somebody_looks_on(held: Sandbox, client_of: NewClient) -> None:
    async with browser_of(client_of(held)) as browser:
        song = (await browser.upload(wav())).json()["id"]
        events = browser.events(song)
        await anext(events)
        await events.aclose()  # a browser that goes away ends nothing but its own looking on
        assert (await browser.http.get(f"/songs/{song}")).json()["error"] is None
    assert held.unfinished(held.premium_token) <= 1


async def test_mistakes_are_the_visitor_s_and_are_explained(sandbox: Sandbox, client_of: NewClient) -> None:
    async with browser_of(client_of(sandbox)) as browser:
        empty = await browser.upload(b"")
        assert (empty.status_code, "is empty" in empty.json()["detail"]) == (422, True)
        unknown = await browser.upload(wav(), algorithm="No Such Algorithm")
        assert unknown.status_code == 422
        assert (await browser.http.get("/songs/none/events")).status_code == 404
        assert (await browser.http.delete("/songs/none")).status_code == 404
        page = await browser.http.get("/")
        assert "EventSource" in page.text
        texts = [empty.text, unknown.text, page.text]
    assert not any(sandbox.premium_token in text for text in texts)
