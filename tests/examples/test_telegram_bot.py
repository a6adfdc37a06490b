"""The Telegram bot at a Bot API of our own."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from attrs import define, field
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from examples.telegram_bot import StemBot, Telegram
from mvsep_async import MVSepClient
from mvsep_async.sandbox import Sandbox
from tests.client.support import until
from tests.conftest import NewClient, wav
from tests.serving import served

TOKEN = "123:telegram"
CHAT = 7


@define
class BotApi:
    """The part of Telegram that the bot talks to."""

    files: dict[str, bytes] = field(factory=dict)
    updates: list[dict[str, Any]] = field(factory=list)
    messages: dict[int, list[str]] = field(factory=dict)
    """Each message, with all that it ever read."""
    audio: list[str] = field(factory=list)
    half_way: anyio.Event = field(factory=anyio.Event)
    go_on: anyio.Event = field(factory=anyio.Event)
    takes_audio: bool = True
    busy: int = 0
    """So many edits are answered with "too many requests"."""
    pages: int = 0
    """So many calls are answered with the page of a proxy."""

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route(f"/bot{TOKEN}/{{method}}", self.call, methods=["POST"]),
                Route(f"/file/bot{TOKEN}/{{name}}", self.file),
            ]
        )

    def receive(self, **message: Any) -> None:
        self.updates.append({"update_id": len(self.updates) + 1, "message": {"chat": {"id": CHAT}, **message}})

    def song(self, name: str, data: bytes) -> None:
        self.files[name] = data
        self.receive(audio={"file_id": name, "file_unique_id": name, "file_name": name})

    def texts(self) -> list[str]:
        return [text for texts in self.messages.values() for text in texts]

    async def call(self, request: Request) -> Response:
        asked = await request.json()
        if self.pages:
            self.pages -= 1
            return Response("<html>502 Bad Gateway</html>", status_code=502)
        match request.path_params["method"]:
            case "getUpdates":
                with anyio.move_on_after(0.2):
                    while len(self.updates) < asked["offset"]:
                        await anyio.sleep(0.005)
                return said(self.updates[max(asked["offset"] - 1, 0) :])
            case "getFile":
                return said({"file_path": asked["file_id"]})
            case "sendMessage":
                number = len(self.messages) + 1
                self.messages[number] = [asked["text"]]
                return said({"message_id": number})
            case "editMessageText" if self.busy:
                self.busy -= 1
                wait = {"ok": False, "description": "Too Many Requests", "parameters": {"retry_after": 0.01}}
                return JSONResponse(wait, status_code=429)
            case "editMessageText":
                self.messages[asked["message_id"]].append(asked["text"])
                return said(True)
            case "sendAudio" if self.takes_audio:
                self.audio.append(asked["audio"])
                return said({})
            case _:
                return JSONResponse({"ok": False, "description": "Bad Request"}, status_code=400)

    async def file(self, request: Request) -> Response:
        data = self.files[request.path_params["name"]]
        if not data:
            return Response(status_code=404)

        async def pieces() -> AsyncIterator[bytes]:
            yield data[: len(data) // 2]
            self.half_way.set()
            await self.go_on.wait()
            yield data[len(data) // 2 :]

        return StreamingResponse(pieces())


def said(result: Any) -> Response:
    return JSONResponse({"ok": True, "result": result})


@asynccontextmanager
async def bot_at(api: BotApi, client: MVSepClient) -> AsyncIterator[None]:
    async with (
        served(api.app(), lifespan="off") as url,
        httpx.AsyncClient(trust_env=False) as http,
        client,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(StemBot(client, Telegram(http, TOKEN, url, rest=0.01), edit_every=0.02).run)
        yield
        tasks.cancel_scope.cancel()


@pytest.fixture
def api() -> BotApi:
    api = BotApi()
    api.go_on.set()
    return api


async def test_a_song_comes_back_as_stems(sandbox: Sandbox, client_of: NewClient, api: BotApi) -> None:
    api.busy = 2
    async with bot_at(api, client_of(sandbox)):
        api.receive(text="hello")
        api.song("Song.wav", wav())
        await until(lambda: len(api.audio) == 2)
        await until(lambda: "Send me a song." in api.texts())
        await until(lambda: any(texts[-1] == "Done: 2 stems" for texts in api.messages.values()))
        assert all(link.startswith(sandbox.url) for link in api.audio)
        assert "Fetching your song" in api.texts()
    assert not any(sandbox.premium_token in text for text in api.texts())


async def test_a_song_is_on_the_disk_before_it_is_here_whole(
    sandbox: Sandbox, client_of: NewClient, api: BotApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    api.go_on = anyio.Event()
    song = wav(500.0)

    def on_disk() -> int:
        return sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())

    async with bot_at(api, client_of(sandbox)):
        api.song("Long Song.wav", song)
        await api.half_way.wait()
        await until(lambda: on_disk() >= len(song) // 4)
        assert on_disk() < len(song)
        api.go_on.set()
        await until(lambda: len(api.audio) == 2)
    assert on_disk() == 0


async def test_what_telegram_does_not_take_is_linked(sandbox: Sandbox, client_of: NewClient, api: BotApi) -> None:
    api.takes_audio = False
    async with bot_at(api, client_of(sandbox)):
        api.song("Song.wav", wav())
        await until(lambda: sum(sandbox.url in text for text in api.texts()) == 2)


async def test_a_bot_outlives_a_telegram_that_is_out_of_order(
    sandbox: Sandbox, client_of: NewClient, api: BotApi
) -> None:
    api.updates.append({"update_id": 1, "edited_message": {"chat": {"id": CHAT}}})
    async with bot_at(api, client_of(sandbox)):
        for text in ("while it is gone", "and when it is back"):
            api.pages = 4
            api.receive(text=text)
            await until(lambda: not api.pages)
        api.song("Song.wav", wav())
        await until(lambda: len(api.audio) == 2)


async def test_a_chat_cancels_its_own_songs(held: Sandbox, client_of: NewClient, api: BotApi) -> None:
    async with bot_at(api, client_of(held)):
        api.song("Song.wav", wav())
        await until(lambda: held.unfinished(held.premium_token) == 1)
        api.receive(chat={"id": CHAT + 1}, text="/cancel")
        await until(lambda: "Cancelled 0 of your songs." in api.texts())
        api.receive(text="/cancel@stem_bot")
        await until(lambda: "Cancelled 1 of your songs." in api.texts())
        await until(lambda: any(text.startswith("That did not work") for text in api.texts()))
    assert held.jobs[0].cancelled


async def test_what_cannot_be_fetched_is_said(sandbox: Sandbox, client_of: NewClient, api: BotApi) -> None:
    async with bot_at(api, client_of(sandbox)):
        api.song("Gone.wav", b"")
        await until(lambda: any("Telegram did not hand it over" in text for text in api.texts()))
    assert not any(TOKEN in text for text in api.texts())


async def test_a_song_that_outlived_the_bot_is_answered_by_the_next_one(
    held: Sandbox, client_of: NewClient, api: BotApi, tmp_path: Path
) -> None:
    journal = tmp_path / "journal.sqlite"
    async with bot_at(api, client_of(held, journal=journal)):
        api.song("Song.wav", wav())
        await until(lambda: held.unfinished(held.premium_token) == 1)
        await until(lambda: any("Waiting" in text for text in api.texts()))
    held.finish(held.jobs[0].hash)
    later = client_of(held, journal=journal)
    async with bot_at(api, later):
        await until(lambda: len(api.audio) == 2)
        await until(lambda: later.jobs() == [])
    assert len(held.jobs) == 1
