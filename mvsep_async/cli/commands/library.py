"""`library`: whole folders of music."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Final, Literal

from anyio import get_cancelled_exc_class, to_thread
from cyclopts import Parameter, validators

from mvsep_async.catalogue.algorithm import Algorithm
from mvsep_async.catalogue.presets import Preset, find_preset
from mvsep_async.cli.commands.separate import parse_options, prepare_folder
from mvsep_async.cli.config import COMMON, CommonOptions, connect, load_config
from mvsep_async.cli.exits import DONE, FAILED, UsageProblem
from mvsep_async.cli.library_run import LibraryRun
from mvsep_async.cli.terminal import terminal
from mvsep_async.cli.text import amount, seconds_text
from mvsep_async.library import LibraryResult, separate_library
from mvsep_async.library.run import check_folders
from mvsep_async.models.output_format import OutputFormat
from mvsep_async.recipes import Recipe, read_recipe
from mvsep_async.recipes.run import HIDDEN

__all__ = ["library"]

_POSITIVE: Final = validators.Number(gte=1)
_NOT_NEGATIVE: Final = validators.Number(gte=0)


async def library(
    source: Path,
    target: Path,
    /,
    *,
    algorithm: Annotated[tuple[str, ...], Parameter(alias="-a")] = (),
    preset: tuple[str, ...] = (),
    recipe: Path | None = None,
    opt: Annotated[tuple[str, ...], Parameter(alias="-p")] = (),
    format: Annotated[str | None, Parameter(alias="-f")] = None,
    stems: tuple[str, ...] = (),
    layout: str | None = None,
    order: Literal["as-found", "shortest-first"] = "as-found",
    max_credits: Annotated[int | None, Parameter(validator=_NOT_NEGATIVE)] = None,
    dry_run: bool = False,
    copy_tags: bool = False,
    report: Path | None = None,
    repeat: Annotated[int, Parameter(validator=_NOT_NEGATIVE)] = 1,
    transfer: Literal["url", "file"] = "url",
    journal: Path | None = None,
    concurrency: Annotated[int | None, Parameter(validator=_POSITIVE)] = None,
    poll_interval: float | None = None,
    common: CommonOptions = COMMON,
) -> int:
    """Separate all songs of a folder, and keep the folder of their stems up to date.

    Songs whose stems are there are not separated again, unless the song or the settings changed. It can be stopped and
    started again at any time: nothing is paid twice.

    Parameters
    ----------
    source
        The folder with the music.
    target
        The folder for the stems; it may lie in the other one.
    algorithm
        Number (sep_type) or name; several times for several ways to separate each song.
    preset
        A preset instead, see `mvsep-async recipe presets`; may be given several times.
    recipe
        A TOML file with a chain of separations instead.
    opt
        An option of the algorithm as NAME=VALUE; may be given several times.
    format
        mp3, wav16, flac16, m4a, wav32 or flac24; by default mp3.
    stems
        Keep only this stem; may be given several times.
    layout
        File names from tags, such as "{albumartist}/{album}/{track} {title}/{stem}.{ext}"; by default the folders are
        mirrored.
    order
        Which songs come first.
    max_credits
        Stop before more credits than this are spent, by estimate.
    dry_run
        Only say how many songs there are, how long they are and what they cost.
    copy_tags
        Write each song's tags and cover into its stems.
    report
        Write an HTML page about the run there.
    repeat
        How often failed songs are tried again at the end.
    transfer
        How a recipe's stems go to the next step: by their address at the service, or always by way of a file.
    journal
        The file that makes the run survive, by default in the target folder.
    concurrency
        Most jobs at the service at one time; by default what the account may have.
    poll_interval
        Seconds, the fastest that one job is looked at.
    """
    config = load_config(common)
    ways = _ways(algorithm, preset, recipe, config.algorithm.value)
    chain = None if recipe is None else await to_thread.run_sync(read_recipe, recipe)
    hidden = target / HIDDEN
    await to_thread.run_sync(check_folders, source, target)
    if not dry_run:
        await prepare_folder(hidden)
        journal = journal or hidden / "journal.sqlite"
    view = LibraryRun(title=f"{source} > {target}", json=common.json, source=source, several=len(ways) > 1)
    async with connect(
        config,
        needs_token=not dry_run,
        concurrency=concurrency,
        journal=None if dry_run else journal,
        poll_interval=poll_interval,
    ) as client:
        if chain is not None:
            user = None if dry_run else await client.account.user()
            ways = [chain.resolve(await client.catalogue(), user)]
        run = partial(
            separate_library,
            client,
            source,
            target,
            algorithms=ways,
            options=parse_options(opt),
            output_format=OutputFormat.parse(format or config.format.value or "mp3"),
            stems=stems or None,
            layout=layout,
            order=order,
            max_credits=max_credits,
            dry_run=dry_run,
            copy_tags=copy_tags,
            repeat=repeat,
            report=report,
            transfer=transfer,
            on_event=view.receive,
        )
        try:
            result = await view.follow(client, run)
        except get_cancelled_exc_class():
            terminal().note(
                f"stopped: {amount(view.tally.separated, 'song')} done; the same command again goes on where it stood, "
                "nothing is paid twice"
            )
            raise
    _sum_up(result, json=common.json)
    return DONE if dry_run or result.complete else FAILED


def _ways(
    algorithms: Sequence[str], presets: Sequence[str], recipe: Path | None, configured: str | None
) -> Sequence[int | str | Algorithm | Preset | Recipe]:
    if recipe is not None:
        if presets or algorithms:
            raise UsageProblem("a recipe names its algorithms itself: leave out --algorithm and --preset")
        return []
    if algorithms or presets:
        return [*algorithms, *map(find_preset, presets)]
    if configured is None:
        raise UsageProblem("how are the songs to be separated? Give --algorithm, --preset or --recipe")
    return [configured]


def _sum_up(result: LibraryResult, *, json: bool) -> None:
    here, tally = terminal(), result.tally
    if result.dry_run:
        if json:
            here.document(
                {
                    "songs": tally.songs,
                    "separations": tally.planned,
                    "done_before": tally.up_to_date,
                    "seconds": round(tally.seconds, 3),
                    "unknown_lengths": tally.unknown_lengths,
                    "credits": tally.credits,
                    "credits_left": result.credits_left,
                    "notices": [{"path": str(one.path), "reason": one.reason} for one in result.notices],
                }
            )
            return
        left = "" if result.credits_left is None else f", of {result.credits_left:.0f} that are left"
        here.result(
            f"{amount(tally.songs, 'song')}, {amount(tally.planned, 'separation')} to make of "
            f"{seconds_text(tally.seconds)}, {tally.up_to_date} done before: "
            f"{amount(tally.credits, 'credit')} needed{left}"
        )
        if tally.unknown_lengths:
            here.note(f"{amount(tally.unknown_lengths, 'song does', 'songs do')} not tell how long they are")
        return
    parts = [f"{tally.separated} made", f"{tally.up_to_date} done before"]
    parts += [f"{tally.failed} failed"] if tally.failed else []
    parts += [f"{tally.failed_before} failed before"] if tally.failed_before else []
    parts += [f"{tally.skipped} left out"] if tally.skipped else []
    here.note(f"{amount(tally.songs, 'song')}: {', '.join(parts)}; {amount(tally.credits, 'credit')}, by estimate")
    if result.stopped is not None:
        here.note(f"stopped by {result.stopped}")
    if result.report is not None:
        here.note(f"the report is {result.report}")
