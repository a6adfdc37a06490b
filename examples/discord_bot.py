"""A Discord bot that separates songs: `/separate` with an attachment, `/cancel`.

    pip install mvsep-async discord.py
    MVSEP_API_TOKEN=... DISCORD_TOKEN=... python discord_bot.py

JOURNAL may be the postgresql:// URL of a journal that several replicas share, such as the shards of a large bot.

What the bot does is in `StemBot`, which knows Discord only by two small protocols; `run` joins it to discord.py. So it
can be tested without a network, and used for any other chat.
"""

import os
import shutil
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import anyio
from anyio import to_thread

from mvsep_async import ClientClosedError, Job, JobCancelledError, MVSepClient, MVSepError, Progress, Stage

EDIT_EVERY = 2.0
"""Seconds between two edits of one message. Discord takes five in five seconds, for a whole channel."""

LOOK_EVERY = 5.0
"""Seconds between two looks for the songs of replicas that have ended, which the client takes over."""

MOST_EACH = 5
"""Songs that one user may have in progress."""

LARGEST_SONG = 50 * 1024 * 1024
MOST_TO_SEND = 9 * 1024 * 1024
"""Bytes. Discord takes attachments of 10 MiB in all from a bot; what is larger is linked."""


class Attachment(Protocol):
    """A file that a user sent: a `discord.Attachment` is one."""

    filename: str
    size: int

    async def read(self) -> bytes: ...


class Answer(Protocol):
    """The one message that a user sees of a command."""

    @property
    def place(self) -> dict[str, int]:
        """What the message is found by after a restart."""
        ...

    async def edit(self, text: str, files: Sequence[Path] = ()) -> None: ...


def key_of(place: Mapping[str, object]) -> tuple[str, ...]:
    """Return what tells a message from all others, from its place or from what a job's metadata says of it."""
    return tuple(f"{name}={place[name]}" for name in sorted(place))


class StemBot:
    """Separates songs for many users with one account. Each command is one call, in whatever task the chat gives it.

    All that it knows of a song is in the job's metadata, so that a bot that is started again continues where it was.
    """

    def __init__(self, client: MVSepClient, folder: Path, *, edit_every: float = EDIT_EVERY) -> None:
        self._client = client
        self._folder = folder
        self._edit_every = edit_every
        self._receiving: dict[int, int] = defaultdict(int)
        """Songs of each user that are not a job yet."""
        self._answering: set[tuple[str, ...]] = set()
        """The messages that are edited here."""

    async def separate(self, user: int, song: Attachment, answer: Answer, algorithm: str = "BS Roformer") -> None:
        """Answer `/separate`: this takes as long as the song does."""
        if self._receiving[user] + len(self._jobs_of(user)) >= MOST_EACH:
            await answer.edit(f"You have {MOST_EACH} songs in progress: wait for one of them, or /cancel.")
            return
        if song.size > LARGEST_SONG:
            await answer.edit(f"That is too large: {LARGEST_SONG >> 20} MB at the most.")
            return
        self._receiving[user] += 1
        self._answering.add(key_of(answer.place))  # before `resume` can find the job
        try:
            job = await self._client.submit(
                await song.read(),
                filename=song.filename,
                algorithm=algorithm,
                group=str(user),  # groups take turns: one user's album does not delay another user's song
                metadata={"user": user, "song": song.filename, "place": dict(answer.place)},
            )
        except MVSepError as error:  # every error of the client, and none of them holds the token
            await answer.edit(f"Sorry, {song.filename} could not be separated: {error}")
            self._answering.discard(key_of(answer.place))
            return
        finally:
            self._receiving[user] -= 1
        await self._answer(job, answer)

    async def resume(self, answer_at: Callable[[dict[str, int]], Answer]) -> None:
        """Answer the songs of an earlier run, in the messages that they had, and those of replicas that have ended."""
        async with anyio.create_task_group() as tasks:
            while True:
                for job in self._client.jobs():
                    place = about(job).get("place")
                    if isinstance(place, dict) and key_of(place) not in self._answering:
                        self._answering.add(key_of(place))
                        answer = answer_at({name: int(str(id)) for name, id in place.items()})
                        tasks.start_soon(self._answer, job, answer)
                await anyio.sleep(LOOK_EVERY)

    async def cancel(self, user: int, answer: Answer) -> None:
        """Answer `/cancel`: the user's jobs end at whatever stage they are, and give their credits back if they can."""
        cancelled = [await job.cancel() for job in self._jobs_of(user)]
        await answer.edit(
            f"Cancelled {sum(cancelled)} of your songs." if any(cancelled) else "There was none to cancel."
        )

    def _jobs_of(self, user: int) -> list[Job]:
        return [job for job in self._client.jobs() if not job.done() and about(job).get("user") == user]

    async def _answer(self, job: Job, answer: Answer) -> None:
        try:
            await self._show(job, answer)
            await self._hand_over(job, answer)
        except JobCancelledError:
            await answer.edit("Cancelled.")
        except ClientClosedError:
            return  # the bot stops; the next one continues here
        except MVSepError as error:
            await answer.edit(f"Sorry, {about(job).get('song')} could not be separated: {error}")
        with suppress(MVSepError):  # a bot runs for months: what is handed over need not be known any longer
            await self._client.prune([job])
            self._answering.discard(key_of(answer.place))

    async def _show(self, job: Job, answer: Answer) -> None:
        """Edit the progress into the message, never more often than it may be edited.

        A slow reader gets only the latest numbers of each stage, so nothing piles up.
        """
        async for progress in job:
            if job.done():
                return
            await answer.edit(describe(progress))
            with suppress(MVSepError):  # at the latest when the song is through, since then there is more to say
                await job.wait(timeout=self._edit_every)

    async def _hand_over(self, job: Job, answer: Answer) -> None:
        files = (await job).files  # or the job's error is raised
        if sum(file.size_bytes or 0 for file in files) > MOST_TO_SEND:
            links = [f"[{file.stem or file.name}]({file.url})" for file in files]
            await answer.edit("\n".join(("Done. The stems are too large for Discord:", *links)))
            return
        folder = self._folder / job.id
        try:
            await answer.edit(f"Done: {about(job).get('song')}", await job.download(folder))
        finally:
            with anyio.CancelScope(shield=True):
                await to_thread.run_sync(lambda: shutil.rmtree(folder, ignore_errors=True))


def about(job: Job) -> dict[str, Any]:
    """Return what the bot noted of a job."""
    return job.metadata if isinstance(job.metadata, dict) else {}


def describe(progress: Progress) -> str:
    """Return one line about how far a song is."""
    match progress.stage:
        case Stage.QUEUED if progress.place:
            soon = "" if progress.starts_in is None else f", your turn comes in about {progress.starts_in:.0f} s"
            return f"In line: {progress.place} before you{soon}"
        case Stage.WAITING if progress.queue_position:
            return f"At the service, {progress.queue_position} of {progress.queue_length} in its queue"
        case stage:
            share = "" if progress.fraction is None else f" {progress.fraction:.0%}"
            return f"{stage.value.capitalize()}{share}"


async def run() -> None:
    """Join the bot to discord.py."""
    import discord
    from discord import app_commands

    class Message:
        """An `Answer` that edits a message of Discord's."""

        def __init__(self, place: dict[str, int]) -> None:
            self.place = place
            self._message = bot.get_partial_messageable(place["channel"]).get_partial_message(place["message"])

        async def edit(self, text: str, files: Sequence[Path] = ()) -> None:
            attachments = await to_thread.run_sync(lambda: [discord.File(path) for path in files])
            with suppress(discord.HTTPException):  # such as: the message was deleted
                await self._message.edit(content=text[:2000], attachments=attachments)

    async def answer_to(interaction: discord.Interaction) -> Message:
        await interaction.response.defer(thinking=True)  # within three seconds, or Discord gives up on the command
        # What belongs to the interaction can be edited for 15 minutes, a song in line may wait longer: so the message
        # itself is what is edited.
        message = await interaction.original_response()
        return Message({"channel": message.channel.id, "message": message.id})

    bot = discord.Client(intents=discord.Intents.none())
    commands = app_commands.CommandTree(bot)

    # With a journal, what is unfinished when the block ends continues when the bot is back.
    async with (
        MVSepClient(journal=os.environ.get("JOURNAL", "discord_bot.sqlite"), group_cap=3) as client,
        bot,
        anyio.create_task_group() as tasks,
    ):
        stems = StemBot(client, Path("stems"))

        @commands.command(description="Separate a song into its stems")
        async def separate(interaction: discord.Interaction, song: discord.Attachment) -> None:
            await stems.separate(interaction.user.id, song, await answer_to(interaction))

        @commands.command(description="Cancel your songs")
        async def cancel(interaction: discord.Interaction) -> None:
            await stems.cancel(interaction.user.id, await answer_to(interaction))

        @bot.event
        async def setup_hook() -> None:
            await commands.sync()
            tasks.start_soon(stems.resume, Message)

        await bot.start(os.environ["DISCORD_TOKEN"])
        tasks.cancel_scope.cancel()


if __name__ == "__main__":
    for name, place in {
        "MVSEP_API_TOKEN": "the account page of mvsep.com",
        "DISCORD_TOKEN": "the page of your bot at discord.com/developers",
    }.items():
        if not os.environ.get(name):
            sys.exit(f"Set {name} to the token from {place}.")
    anyio.run(run)
