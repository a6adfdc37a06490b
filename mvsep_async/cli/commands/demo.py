"""`demo`: a few short songs, separated by a local sandbox through the ordinary client."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

from anyio import to_thread
from cyclopts import Parameter, validators

from mvsep_async.cli.commands.sandbox import load_sandbox
from mvsep_async.cli.config import COMMON, CommonOptions
from mvsep_async.cli.demo_songs import make_songs
from mvsep_async.cli.folders import prepare_folder
from mvsep_async.cli.job_run import JobRun
from mvsep_async.cli.songs import Songs
from mvsep_async.cli.stopping import when_stopped
from mvsep_async.cli.terminal import terminal
from mvsep_async.client import MVSepClient
from mvsep_async.models.output_format import OutputFormat

__all__ = ["STAGE", "demo", "perform"]

SLOTS: Final = 4
STAGE: Final = {
    "speed": 8.0,
    "queue_seconds": 1.0,
    "jobs_ahead": 5,
    "long_seconds": 20.0,
    "chunk_seconds": 6.0,
    "requests_per_minute": 6000,
    "premium_minutes": 100.0,
}
"""How the sandbox is set for the demo: slow enough to be watched, with a queue, and with chunks of longer songs."""

ALGORITHM: Final = 40
"""BS Roformer: vocals and the rest."""


async def demo(
    *,
    out: Annotated[Path, Parameter(alias="-o")] = Path("mvsep-demo"),
    songs: Annotated[int, Parameter(validator=validators.Number(gte=1, lte=50))] = 8,
    common: CommonOptions = COMMON,
) -> int:
    """Try it without an account and without a network.

    It makes a few short stereo songs, starts a local sandbox in this process, and separates the songs through the
    ordinary client. The voices of these songs are in the middle, so you can hear that it worked.

    Parameters
    ----------
    out
        Folder for the songs and their stems.
    songs
        How many songs.
    """
    terminal().note("demo: separates songs made for it, with a local sandbox in place of the service")
    code = await perform(out, songs)
    if not common.json:
        terminal().result(f"The stems are in {(out / 'stems').absolute()}")
        terminal().note("with an account: `mvsep-async login`, then `mvsep-async separate SONGS`")
    return code


async def perform(out: Path, songs: int) -> int:
    """Make the songs and separate them."""
    package = load_sandbox()
    stems = out / "stems"
    await prepare_folder(stems)
    terminal().note(f"making {songs} short songs in {out / 'songs'}")
    given = Songs([str(path) for path in await to_thread.run_sync(make_songs, out / "songs", songs)])
    run = JobRun(title="demo · BS Roformer · flac16", songs=given, slots=SLOTS)
    with when_stopped(lambda: terminal().note("the demo was stopped")):
        async with (
            package.Sandbox(premium_limit=SLOTS, **STAGE) as running,
            MVSepClient(
                running.premium_token,
                base_url=running.url,
                concurrency=SLOTS,
                poll_interval=0.2,
                on_event=run.receive,
            ) as client,
        ):
            stream = client.map(
                given, directory=stems, overwrite=True, algorithm=ALGORITHM, output_format=OutputFormat.FLAC_16
            )
            return await run.follow(client, stream, given.search)
