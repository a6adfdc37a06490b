"""`recipe`: chains of separations."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import anyio
from anyio import to_thread
from attrs import define, evolve, field
from cyclopts import App, Parameter, validators

from mvsep_async.catalogue.presets import PRESETS, Preset
from mvsep_async.cli.complete import GivenSource
from mvsep_async.cli.config import COMMON, TRANSFER, CommonOptions, TransferOptions, connect, load_config
from mvsep_async.cli.exits import DONE, FAILED, UsageProblem
from mvsep_async.cli.folders import prepare_folder
from mvsep_async.cli.help import FLAGS
from mvsep_async.cli.journal import JOURNAL, OTHER_JOURNAL, JournalOptions, connect_with_journal, drop_unsent
from mvsep_async.cli.library_run import LibraryRun
from mvsep_async.cli.songs import Songs
from mvsep_async.cli.stopping import when_stopped
from mvsep_async.cli.tables import Column, print_rows
from mvsep_async.cli.terminal import terminal
from mvsep_async.cli.text import amount
from mvsep_async.client import MVSepClient
from mvsep_async.errors import AuthenticationError, MVSepError
from mvsep_async.jobs.job import Job
from mvsep_async.jobs.progress import Progress
from mvsep_async.library import EventKind, LibraryEvent, Tally
from mvsep_async.recipes import Recipe, Step, credits_of, read_recipe, run_recipe
from mvsep_async.recipes.run import HIDDEN

__all__ = ["recipe"]

recipe = App(
    name="recipe", help="Chains of separations, in which a stem of one is the song of the next.", help_flags=FLAGS
)

_PRESETS: Final[tuple[Column[Preset], ...]] = (
    Column("name", lambda one: one.name, style="bold"),
    Column("algorithm", lambda one: one.algorithm, justify="right"),
    Column("about", lambda one: one.about, wide="fold"),
)

_STEPS: Final[tuple[Column[Step], ...]] = (
    Column("step", lambda one: one.name, style="bold"),
    Column(
        "input", lambda one: None if one.input is None else str(one.input), lambda one: str(one.input or "the song")
    ),
    Column("algorithm", lambda one: one.algorithm, justify="right"),
    Column("options", lambda one: dict(one.options), wide="cut"),
    Column("format", lambda one: one.output_format.label),
    Column(
        "keep",
        lambda one: None if one.keep is None else list(one.keep),
        lambda one: "all" if one.keep is None else ", ".join(one.keep) or "none",
    ),
)


@recipe.command
async def run(
    file: Path,
    /,
    *sources: GivenSource,
    out: Annotated[Path | None, Parameter(alias="-o")] = None,
    journal: JournalOptions = JOURNAL,
    layout: str | None = None,
    transfer: Literal["url", "file"] = "url",
    anyway: bool = False,
    line: TransferOptions = TRANSFER,
    common: CommonOptions = COMMON,
) -> int:
    """Separate songs by the steps of a recipe.

    Parameters
    ----------
    file
        The recipe, a TOML file.
    sources
        Files, folders and http(s) links, as for `mvsep-async separate`.
    out
        Folder for the stems, by default `stems`.
    layout
        File names below the folder, made of {song}, {step}, {algorithm} and {stem}.
    transfer
        How a stem gets to the next step: by its link at the service, or as a file that is downloaded and sent.
    anyway
        Send what the account's plan does not seem to allow.
    """
    config = journal.applied(load_config(common))
    if not sources:
        raise UsageProblem("nothing to separate: give files, folders or links")
    found = await to_thread.run_sync(read_recipe, file)
    folder = out or config.out_folder
    path = journal.path(config)
    await drop_unsent(path)
    view = LibraryRun(title=f"{found.recipe.name} > {folder}", source=Path.cwd())
    async with connect_with_journal(config, path, transfer=line, hint=OTHER_JOURNAL) as client:
        resolved = found.resolve(await client.catalogue(), None if anyway else await client.account.user())
        await prepare_folder(folder)
        run = _RecipeRun(client, resolved, Songs(sources, exclude=folder), folder, layout, transfer, anyway, view)
        again = "" if path is None else "; the same command continues where it stopped"
        with when_stopped(lambda: terminal().note(f"stopped: {amount(view.tally.separated, 'song')} done{again}")):
            await view.follow(client, run.separate)
    return FAILED if view.tally.failed else DONE


@recipe.command
async def check(
    file: Path,
    /,
    *,
    minutes: Annotated[float | None, Parameter(validator=validators.Number(gt=0))] = None,
    common: CommonOptions = COMMON,
) -> int:
    """Check whether a recipe can be run, and what it costs; only the catalogue is asked for.

    Parameters
    ----------
    file
        The recipe, a TOML file.
    minutes
        Show what a song of this length costs.
    """
    found = await to_thread.run_sync(read_recipe, file)
    async with connect(load_config(common)) as client:
        catalogue = await client.catalogue()
        resolved = found.resolve(catalogue)
    print_rows(resolved.steps, _STEPS)
    if minutes is not None:
        cost = credits_of(resolved, catalogue, minutes * 60)
        terminal().note(f"a song of {minutes:g} minutes: {amount(cost, 'credit')}")
    return DONE


@recipe.command
def presets(*, common: CommonOptions = COMMON) -> int:
    """List the presets: names for the most common separations."""
    print_rows(PRESETS.values(), _PRESETS)
    return DONE


@define(eq=False)
class _RecipeRun:
    """Takes songs through a recipe, and reports them as events of a library run."""

    client: MVSepClient
    recipe: Recipe
    songs: Songs
    folder: Path
    layout: str | None
    transfer: Literal["url", "file"]
    anyway: bool
    view: LibraryRun
    _tally: Tally = field(factory=Tally)

    async def separate(self) -> None:
        rejected: list[tuple[str, str]] = []
        self.songs.on_bad = lambda source, error: rejected.append((source, str(error)))
        await self.songs.search()
        found = [source async for source in self.songs]
        count = len(found) + len(rejected)
        self._tally = Tally(songs=count, found=count, total=count)
        for source, error in rejected:
            self._fail(source, error)
        room = anyio.CapacityLimiter(self.client.slots + 4)
        async with anyio.create_task_group() as tasks:
            for source in found:
                await room.acquire_on_behalf_of(source)
                tasks.start_soon(self._song, source, room)

    async def _song(self, source: str, room: anyio.CapacityLimiter) -> None:
        try:
            result = await run_recipe(
                self.client,
                self.recipe,
                source,
                await self._folder_of(source),
                layout=self.layout,
                transfer=self.transfer,
                anyway=self.anyway,
                on_progress=partial(self._progress, source),
            )
            error, paths = result.error, result.paths
        except MVSepError as refused:
            error, paths = refused, ()
        finally:
            room.release_on_behalf_of(source)
        if isinstance(error, AuthenticationError):
            raise error
        if error is not None:
            self._fail(source, str(error), paths)
        else:
            self._tally = evolve(self._tally, separated=self._tally.separated + 1)
            self._report(EventKind.SEPARATED, source, paths=paths)

    async def _folder_of(self, source: str) -> Path:
        """Return the folder for a song: the one of an earlier run, with what it knows of the song, if there is one."""
        folders = [self.folder / folder for folder in self.songs.folders_of(source)]
        for folder in sorted(folders, key=lambda folder: -len(folder.parts)):
            if len(folders) > 1 and await anyio.Path(folder, HIDDEN).is_dir():
                return folder
        return folders[0]

    def _fail(self, source: str, error: str, paths: tuple[Path, ...] = ()) -> None:
        self._tally = evolve(self._tally, failed=self._tally.failed + 1)
        self._report(EventKind.FAILED, source, message=error, paths=paths)

    def _progress(self, source: str, step: Step, job: Job, progress: Progress) -> None:
        self._report(EventKind.PROGRESS, source, step=step.name, job=job, progress=progress)

    def _report(self, kind: EventKind, source: str, **fields: Any) -> None:
        self.view.receive(LibraryEvent(kind=kind, tally=self._tally, name=source, method=self.recipe.name, **fields))
