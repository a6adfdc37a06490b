"""`library`: folders of music, kept up to date with their stems."""

from __future__ import annotations

import webbrowser
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from glob import escape as escape_pattern
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import anyio
from anyio import get_cancelled_exc_class, to_thread
from attrs import frozen
from cyclopts import Parameter, validators

from mvsep_async.catalogue.algorithm import Algorithm
from mvsep_async.catalogue.presets import Preset, find_preset
from mvsep_async.cli.choice import parse_options
from mvsep_async.cli.complete import AlgorithmName, FormatName, GivenJournal, PresetName
from mvsep_async.cli.config import COMMON, TRANSFER, CommandConfig, CommonOptions, TransferOptions, connect, load_config
from mvsep_async.cli.exits import DONE, FAILED, UsageProblem
from mvsep_async.cli.folders import prepare_folder
from mvsep_async.cli.help import ADVANCED
from mvsep_async.cli.journal import connect_with_journal, when_unlocked
from mvsep_async.cli.libraries import JOURNAL, remember_library
from mvsep_async.cli.library_config import Order, library_settings
from mvsep_async.cli.library_run import LibraryRun
from mvsep_async.cli.outcome import shown_path
from mvsep_async.cli.plan import confirm, interactive
from mvsep_async.cli.records import read_journal
from mvsep_async.cli.terminal import terminal
from mvsep_async.cli.text import amount, seconds_text
from mvsep_async.client import MVSepClient
from mvsep_async.http.call import Json
from mvsep_async.library import LibraryResult, separate_library, watch_library
from mvsep_async.library.earlier import EarlierResult, earlier_results
from mvsep_async.library.run import check_folders
from mvsep_async.models.output_format import OutputFormat
from mvsep_async.postgres_url import JournalAddress, PostgresURL
from mvsep_async.recipes import Recipe, read_recipe
from mvsep_async.recipes.run import HIDDEN

__all__ = ["finish_library", "library"]

_NOT_NEGATIVE: Final = validators.Number(gte=0)
_MORE: Final = Parameter(group=ADVANCED)


def library(
    source: Path | None = None,
    target: Path | None = None,
    /,
    *,
    algorithm: Annotated[tuple[AlgorithmName, ...], Parameter(alias="-a", metavar="NAME")] = (),
    preset: Annotated[tuple[PresetName, ...], Parameter(metavar="NAME")] = (),
    recipe: Annotated[Path | None, _MORE] = None,
    opt: Annotated[tuple[str, ...], Parameter(alias="-p", metavar="NAME=VALUE", group=ADVANCED)] = (),
    format: Annotated[FormatName | None, Parameter(alias="-f", metavar="FORMAT")] = None,
    stems: Annotated[tuple[str, ...], Parameter(metavar="STEM")] = (),
    layout: Annotated[str | None, Parameter(metavar="PATTERN")] = None,
    include: Annotated[tuple[str, ...], Parameter(metavar="PATTERN")] = (),
    exclude: Annotated[tuple[str, ...], Parameter(metavar="PATTERN")] = (),
    order: Annotated[Order | None, _MORE] = None,
    max_credits: Annotated[int | None, Parameter(metavar="N", validator=_NOT_NEGATIVE)] = None,
    dry_run: bool = False,
    yes: Annotated[bool, Parameter(alias="-y")] = False,
    retry_failed: Annotated[bool, _MORE] = False,
    watch: bool = False,
    copy_tags: Annotated[bool | None, Parameter(negative="--no-copy-tags", group=ADVANCED)] = None,
    report: Annotated[Path | None, Parameter(metavar="FILE")] = None,
    open: Annotated[bool, _MORE] = False,
    repeat: Annotated[int, Parameter(metavar="N", validator=_NOT_NEGATIVE, group=ADVANCED)] = 1,
    transfer: Annotated[Literal["url", "file"], _MORE] = "url",
    anyway: Annotated[bool, _MORE] = False,
    journal: Annotated[GivenJournal | None, _MORE] = None,
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
    algorithm
        Name or number, see `mvsep-async algorithms`. Repeatable: with several, each song is separated by each.
    preset
        A preset in place of an algorithm; repeatable. `mvsep-async algorithms` lists the presets.
    recipe
        A TOML file with a chain of separations in place of an algorithm.
    opt
        An option of the algorithm; repeatable. NAME is its label or add_optN, VALUE one of its choices; `mvsep-async
        algorithms show` lists them.
    format
        mp3 (the default), wav, flac, m4a, wav32 or flac24. wav is wav16, flac is flac16.
    stems
        Keep only this stem, such as Vocals; repeatable.
    layout
        File names from tags; by default as in SOURCE. For example "{artist}/{album}/{track} {title}/{stem}.{ext}".
    include
        Only songs like this, such as "*.flac"; repeatable. A pattern with a slash, such as "live/*", is for paths below
        SOURCE.
    exclude
        No songs like this; repeatable.
    order
        Which songs are sent first: as-found, the default, or shortest-first.
    max_credits
        Spend at most N credits, by estimate.
    dry_run
        Show the number of songs and the cost; send nothing.
    yes
        Spend more than 20 credits without a question.
    retry_failed
        Try songs again that failed in an earlier run.
    watch
        When all songs are done, wait for new ones. Ctrl-C ends it.
    copy_tags
        Write each song's tags and cover into its stems.
    report
        Write a page that plays the stems, as HTML.
    open
        Open the report in the browser at the end of the run.
    repeat
        How often failed songs are tried again at the end of the run.
    transfer
        How a recipe's stems get to the next step: by their link at the service, or as a file that is downloaded and
        sent.
    anyway
        Send songs although the account's plan does not seem to allow it.
    journal
        File that records the jobs, so that nothing is paid twice, or a postgresql:// URL; by default a file in TARGET.
    """
    config = load_config(common)
    default = library_settings(config)
    source, target = source or default.source, target or default.target
    if source is None or target is None:
        raise UsageProblem(
            "give the folder with the music and the folder for the stems, or set source and target in [library] of "
            f"{config.path}"
        )
    if not (algorithm or preset or recipe):
        algorithm, preset, recipe, opt = default.algorithm, default.preset, default.recipe, opt or default.opt
    report = report or default.report
    if open and report is None:
        raise UsageProblem("--open needs a report to open: give its file with --report")
    most = default.max_credits if max_credits is None else max_credits
    run = _Run(
        config=config,
        source=source,
        target=target,
        remembered=_remembered(
            source=source,
            algorithm=algorithm or ((config.algorithm.value,) if not (preset or recipe) else ()),
            preset=preset,
            recipe=recipe,
            opt=opt,
            format=format or default.format,
            stems=stems or default.stems,
            layout=layout or default.layout,
            copy_tags=default.copy_tags if copy_tags is None else copy_tags,
            transfer=transfer,
            anyway=anyway,
        ),
        algorithms=_algorithms(algorithm, preset, recipe, config.algorithm.value),
        recipe=recipe,
        arguments={
            "options": parse_options(opt),
            "output_format": OutputFormat.parse(format or default.format or config.format.value or "mp3"),
            "stems": stems or default.stems or None,
            "layout": layout or default.layout,
            "include": include or default.include,
            "exclude": exclude or default.exclude,
            "order": order or default.order or "as-found",
            "max_credits": most,
            "copy_tags": default.copy_tags if copy_tags is None else copy_tags,
            "repeat": repeat,
            "retry_failed": retry_failed,
            "report": report,
            "transfer": transfer,
            "anyway": anyway,
        },
        journal=journal or default.journal or config.journal_url,
        line=line,
        watch=watch,
        open=open,
        json=common.json,
    )
    if dry_run:
        return partial(run.separate, dry_run=True)
    if most is None and interactive(yes=yes, json=common.json):
        confirm(anyio.run(run.cost))
    return run.separate


@frozen(kw_only=True)
class _Run:
    """One run of the command, everything resolved. `arguments`: those of `separate_library`."""

    config: CommandConfig
    source: Path
    target: Path
    remembered: dict[str, Json]
    """The options with which its unfinished songs can be finished later."""
    algorithms: Sequence[int | str | Algorithm | Preset | Recipe]
    recipe: Path | None
    arguments: dict[str, Any]
    journal: JournalAddress | None
    line: TransferOptions
    watch: bool
    open: bool
    json: bool

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
        journal = None if dry_run else self.journal or self.target / JOURNAL
        if not dry_run:
            await prepare_folder(self.target / HIDDEN)
            if (report := self.arguments["report"]) is not None:
                await prepare_folder(report.parent)
            # The address of a database may have a password.
            known = None if isinstance(self.journal, PostgresURL) else self.remembered
            await remember_library(self.config, self.target, known)
        view = LibraryRun(
            title=f"{shown_path(self.source)} > {shown_path(self.target)}",
            json=self.json,
            source=self.source,
            several=len(self.algorithms) > 1,
        )
        connected = (
            connect(self.config, transfer=self.line)
            if dry_run
            else connect_with_journal(self.config, journal, transfer=self.line)
        )
        async with connected as client:
            earlier = await self._earlier()
            arguments = {
                **self.arguments,
                "algorithms": await self._resolved(client, dry_run=dry_run),
                "dry_run": dry_run,
                "earlier": earlier,
                "on_event": view.receive,
            }
            try:
                if self.watch and not dry_run:
                    watching = partial(
                        watch_library, client, self.source, self.target, on_result=view.wait_for_songs, **arguments
                    )
                    await view.follow(client, partial(when_unlocked, watching))
                    return DONE
                separating = partial(separate_library, client, self.source, self.target, **arguments)
                result = await view.follow(client, partial(when_unlocked, separating))
            except get_cancelled_exc_class():
                # While a folder is watched, the numbers are those of the last change.
                done = "" if self.watch else f": {amount(view.tally.separated, view.unit)} done"
                terminal().note(f"stopped{done}; the same command continues where it stopped, nothing is paid twice")
                raise
        _summarize(result, json=self.json)
        if result.tally.skipped and any(one.separation is None for one in earlier.values()):
            terminal().note("`mvsep-async jobs resume` finishes songs that `mvsep-async separate` has begun")
        if self.open and result.report is not None:
            await to_thread.run_sync(webbrowser.open, result.report.absolute().as_uri())
        return DONE if dry_run or result.complete else FAILED

    async def _earlier(self) -> Mapping[str, EarlierResult]:
        """Return the jobs in the account's journal: what `separate` has paid for is not paid again."""
        return earlier_results(await read_journal(self.config.journal_path, self.config))

    async def _resolved(
        self, client: MVSepClient, *, dry_run: bool
    ) -> Sequence[int | str | Algorithm | Preset | Recipe]:
        if self.recipe is None:
            return self.algorithms
        chain = await to_thread.run_sync(read_recipe, self.recipe)
        user = None if dry_run or self.arguments["anyway"] else await client.account.user()
        return [chain.resolve(await client.catalogue(), user)]


def _remembered(**options: Any) -> dict[str, Json]:
    """Return options in a form that can be stored, paths absolute."""
    return {
        name: str(value.absolute()) if isinstance(value, Path) else list(value) if isinstance(value, tuple) else value
        for name, value in options.items()
    }


def finish_library(
    target: Path,
    options: Mapping[str, Json],
    songs: Sequence[str],
    *,
    line: TransferOptions,
    common: CommonOptions,
) -> Callable[[], Awaitable[int]]:
    """Return the work of `library` for some songs of a known library: their paths below the source folder."""
    given: dict[str, Any] = dict(options)
    given |= {name: tuple(value) for name, value in given.items() if isinstance(value, list)}
    source, recipe = Path(given.pop("source")), given.pop("recipe")
    return library(
        source,
        target,
        recipe=None if recipe is None else Path(recipe),
        include=tuple("/" + escape_pattern(song) for song in songs),
        yes=True,
        line=line,
        common=common,
        **given,
    )


def _algorithms(
    algorithms: Sequence[str], presets: Sequence[str], recipe: Path | None, configured: str | None
) -> Sequence[int | str | Algorithm | Preset | Recipe]:
    if recipe is not None:
        if presets or algorithms:
            raise UsageProblem("a recipe has its own algorithms: leave out --algorithm and --preset")
        return []
    if algorithms or presets:
        return [*algorithms, *map(find_preset, presets)]
    if configured is None:
        raise UsageProblem(
            "no algorithm given: use --algorithm, --preset or --recipe; `mvsep-async algorithms` lists them"
        )
    return [configured]


def _summarize(result: LibraryResult, *, json: bool) -> None:
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
        left = "" if result.credits_left is None else f" of {result.credits_left:.0f} left"
        parts = [f"{amount(tally.planned, 'separation')} to make", f"{tally.up_to_date} done before"]
        here.result(
            f"{amount(tally.songs, 'song')}, {', '.join(parts)}; {seconds_text(tally.seconds)} of audio to send: "
            f"{amount(tally.credits, 'credit')}{left}"
        )
        if tally.unknown_lengths:
            here.note(f"the length of {amount(tally.unknown_lengths, 'song')} is not known")
        return
    head = amount(tally.songs, "song")
    if tally.found > tally.songs:  # several methods, each of which gives results of its own
        head += f", {amount(tally.found, 'result')}"
    parts = [f"{tally.separated} separated", f"{tally.up_to_date} done before"]
    parts += [f"{tally.failed} failed"] if tally.failed else []
    parts += [f"{tally.failed_before} failed before (--retry-failed tries again)"] if tally.failed_before else []
    parts += [f"{tally.skipped} skipped"] if tally.skipped else []
    here.note(f"{head}: {', '.join(parts)}; {amount(tally.credits, 'credit')}, by estimate")
    if result.stopped is not None:
        here.note(f"stopped by {result.stopped}")
    if result.report is not None:
        here.note(f"the report is {result.report}")
