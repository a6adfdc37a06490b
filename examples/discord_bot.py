"""A Discord bot that separates songs: `/separate` with an attachment, `/cancel`.

    pip install mvsep-async discord.py
    MVSEP_API_TOKEN=... DISCORD_TOKEN=... python discord_bot.py

What the bot does is in `StemBot`, which knows Discord only by two small protocols; `run` joins it to discord.py. So it
can be tested without a network, and used for any other chat.
"""

import os
import shutil
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import anyio
from anyio import to_thread

from mvsep_async import Job, JobCancelledError, MVSepClient, MVSepError, Progress, Stage

EDIT_EVERY = 2.0
"""Seconds between two edits of one message. Discord takes five in five seconds, for a whole channel."""

MOST_EACH = 5
"""Songs that one user may have under way."""

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

    async def edit(self, text: str, files: Sequence[Path] = ()) -> None: ...


class StemBot:
    """Separates songs for many users with one account. Each command is one call, in whatever task the chat gives it."""

    def __init__(self, client: MVSepClient, folder: Path, *, edit_every: float = EDIT_EVERY) -> None:
        self._client = client
        self._folder = folder
        self._edit_every = edit_every
        self._asked: dict[int, int] = defaultdict(int)
        self._jobs: dict[int, list[Job]] = defaultdict(list)

    async def separate(self, user: int, song: Attachment, answer: Answer, algorithm: str = "BS Roformer") -> None:
        """Answer `/separate`: this takes as long as the song does."""
        if self._asked[user] >= MOST_EACH:
            await answer.edit(f"You have {MOST_EACH} songs under way: wait for one of them, or /cancel.")
            return
        if song.size > LARGEST_SONG:
            await answer.edit(f"That is too large: {LARGEST_SONG >> 20} MB at the most.")
            return
        self._asked[user] += 1
        try:
            # A group is who a job is for. Groups take turns: nobody waits for somebody else's whole record collection.
            job = await self._client.submit(
                await song.read(), filename=song.filename, algorithm=algorithm, group=str(user)
            )
            self._jobs[user].append(job)
            await self._show(job, answer)
            await self._hand_over(job, answer)
        except JobCancelledError:
            await answer.edit("Cancelled.")
        except MVSepError as error:  # every error of the client, and none of them holds the token
            await answer.edit(f"Sorry, {song.filename} could not be separated: {error}")
        finally:
            self._asked[user] -= 1
            over = [job for job in self._jobs[user] if job.done()]
            self._jobs[user] = [job for job in self._jobs[user] if job not in over]
            with suppress(MVSepError):  # a bot runs for months: what is handed over need not be known any longer
                await self._client.prune(over)

    async def cancel(self, user: int, answer: Answer) -> None:
        """Answer `/cancel`: the user's jobs end at whatever stage they are, and give their credits back if they can."""
        cancelled = [await job.cancel() for job in list(self._jobs[user])]
        await answer.edit(
            f"Cancelled {sum(cancelled)} of your songs." if any(cancelled) else "There was none to cancel."
        )

    async def _show(self, job: Job, answer: Answer) -> None:
        """Edit the progress into the message, never more often than it may be edited.

        Iterating waits for whoever is slow: of each stage one gets the latest numbers, so nothing piles up meanwhile.
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
            await answer.edit("\n".join(f"[{file.stem or file.name}]({file.url})" for file in files))
            return
        folder = self._folder / job.id
        try:
            await answer.edit("Here you are:", await job.download(folder))
        finally:
            with anyio.CancelScope(shield=True):
                await to_thread.run_sync(lambda: shutil.rmtree(folder, ignore_errors=True))


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

        def __init__(self, message: discord.Message) -> None:
            self._message = message

        async def edit(self, text: str, files: Sequence[Path] = ()) -> None:
            attachments = await to_thread.run_sync(lambda: [discord.File(path) for path in files])
            await self._message.edit(content=text[:2000], attachments=attachments)

    async def answer_to(interaction: discord.Interaction) -> Message:
        await interaction.response.defer(thinking=True)  # within three seconds, or Discord gives up on the command
        # What belongs to the interaction can be edited for 15 minutes, a song in line may wait longer: so the message
        # itself is what is edited.
        return Message(await (await interaction.original_response()).fetch())

    bot = discord.Client(intents=discord.Intents.none())
    commands = app_commands.CommandTree(bot)

    # Nothing is left behind when the block ends: with a journal, what is unfinished goes on when the bot is back.
    async with MVSepClient(journal="discord_bot.sqlite", group_cap=3) as client, bot:
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

        await bot.start(os.environ["DISCORD_TOKEN"])


if __name__ == "__main__":
    anyio.run(run)
