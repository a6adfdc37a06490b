"""`separate`: songs in, stems out."""

from __future__ import annotations

import os
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import anyio
from attrs import define, field, frozen
from cyclopts import Parameter

from mvsep_async.catalogue.algorithm import Algorithm, Needs
from mvsep_async.cli.choice import SEPARATION, Choice, SeparationOptions, choose
from mvsep_async.cli.complete import GivenSource
from mvsep_async.cli.config import COMMON, TRANSFER, CommandConfig, CommonOptions, TransferOptions, connect, load_config
from mvsep_async.cli.exits import DONE, UsageProblem
from mvsep_async.cli.fetched import Fetch, fetch_stems, fetched_before
from mvsep_async.cli.folders import prepare_folder
from mvsep_async.cli.help import ADVANCED
from mvsep_async.cli.job_run import JobRun
from mvsep_async.cli.journal import JOURNAL, OTHER_JOURNAL, JournalOptions, connect_with_journal, drop_unsent
from mvsep_async.cli.library_stems import LibraryStems, library_stems
from mvsep_async.cli.outcome import Outcome, shown_path
from mvsep_async.cli.plan import Plan, confirm, interactive, plan_songs, print_plan, separated
from mvsep_async.cli.songs import Songs
from mvsep_async.cli.state import read_journal
from mvsep_async.cli.stopping import print_resume_hint, when_stopped
from mvsep_async.cli.terminal import terminal
from mvsep_async.client import MVSepClient
from mvsep_async.errors import ClientClosedError, InvalidRequestError, JobNotFoundError, JournalError, MVSepError
from mvsep_async.jobs.fingerprint import fingerprint_of
from mvsep_async.jobs.job import Job
from mvsep_async.jobs.request import JobSettings
from mvsep_async.models.output_format import OutputFormat
from mvsep_async.naming import check_layout, fill, song_name
from mvsep_async.postgres_url import JournalAddress
from mvsep_async.sources import Pair, RemoteType, Source, label

__all__ = ["OUTPUT", "OutputOptions", "separate"]

LAYOUT: Final = "{song}/{stem}"
_MORE: Final = Parameter(group=ADVANCED)


@Parameter(name="*")
@frozen(kw_only=True)
class OutputOptions:
    """Where stems go."""

    out: Annotated[Path | None, Parameter(alias="-o", metavar="FOLDER")] = None
    """Folder for the stems, by default `stems`."""
    stems: Annotated[tuple[str, ...], Parameter(metavar="STEM")] = ()
    """Keep only this stem, such as Vocals; repeatable."""
    layout: Annotated[str, Parameter(group=ADVANCED, metavar="PATTERN")] = LAYOUT
    """File names below the folder, made of {song} and {stem}."""
    overwrite: Annotated[bool, Parameter(group=ADVANCED)] = False
    """Replace other files of the same name; by default the new ones get a number."""

    def folder(self, config: CommandConfig) -> Path:
        """Return the folder for the stems."""
        return self.out or config.out_folder


OUTPUT: Final = OutputOptions()


def separate(
    *sources: GivenSource,
    separation: SeparationOptions = SEPARATION,
    recipe: Annotated[Path | None, _MORE] = None,
    output: OutputOptions = OUTPUT,
    dry_run: bool = False,
    yes: Annotated[bool, Parameter(alias="-y")] = False,
    force: bool = False,
    retry_failed: Annotated[bool, _MORE] = False,
    journal: JournalOptions = JOURNAL,
    reference: Annotated[Path | None, _MORE] = None,
    remote_type: Annotated[RemoteType | None, _MORE] = None,
    publish: Annotated[bool, _MORE] = False,
    on_unknown: Annotated[Literal["raise", "resubmit"], _MORE] = "raise",
    anyway: Annotated[bool, _MORE] = False,
    transfer: TransferOptions = TRANSFER,
    common: CommonOptions = COMMON,
) -> Callable[[], Awaitable[int]]:
    """Separate songs and fetch their stems.

    Songs that were separated before with the same settings are skipped. Files that cannot be separated are reported by
    name. Ctrl-C stops the run; the same command resumes it, and nothing is paid twice.

    Parameters
    ----------
    sources
        Files, folders, links, .m3u playlists, @LIST, - for standard input. All audio below a folder is separated. A
        list, in a file or on standard input, has one source a line. Algorithms that generate audio take no source.
    recipe
        A TOML file with a chain of separations in place of an algorithm.
    dry_run
        Show the number of songs and the cost; send nothing.
    yes
        Spend more than 20 credits without a question.
    force
        Separate and pay again what was separated before. Its stems are replaced.
    retry_failed
        Try songs again that failed in an earlier run.
    reference
        For matchering: the song that the others should sound like.
    remote_type
        Kind of the links that are given; by default recognised by their host.
    publish
        Show the results on the service's public demo page.
    on_unknown
        What to do if the service may or may not have accepted a link: fail, or submit it again and perhaps pay twice.
    anyway
        Send songs although the account's plan does not seem to allow it.
    """
    config = journal.applied(load_config(common))
    if recipe is not None:
        from mvsep_async.cli.commands.recipe import run as run_recipe

        if separation != SEPARATION or output.stems or output.overwrite:
            raise UsageProblem(
                "a recipe has its own algorithms, options and stems: leave out those of the command line"
            )
        if dry_run:
            raise UsageProblem(
                "--dry-run does not work with a recipe: `mvsep-async recipe check FILE --minutes N` shows the price"
            )
        layout = None if output.layout == LAYOUT else output.layout
        options: Any = {"journal": journal, "layout": layout, "anyway": anyway, "line": transfer, "common": common}
        return partial(run_recipe, recipe, *sources, out=output.out, **options)
    check_layout(output.layout)
    run = _Run(
        config=config,
        sources=sources,
        choice=choose(separation, config, output.stems),
        output_format=separation.output_format(config),
        output=output,
        out=output.folder(config),
        journal=journal.path(config),
        force=force,
        reference=reference,
        publish=publish,
        arguments={
            "retry_failed": retry_failed,
            "remote_type": remote_type,
            "on_unknown": on_unknown,
            "anyway": anyway,
        },
        transfer=transfer,
    )
    if not sources and run.choice.default:
        raise UsageProblem("nothing to separate: give files, folders or links")
    if dry_run:
        return run.show_plan
    if sources and "@-" not in sources and interactive(yes=yes):
        confirm(anyio.run(run.plan).credits)
    return run.separate


@define(eq=False, kw_only=True)
class _Run:
    """One run of the command, everything resolved. `arguments`: others of `client.map`."""

    config: CommandConfig
    sources: tuple[str, ...]
    choice: Choice
    output_format: OutputFormat
    output: OutputOptions
    out: Path
    journal: JournalAddress | None
    force: bool
    reference: Path | None
    publish: bool
    arguments: Mapping[str, Any]
    transfer: TransferOptions
    _songs: Songs = field(init=False)
    _run: JobRun = field(init=False)
    _placed: Mapping[str, tuple[Path, ...]] = field(factory=dict, init=False)
    """The stems of the songs in the journal, by the songs' absolute paths."""

    async def plan(self) -> Plan:
        """Return what the run would do."""
        async with connect(self.config, needs_token=True) as client:
            return await plan_songs(
                client,
                Songs(self.sources, exclude=self.out),
                self.choice,
                self.choice.settings(await client.catalogue(), self.output_format, demo=self.publish),
                before=separated(() if self.force else await read_journal(self.journal, self.config)),
                stems=await self._library_stems(client),
            )

    async def show_plan(self) -> int:
        """Print what the run would do."""
        print_plan(await self.plan())
        return DONE

    async def separate(self) -> int:
        """Separate the songs and return the exit code."""
        self._songs = Songs(self.sources, exclude=self.out)
        title = self._title(self.choice.label)
        self._run = run = JobRun(title=title, songs=self._songs, slots=self.transfer.concurrency)
        self._songs.on_bad = run.reject
        with when_stopped(lambda: print_resume_hint(run, journal=self.journal, out=self.out)):
            records = await drop_unsent(self.journal)
            self._placed = {
                _as_in_journal(record.request.source): record.facts.paths
                for record in records
                if record.facts.paths and isinstance(record.request.source, str | os.PathLike)
            }
            async with connect_with_journal(
                self.config, self.journal, transfer=self.transfer, on_event=run.receive, hint=OTHER_JOURNAL
            ) as client:
                catalogue = await client.catalogue()
                algorithm = self.choice.find(catalogue)
                run.rename(self._title(algorithm.name.partition(" (")[0]))
                settings = self.choice.settings(catalogue, self.output_format, demo=self.publish)
                libraries = await self._library_stems(client)
                new = self._new_songs(client, settings, separated(records), libraries)
                given = await self._given(algorithm, new)
                await prepare_folder(self.out)
                stream = client.map(
                    given,
                    directory=self._folder_of,
                    stems=self.choice.stems,
                    layout=self.output.layout,
                    overwrite=self.output.overwrite or self.force,
                    separate_again=self._separate_again,
                    algorithm=self.choice.algorithm,
                    options=self.choice.options,
                    output_format=self.output_format,
                    demo=self.publish,
                    **self.arguments,
                )
                return await run.follow(client, stream, self._songs.search)

    def _title(self, algorithm: str) -> str:
        return " · ".join((algorithm, self.output_format.label, shown_path(self.out)))

    async def _library_stems(self, client: MVSepClient) -> LibraryStems:
        """Return the stems of the account's libraries that make it needless to separate their songs."""
        if self.force or self.publish or self.reference is not None:
            return LibraryStems()
        return await library_stems(self.config, await client.catalogue(), self.choice, self.output_format)

    async def _given(self, algorithm: Algorithm, songs: AsyncIterable[str]) -> AsyncIterable[Source] | list[Source]:
        """Return what the client is to separate, after the checks that come before any payment."""
        if not self.sources:
            if algorithm.needs is not Needs.NOTHING:
                raise UsageProblem(f"nothing to separate: {algorithm} takes songs, give files, folders or links")
            return [None]
        if self.reference is not None and not await anyio.Path(self.reference).is_file():
            raise InvalidRequestError(f"there is no file {str(self.reference)!r} to be the reference")
        if self.choice.default:
            terminal().note(self.choice.note(algorithm))
        reference = self.reference
        return songs if reference is None else (Pair(song, reference) async for song in songs)

    async def _new_songs(
        self, client: MVSepClient, settings: JobSettings, made: Collection[str | None], libraries: LibraryStems
    ) -> AsyncIterator[str]:
        """Yield the songs that no library has; the others are reported as separated.

        `made`: the fingerprints of the songs in the journal, which `client.map` knows itself. Songs for which a library
        cannot be read are reported as failed.
        """
        async for song in self._songs:
            self._run.reading = True
            try:
                made_before = await fingerprint_of(song, settings) in made
                is_new = made_before or not await self._is_separated(client, song, libraries)
            except JournalError as error:
                self._run.reject(song, error)
                is_new = False
            if is_new:
                yield song
            self._run.reading = False

    async def _is_separated(self, client: MVSepClient, song: str, libraries: LibraryStems) -> bool:
        """Report a song that a library has; tell whether there is one.

        Stems that the library does not keep are fetched from the job that made them, while the service has it.
        """
        found = await libraries.find(song)
        files = found.paths
        if found.hash is not None:
            folder, layout = self._folder_of(song), fill(self.output.layout, {"song": song_name(song)})
            fetch = Fetch(found.hash, folder, layout, self.choice.stems)
            files = await fetched_before(self.config, fetch)
            if not files:
                self._run.reading = False  # it is a job while its stems are fetched
                return await self._fetch(client, song, fetch, found.host)
        if files:
            self._run.skip(Outcome.of_stems(song, files))
        return bool(files)

    async def _fetch(self, client: MVSepClient, song: str, fetch: Fetch, host: str | None) -> bool:
        """Fetch the stems of a song from a job, and report it; return `False` if the job was deleted."""
        (job,) = self._run.attach(client, {fetch.hash: label(song)}, host)
        error: MVSepError | None = None
        try:
            await fetch_stems(self.config, job, fetch, overwrite=self.output.overwrite)
        except JobNotFoundError:
            return False
        except ClientClosedError:
            raise
        except MVSepError as failure:
            error = failure
        self._run.end(job, Outcome.of(job, error, given=song))
        return True

    def _folder_of(self, source: Source) -> Path:
        """Return the folder for a song: the one with its stems of an earlier run, if it is one of those it may have."""
        given = source.target if isinstance(source, Pair) else source
        if not isinstance(given, str):
            return self.out
        folders = [self.out / folder for folder in self._songs.folders_of(given)]
        if len(folders) > 1 and (paths := self._placed.get(_as_in_journal(given))):
            for folder in sorted(folders, key=lambda folder: -len(folder.parts)):
                if any(path.is_relative_to(folder.absolute()) for path in paths):
                    return folder
        return folders[0]

    def _separate_again(self, source: Source, job: Job) -> bool:
        """Tell whether a job of an earlier run is to be paid once more; not one that was just rejected here."""
        given = source.target if isinstance(source, Pair) else source
        self._run.reading = False
        if isinstance(given, str):
            self._run.name(job, given, self._folder_of(source))
        return self.force and job.hash is not None


def _as_in_journal(song: str | os.PathLike[str]) -> str:
    return os.path.abspath(song)  # noqa: PTH100
