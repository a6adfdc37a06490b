"""`library`: folders of music, kept up to date with their stems."""

from __future__ import annotations

import webbrowser
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from glob import escape as escape_pattern
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import anyio
from anyio import to_thread
from attrs import evolve, frozen
from cyclopts import Parameter, validators

from mvsep_async.catalogue.presets import Preset, find_preset
from mvsep_async.cli.choice import parse_options
from mvsep_async.cli.config import COMMON, TRANSFER, CommandConfig, CommonOptions, TransferOptions, connect, load_config
from mvsep_async.cli.exits import DONE, FAILED, UsageProblem
from mvsep_async.cli.folders import prepare_folder
from mvsep_async.cli.help import ADVANCED
from mvsep_async.cli.journal import connect_with_journal, when_unlocked
from mvsep_async.cli.libraries import JOURNAL, remember_library
from mvsep_async.cli.library_options import (
    LIBRARY,
    LibraryOptions,
    LibrarySettings,
    library_settings,
    read_settings,
)
from mvsep_async.cli.library_run import LibraryRun
from mvsep_async.cli.outcome import shown_path
from mvsep_async.cli.plan import confirm, interactive
from mvsep_async.cli.state import read_journal
from mvsep_async.cli.stopping import when_stopped
from mvsep_async.cli.terminal import terminal
from mvsep_async.cli.text import amount, seconds_text
from mvsep_async.client import MVSepClient
from mvsep_async.http.call import Json
from mvsep_async.library import LibraryResult, separate_library, watch_library
from mvsep_async.library.earlier import EarlierResult, earlier_results
from mvsep_async.library.run import check_folders
from mvsep_async.models.output_format import OutputFormat
from mvsep_async.postgres_url import PostgresURL
from mvsep_async.recipes import Recipe, read_recipe
from mvsep_async.recipes.run import HIDDEN

__all__ = ["finish_library", "library"]

_MORE: Final = Parameter(group=ADVANCED)


def library(
    source: Path | None = None,
    target: Path | None = None,
    /,
    *,
    options: LibraryOptions = LIBRARY,
    dry_run: bool = False,
    yes: Annotated[bool, Parameter(alias="-y")] = False,
    retry_failed: Annotated[bool, _MORE] = False,
    watch: bool = False,
    open: Annotated[bool, _MORE] = False,
    repeat: Annotated[int, Parameter(metavar="N", validator=validators.Number(gte=0), group=ADVANCED)] = 1,
    transfer: Annotated[Literal["url", "file"], _MORE] = "url",
    anyway: Annotated[bool, _MORE] = False,
    line: TransferOptions = TRANSFER,
    common: CommonOptions = COMMON,
) -> Callable[[], Awaitable[int]]:
    """Separate all songs of a folder, and keep the folder of their stems up to date.

    Songs whose stems exist are not separated again unless the song or the settings changed. It can be stopped and
    started again at any time; nothing is paid twice. [library] in the configuration file sets defaults.

    Parameters
    ----------
    source
        The folder with the music.
    target
        The folder for the stems. It may be inside the folder with the music.
    dry_run
        Show the number of songs and the cost; send nothing.
    yes
        Spend more than 20 credits without a question.
    retry_failed
        Try songs again that failed in an earlier run.
    watch
        When all songs are done, wait for new ones. Ctrl-C ends it.
    open
        Open the report in the browser at the end of the run.
    repeat
        How often failed songs are tried again at the end of the run.
    transfer
        How a recipe's stems get to the next step: by their link at the service, or as a file that is downloaded and
        sent.
    anyway
        Send songs although the account's plan does not seem to allow it.
    """
    config = load_config(common)
    settings = options.over(library_settings(config), source, target)
    if settings.recipe is None and not (settings.algorithm or settings.preset) and config.algorithm.value is not None:
        settings = evolve(settings, algorithm=(config.algorithm.value,))
    if settings.source is None or settings.target is None:
        raise UsageProblem(
            "give the folder with the music and the folder for the stems, or set source and target in [library] of "
            f"{config.path}"
        )
    if open and settings.report is None:
        raise UsageProblem("--open needs a report to open: give its file with --report")
    run = _Run(
        config=config,
        settings=settings,
        source=settings.source,
        target=settings.target,
        algorithms=_algorithms(settings),
        arguments={
            "options": parse_options(settings.opt),
            "output_format": OutputFormat.parse(settings.format or config.format.value or "mp3"),
            "stems": settings.stems or None,
            "layout": settings.layout,
            "include": settings.include,
            "exclude": settings.exclude,
            "order": settings.order or "as-found",
            "max_credits": settings.max_credits,
            "copy_tags": bool(settings.copy_tags),
            "report": settings.report,
            "repeat": repeat,
            "retry_failed": retry_failed,
            "transfer": transfer,
            "anyway": anyway,
        },
        remembered={"transfer": transfer, "anyway": anyway},
        line=line,
        watch=watch,
        open=open,
    )
    if dry_run:
        return partial(run.separate, dry_run=True)
    if settings.max_credits is None and interactive(yes=yes):
        confirm(anyio.run(run.cost))
    return run.separate


@frozen(kw_only=True)
class _Run:
    """One run of the command, everything resolved. `arguments`: those of `separate_library`."""

    config: CommandConfig
    settings: LibrarySettings
    source: Path
    target: Path
    algorithms: Sequence[str | Preset]
    arguments: dict[str, Any]
    remembered: Mapping[str, Json]
    """Options besides the settings with which its unfinished songs are finished later."""
    line: TransferOptions
    watch: bool
    open: bool

    async def cost(self) -> int:
        """Return the credits that the run would spend, by estimate."""
        async with connect(self.config, needs_token=True) as client:
            if not (await client.account.user()).is_premium:
                return 0
            result = await separate_library(
                client,
                self.source,
                self.target,
                algorithms=await self._resolved(client, dry_run=True),
                dry_run=True,
                earlier=await self._earlier(),
                **self.arguments,
            )
        return result.tally.credits

    async def separate(self, *, dry_run: bool = False) -> int:
        """Separate what is to be separated and return the exit code."""
        await to_thread.run_sync(check_folders, self.source, self.target)
        journal = self.settings.journal or self.config.journal_url
        if not dry_run:
            await prepare_folder(self.target / HIDDEN)
            if self.settings.report is not None:
                await prepare_folder(self.settings.report.parent)
            # The address of a database may have a password.
            known = None if isinstance(journal, PostgresURL) else {**self.settings.document(), **self.remembered}
            await remember_library(self.config, self.target, known)
        view = LibraryRun(
            title=f"{shown_path(self.source)} > {shown_path(self.target)}",
            source=self.source,
            several=len(self.algorithms) > 1,
        )
        connected = (
            connect(self.config, transfer=self.line)
            if dry_run
            else connect_with_journal(self.config, journal or self.target / JOURNAL, transfer=self.line)
        )
        async with connected as client:
            algorithms = await self._resolved(client, dry_run=dry_run)
            arguments = {**self.arguments, "algorithms": algorithms, "on_event": view.receive}
            earlier: Mapping[str, EarlierResult] = {}
            work: Callable[[], Awaitable[LibraryResult | None]]
            if self.watch and not dry_run:
                arguments |= {"earlier": self._earlier, "on_result": view.wait_for_songs}
                work = partial(watch_library, client, self.source, self.target, **arguments)
            else:
                arguments |= {"earlier": (earlier := await self._earlier()), "dry_run": dry_run}
                work = partial(separate_library, client, self.source, self.target, **arguments)
            with when_stopped(partial(self._note_stop, view)):
                result = await view.follow(client, partial(when_unlocked, work))
        if result is None:  # a folder is watched until the command is cancelled
            return DONE
        _summarize(result)
        if result.tally.skipped and any(one.separation is None for one in earlier.values()):
            terminal().note("`mvsep-async jobs resume` finishes songs that `mvsep-async separate` has begun")
        if self.open and result.report is not None:
            await to_thread.run_sync(webbrowser.open, result.report.absolute().as_uri())
        return DONE if dry_run or result.complete else FAILED

    def _note_stop(self, view: LibraryRun) -> None:
        # While a folder is watched, the numbers are those of the last change.
        done = "" if self.watch else f": {amount(view.tally.separated, view.unit)} done"
        terminal().note(f"stopped{done}; the same command continues where it stopped, nothing is paid twice")

    async def _earlier(self) -> Mapping[str, EarlierResult]:
        """Return the jobs in the account's journal: what `separate` has paid for is not paid again."""
        return earlier_results(await read_journal(self.config.journal_path, self.config))

    async def _resolved(self, client: MVSepClient, *, dry_run: bool) -> Sequence[str | Preset | Recipe]:
        if self.settings.recipe is None:
            return self.algorithms
        chain = await to_thread.run_sync(read_recipe, self.settings.recipe)
        user = None if dry_run or self.arguments["anyway"] else await client.account.user()
        return [chain.resolve(await client.catalogue(), user)]


def finish_library(
    target: Path,
    options: Mapping[str, Json],
    songs: Sequence[str],
    *,
    line: TransferOptions,
    common: CommonOptions,
) -> Callable[[], Awaitable[int]]:
    """Return the work of `library` for some songs of a known library: their paths below the source folder."""
    given = dict(options)
    others: Any = {name: given.pop(name) for name in ("transfer", "anyway") if name in given}
    settings = read_settings(given, f"the library {target}")
    source = settings.pop("source")
    settings["include"] = tuple("/" + escape_pattern(song) for song in songs)
    chosen = LibraryOptions(**settings)
    return library(source, target, options=chosen, yes=True, line=line, common=common, **others)


def _algorithms(settings: LibrarySettings) -> Sequence[str | Preset]:
    if settings.recipe is not None:
        if settings.preset or settings.algorithm:
            raise UsageProblem("a recipe has its own algorithms: leave out --algorithm and --preset")
    elif not (settings.algorithm or settings.preset):
        raise UsageProblem(
            "no algorithm given: use --algorithm, --preset or --recipe; `mvsep-async algorithms` lists them"
        )
    return [*settings.algorithm, *map(find_preset, settings.preset)]


def _summarize(result: LibraryResult) -> None:
    here, tally = terminal(), result.tally
    if result.dry_run:
        left = "" if result.credits_left is None else f" of {result.credits_left:.0f} left"
        here.answer(
            {
                "songs": tally.songs,
                "separations": tally.planned,
                "done_before": tally.up_to_date,
                "seconds": round(tally.seconds, 3),
                "unknown_lengths": tally.unknown_lengths,
                "credits": tally.credits,
                "credits_left": result.credits_left,
                "notices": [{"path": str(one.path), "reason": one.reason} for one in result.notices],
            },
            f"{amount(tally.songs, 'song')}, {amount(tally.planned, 'separation')} to make, {tally.up_to_date} done "
            f"before; {seconds_text(tally.seconds)} of audio to send: {amount(tally.credits, 'credit')}{left}",
        )
        if tally.unknown_lengths and not here.json:
            here.note(f"the length of {amount(tally.unknown_lengths, 'song')} is not known")
        return
    head = amount(tally.songs, "song")
    if tally.found > tally.songs:  # several methods, each of which gives results of its own
        head += f", {amount(tally.found, 'result')}"
    parts = [f"{tally.separated} separated", f"{tally.up_to_date} done before"]
    parts += [f"{tally.failed} failed"] if tally.failed else []
    parts += [f"{tally.failed_before} failed before (--retry-failed tries again)"] if tally.failed_before else []
    parts += [f"{tally.skipped} skipped"] if tally.skipped else []
    rejected = sum(notice.rejected for notice in result.notices)
    parts += [f"{amount(rejected, 'file')} not separated, see --exclude"] if rejected else []
    here.note(f"{head}: {', '.join(parts)}; {amount(tally.credits, 'credit')}, by estimate")
    if result.stopped is not None:
        here.note(f"stopped by {result.stopped}")
    if result.report is not None:
        here.note(f"the report is {result.report}")
