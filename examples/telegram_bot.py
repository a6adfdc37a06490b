"""A Telegram bot that separates every song that it is sent, without a library for Telegram.

    pip install mvsep-async
    MVSEP_API_TOKEN=... TELEGRAM_TOKEN=... python telegram_bot.py

Songs go from Telegram to the disk piece by piece, and stems from the service to Telegram: neither is ever in memory.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import anyio
import httpx
from anyio.abc import TaskGroup

from mvsep_async import ClientClosedError, Job, MVSepClient, MVSepError, Progress, Stage

EDIT_EVERY = 3.0
"""Seconds between two edits of one message: Telegram allows 20 in a minute in a group."""

LONG_POLL = 50
"""Seconds that Telegram holds a question for new messages open."""


class TelegramError(Exception):
    """Telegram said no, or nothing that can be understood."""


class Telegram:
    """The few calls of the Bot API that are needed here."""

    def __init__(
        self, http: httpx.AsyncClient, token: str, address: str = "https://api.telegram.org", *, rest: float = 5.0
    ) -> None:
        self._http = http
        self._rest = rest  # seconds after an answer that failed
        self._api, self._files = f"{address}/bot{token}", f"{address}/file/bot{token}"

    async def call(self, method: str, **parameters: Any) -> Any:
        while True:
            try:
                answer = await self._http.post(f"{self._api}/{method}", json=parameters, timeout=LONG_POLL + 10)
                said = answer.json()
            except (httpx.HTTPError, ValueError) as error:  # no connection, or a page of a proxy that has none
                raise TelegramError(f"{method}: {type(error).__name__}") from None
            if said["ok"]:
                return said["result"]
            retry_after = said.get("parameters", {}).get("retry_after")
            if retry_after is None:
                raise TelegramError(said.get("description", method))
            await anyio.sleep(retry_after)

    async def messages(self) -> AsyncIterator[dict[str, Any]]:
        """Give new messages as they come, for ever."""
        after = 0
        while True:
            try:
                updates = await self.call("getUpdates", offset=after, timeout=LONG_POLL, allowed_updates=["message"])
            except TelegramError as error:
                logging.warning("Telegram does not answer: %s", error)
                await anyio.sleep(self._rest)
                continue
            for update in updates:
                after = update["update_id"] + 1
                if "message" in update:  # what was asked for holds for updates from now on only
                    yield update["message"]

    async def file(self, file_id: str) -> AsyncIterator[bytes]:
        """Give a file piece by piece."""
        path = (await self.call("getFile", file_id=file_id))["file_path"]
        async with self._http.stream("GET", f"{self._files}/{path}") as answer:
            answer.raise_for_status()
            async for piece in answer.aiter_bytes(1 << 16):
                yield piece


class StemBot:
    """Answers messages: a song with its stems, `/cancel` with the end of what that chat has in progress."""

    def __init__(self, client: MVSepClient, telegram: Telegram, *, edit_every: float = EDIT_EVERY) -> None:
        self._client = client
        self._telegram = telegram
        self._edit_every = edit_every

    async def run(self) -> None:
        """Answer until cancelled."""
        async with anyio.create_task_group() as tasks:
            # The journal remembers jobs of an earlier run, and their metadata who waits for them.
            for job in self._client.jobs():
                tasks.start_soon(self._follow, job)
            async for message in self._telegram.messages():
                self._answer(message, tasks)

    def _answer(self, message: dict[str, Any], tasks: TaskGroup) -> None:
        chat = message["chat"]["id"]
        song = message.get("audio") or message.get("document")
        if message.get("text", "").startswith("/cancel"):
            tasks.start_soon(self._cancel, chat)
        elif song is not None:
            tasks.start_soon(self._separate, chat, song)
        else:
            tasks.start_soon(self._say, chat, "Send me a song.")

    async def _separate(self, chat: int, song: dict[str, Any]) -> None:
        note = await self._say(chat, "Fetching your song")
        name = song.get("file_name") or f"{song['file_unique_id']}.mp3"
        try:
            job = await self._client.submit(
                self._telegram.file(song["file_id"]),  # spooled to disk as it comes
                filename=name,
                algorithm="BS Roformer",
                group=str(chat),  # chats take turns
                metadata={"chat": chat, "note": note},
            )
        except (MVSepError, TelegramError, httpx.HTTPError) as error:
            why = str(error) if isinstance(error, MVSepError) else "Telegram did not hand it over"
            await self._say(chat, f"Sorry, {name} cannot be separated: {why}", note)
            return
        await self._follow(job)

    async def _follow(self, job: Job) -> None:
        """Show a job's progress, then send what came of it."""
        about = job.metadata
        if not isinstance(about, dict):
            return
        chat, note = int(str(about["chat"])), int(str(about["note"]))
        with suppress(ClientClosedError):  # the bot stops; the next one continues here
            async for progress in job:
                if job.done():
                    break
                await self._say(chat, describe(progress), note)
                with suppress(MVSepError):  # wait, but not beyond the end
                    await job.wait(timeout=self._edit_every)
            if job.error is not None:
                await self._say(chat, f"That did not work: {job.error}", note)
            else:
                await self._send(chat, job, note)
            await self._client.prune([job])  # done with it: the journal may forget it

    async def _send(self, chat: int, job: Job, note: int) -> None:
        files = (await job).files
        for file in files:
            try:  # Telegram fetches it by itself
                await self._telegram.call("sendAudio", chat_id=chat, audio=file.url, title=file.stem or file.name)
            except TelegramError:  # larger than the 20 MB that it would, or out of reach
                await self._say(chat, f"{file.stem or file.name}: {file.url}")
        await self._say(chat, f"Done: {len(files)} stems", note)

    async def _cancel(self, chat: int) -> None:
        mine = [job for job in self._client.jobs() if chat_of(job) == chat and not job.done()]
        cancelled = [await job.cancel() for job in mine]
        await self._say(chat, f"Cancelled {sum(cancelled)} of your songs.")

    async def _say(self, chat: int, text: str, note: int | None = None) -> int:
        """Send a message, or change the one that `note` names; return its number."""
        try:
            if note is None:
                note = (await self._telegram.call("sendMessage", chat_id=chat, text=text))["message_id"]
            else:
                await self._telegram.call("editMessageText", chat_id=chat, message_id=note, text=text)
        except TelegramError as error:  # such as "message is not modified"
            logging.info("a message to %s was not taken: %s", chat, error)
        return note or 0


def chat_of(job: Job) -> int | None:
    """Return the chat that a job was submitted for."""
    return job.metadata.get("chat") if isinstance(job.metadata, dict) else None


def describe(progress: Progress) -> str:
    """Return one line about how far a song is."""
    if progress.stage is Stage.QUEUED and progress.place:
        return f"In line, {progress.place} before you"
    share = "" if progress.fraction is None else f" {progress.fraction:.0%}"
    return f"{progress.stage.value.capitalize()}{share}"


async def main() -> None:
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs addresses, and Telegram's hold the bot's token
    async with (
        httpx.AsyncClient() as http,
        MVSepClient(journal=os.environ.get("JOURNAL", "telegram_bot.sqlite")) as client,
    ):
        await StemBot(client, Telegram(http, os.environ["TELEGRAM_TOKEN"])).run()


if __name__ == "__main__":
    for name, place in {"MVSEP_API_TOKEN": "the account page of mvsep.com", "TELEGRAM_TOKEN": "@BotFather"}.items():
        if not os.environ.get(name):
            sys.exit(f"Set {name} to the token from {place}.")
    anyio.run(main)
