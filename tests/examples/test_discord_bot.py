"""The Discord bot behind a gateway of our own: a TCP server in another thread, whose heartbeats must be answered."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.abc import ByteStream, TaskStatus
from anyio.from_thread import BlockingPortal, start_blocking_portal
from attrs import define, field

from examples import discord_bot
from examples.discord_bot import StemBot
from mvsep_async import MVSepClient
from mvsep_async.sandbox import Sandbox
from tests.client.support import until
from tests.conftest import NewClient, wav

EDIT_EVERY = 0.1
BEAT = 0.02
MISSED = 10.0
"""Seconds after which an unanswered heartbeat counts as missed, and the connection ends. Discord waits for about 41."""


@define
class Edit:
    text: str
    files: list[str]


@define
class Gateway:
    """What Discord is to a bot: it sends commands and heartbeats, and gets edits and acknowledgements."""

    port: int = 0
    acknowledged: int = 0
    missed: bool = False
    messages: dict[int, list[Edit]] = field(factory=lambda: defaultdict(list))
    _stream: Any = None
    _lock: Any = None
    _stop: Any = None

    async def serve(self, *, task_status: TaskStatus[None]) -> None:
        self._lock, self._stop = anyio.Lock(), anyio.Event()
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
        self.port = listener.extra(anyio.abc.SocketAttribute.local_port)
        async with listener, anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, self._connected)
            task_status.started()
            await self._stop.wait()
            tasks.cancel_scope.cancel()

    async def stop(self) -> None:
        self._stop.set()

    async def command(self, **command: Any) -> None:
        await self._send({"op": "command", **command})

    async def _connected(self, stream: ByteStream) -> None:
        self._stream = stream
        async with stream, anyio.create_task_group() as tasks:
            tasks.start_soon(self._beat)
            async for said in lines(stream):
                if said["op"] == "ack":
                    self.acknowledged = said["number"]
                else:
                    self.messages[said["message"]].append(Edit(said["text"], said["files"]))
            tasks.cancel_scope.cancel()

    async def _beat(self) -> None:
        number = 0
        while True:
            number += 1
            await self._send({"op": "heartbeat", "number": number})
            with anyio.move_on_after(MISSED):
                while self.acknowledged < number:
                    await anyio.sleep(BEAT / 10)
            if self.acknowledged < number:
                self.missed = True
                await self._stream.aclose()
                return
            await anyio.sleep(BEAT)

    async def _send(self, what: dict[str, Any]) -> None:
        async with self._lock:
            await self._stream.send(json.dumps(what).encode() + b"\n")


async def lines(stream: ByteStream) -> AsyncIterator[Any]:
    """Give what comes over a connection, one JSON value a line, until it ends."""
    rest = b""
    try:
        while True:
            *whole, rest = (rest + await stream.receive()).split(b"\n")
            for line in whole:
                yield json.loads(line)
    except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
        return


@define
class Song:
    """An attachment."""

    filename: str
    data: bytes
    size: int

    async def read(self) -> bytes:
        return self.data


@define
class Chat:
    """The bot's side of the connection: what discord.py is to it."""

    stream: ByteStream
    bot: StemBot
    edited_at: dict[int, list[float]] = field(factory=lambda: defaultdict(list))
    _lock: anyio.Lock = field(factory=anyio.Lock)

    async def run(self) -> None:
        async with self.stream, anyio.create_task_group() as tasks:
            async for said in lines(self.stream):
                if said["op"] == "heartbeat":
                    await self.send({"op": "ack", "number": said["number"]})
                    continue
                answer = Message(self, said["message"])
                if said["name"] == "cancel":
                    tasks.start_soon(self.bot.cancel, said["user"], answer)
                else:
                    data = b64decode(said["data"])
                    song = Song(said["filename"], data, said.get("size", len(data)))
                    tasks.start_soon(self.bot.separate, said["user"], song, answer)

    async def send(self, what: dict[str, Any]) -> None:
        async with self._lock:
            await self.stream.send(json.dumps(what).encode() + b"\n")


@define
class Message:
    chat: Chat
    number: int

    @property
    def place(self) -> dict[str, int]:
        return {"message": self.number}

    async def edit(self, text: str, files: Sequence[Path] = ()) -> None:
        self.chat.edited_at[self.number].append(anyio.current_time())
        assert all(path.stat().st_size for path in files)
        names = [path.name for path in files]
        await self.chat.send({"op": "edit", "message": self.number, "text": text, "files": names})


@define
class World:
    """A gateway and the bot at it."""

    gateway: Gateway
    portal: BlockingPortal
    chat: Chat
    folder: Path
    _sent: int = 0

    async def separate(self, user: int, data: bytes | None = None, **more: Any) -> int:
        """Let a user send a song; return the number of the message that answers it."""
        encoded = b64encode(wav(0.1 + self._sent / 1000) if data is None else data).decode()
        return await self.command(name="separate", user=user, data=encoded, **{"filename": "Song.wav", **more})

    async def command(self, **command: Any) -> int:
        self._sent += 1
        number = self._sent
        await anyio.to_thread.run_sync(
            lambda: self.portal.call(lambda: self.gateway.command(message=number, **command))
        )
        return number

    def last(self, message: int) -> Edit | None:
        edits = self.gateway.messages.get(message)
        return edits[-1] if edits else None

    async def says(self, message: int, text: str) -> Edit:
        """Wait until a message reads so."""
        await until(lambda: (edit := self.last(message)) is not None and text in edit.text)
        return self.gateway.messages[message][-1]


@asynccontextmanager
async def world_of(client: MVSepClient, folder: Path) -> AsyncIterator[World]:
    gateway = Gateway()
    portals: AbstractContextManager[BlockingPortal] = start_blocking_portal()
    with portals as portal:
        served, _ = portal.start_task(gateway.serve)
        try:
            stream = await anyio.connect_tcp("127.0.0.1", gateway.port)
            chat = Chat(stream, StemBot(client, folder, edit_every=EDIT_EVERY))
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(chat.run)
                tasks.start_soon(chat.bot.resume, lambda place: Message(chat, place["message"]))
                await until(lambda: gateway.acknowledged)
                yield World(gateway, portal, chat, folder)
                tasks.cancel_scope.cancel()
        finally:
            await anyio.to_thread.run_sync(portal.call, gateway.stop)
            await anyio.to_thread.run_sync(served.result)
    assert not gateway.missed


async def test_many_users_get_their_stems_and_no_heartbeat_is_missed(
    held: Sandbox, client_of: NewClient, tmp_path: Path
) -> None:
    async with client_of(held) as client, world_of(client, tmp_path / "stems") as world:
        asked = [await world.separate(user) for user in range(6) for _ in range(2)]
        await until(lambda: held.unfinished(held.premium_token) == 10)
        await until(lambda: any("In line" in edits[-1].text for edits in world.gateway.messages.values()))
        # However long the service takes, the gateway is answered.
        beats = world.gateway.acknowledged
        await until(lambda: world.gateway.acknowledged >= beats + 20)

        ended = 0
        while ended < len(asked):
            await until(lambda ended=ended: len(held.jobs) > ended)
            held.finish(held.jobs[ended].hash)
            ended += 1
        for message in asked:
            assert len((await world.says(message, "Done: Song.wav")).files) == 2
        await until(lambda: not list(world.folder.iterdir()))
        await until(lambda: client.jobs() == [])
    assert held.peak_unfinished(held.premium_token) == 10


async def test_a_message_is_edited_no_more_often_than_it_may_be(
    held: Sandbox, client_of: NewClient, tmp_path: Path
) -> None:
    async with client_of(held, concurrency=1) as client, world_of(client, tmp_path) as world:
        message = await world.separate(1)
        await until(lambda: held.jobs)
        for place in range(40, 0, -1):
            held.show(held.jobs[0].hash, "waiting", queue_count=40, current_order=place)
            await anyio.sleep(EDIT_EVERY / 8)
        held.finish(held.jobs[0].hash)
        await world.says(message, "Done: Song.wav")
    # The last edit is the result, which nobody shall wait for.
    times = world.chat.edited_at[message][:-1]
    assert len(times) >= 3
    assert all(later - earlier >= EDIT_EVERY * 0.9 for earlier, later in pairwise(times))


async def test_cancelling_ends_the_songs_of_one_user_at_whatever_stage(
    held: Sandbox, client_of: NewClient, tmp_path: Path
) -> None:
    async with client_of(held, concurrency=1) as client, world_of(client, tmp_path) as world:
        mine = [await world.separate(1), await world.separate(1)]
        await until(lambda: all(world.last(message) for message in mine))
        other = await world.separate(2)
        await until(lambda: world.last(other))
        await until(lambda: held.unfinished(held.premium_token) == 1)
        answer = await world.command(name="cancel", user=1)
        await world.says(answer, "Cancelled 2")
        for message in mine:
            await world.says(message, "Cancelled.")
        await until(lambda: held.jobs[-1].state == "waiting")
        held.finish(held.jobs[-1].hash)
        await world.says(other, "Done: Song.wav")
        again = await world.command(name="cancel", user=1)
        await world.says(again, "none to cancel")


async def test_what_is_too_large_to_send_is_linked(
    sandbox: Sandbox, client_of: NewClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(discord_bot, "MOST_TO_SEND", 10)
    async with client_of(sandbox) as client, world_of(client, tmp_path) as world:
        message = await world.separate(1)
        edit = await world.says(message, f"]({sandbox.url}/")
        assert edit.files == []


async def test_what_cannot_be_is_said_in_the_message(
    held: Sandbox, client_of: NewClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(discord_bot, "MOST_EACH", 1)
    async with client_of(held) as client, world_of(client, tmp_path) as world:
        await world.says(await world.separate(1, b""), "is empty")
        await world.says(await world.separate(1, size=1 << 40), "too large")
        message = await world.separate(1)
        await until(lambda: world.last(message))
        await world.says(await world.separate(1), "in progress")
        await until(lambda: held.jobs)
        held.fail(held.jobs[0].hash, "no audio in it")
        await world.says(message, "no audio in it")
        texts = [edit.text for edits in world.gateway.messages.values() for edit in edits]
    assert not any(held.premium_token in text for text in texts)


async def test_a_song_that_outlived_the_bot_is_answered_in_its_message_by_the_next_one(
    held: Sandbox, client_of: NewClient, tmp_path: Path
) -> None:
    journal = tmp_path / "journal.sqlite"
    async with client_of(held, journal=journal) as client, world_of(client, tmp_path / "stems") as world:
        message = await world.separate(1)
        await world.says(message, "At the service")
    held.finish(held.jobs[0].hash)
    async with client_of(held, journal=journal) as client, world_of(client, tmp_path / "stems") as world:
        assert len((await world.says(message, "Done: Song.wav")).files) == 2
        await until(lambda: client.jobs() == [])
    assert len(held.jobs) == 1
