"""`separate`: songs in, stems out."""

from __future__ import annotations

import os
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Final, Literal

import anyio
from attrs import frozen
from cyclopts import Parameter

from mvsep_async.catalogue.algorithm import Algorithm, Needs
from mvsep_async.cli.choice import SEPARATION, Choice, SeparationOptions, choose
from mvsep_async.cli.complete import GivenSource
from mvsep_async.cli.config import COMMON, TRANSFER, CommandConfig, CommonOptions, TransferOptions, connect, load_config
from mvsep_async.cli.exits import DONE, UsageProblem
from mvsep_async.cli.fetched import Fetch, fetched_before, remember_fetched
from mvsep_async.cli.folders import prepare_folder
from mvsep_async.cli.help import ADVANCED
from mvsep_async.cli.job_run import JobRun
from mvsep_async.cli.journal import JOURNAL, OTHER_JOURNAL, JournalOptions, connect_with_journal, drop_unsent
from mvsep_async.cli.library_stems import Found, LibraryStems, library_stems
from mvsep_async.cli.new_songs import NewSongs
from mvsep_async.cli.outcome import Outcome, shown_path
from mvsep_async.cli.plan import Plan, confirm, interactive, plan_songs, print_plan, separated
from mvsep_async.cli.resume_hint import print_resume_hint, was_stopped
from mvsep_async.cli.songs import Songs
from mvsep_async.cli.terminal import terminal
from mvsep_async.client import MVSepClient
from mvsep_async.errors import ClientClosedError, InvalidRequestError, JobNotFoundError, MVSepError
from mvsep_async.jobs.job import Job
from mvsep_async.jobs.journal import Record
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
        return _by_recipe(recipe, sources, separation, output, journal, transfer, common, dry_run, anyway)
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
        retry_failed=retry_failed,
        reference=reference,
        remote_type=remote_type,
        publish=publish,
        on_unknown=on_unknown,
        anyway=anyway,
        transfer=transfer,
        json=common.json,
    )
    if not sources and run.choice.default:
        raise UsageProblem("nothing to separate: give files, folders or links")
    if dry_run:
        return run.show_plan
    if sources and "@-" not in sources and interactive(yes=yes, json=common.json):
        confirm(anyio.run(run.plan).credits)
    return run.separate


@frozen(kw_only=True)
class _Run:
    """One run of the command, everything resolved."""

    config: CommandConfig
    sources: tuple[str, ...]
    choice: Choice
    output_format: OutputFormat
    output: OutputOptions
    out: Path
    journal: JournalAddress | None
    force: bool
    retry_failed: bool
    reference: Path | None
    remote_type: RemoteType | None
    publish: bool
    on_unknown: Literal["raise", "resubmit"]
    anyway: bool
    transfer: TransferOptions
    json: bool

    async def plan(self) -> Plan:
        """Return what the run would do."""
        async with connect(self.config, needs_token=True) as client:
            songs = Songs(self.sources, exclude=self.out)
            journal = None if self.force else self.journal
            stems = await self._library_stems(client)
            return await plan_songs(
                client,
                songs,
                self.choice,
                self.output_format,
                demo=self.publish,
                journal=journal,
                stems=stems,
                config=self.config,
            )

    async def show_plan(self) -> int:
        """Print what the run would do."""
        print_plan(await self.plan(), json=self.json)
        return DONE

    async def separate(self) -> int:
        """Separate the songs and return the exit code."""
        songs = Songs(self.sources, exclude=self.out)
        run = JobRun(title=self._title(self.choice.label), json=self.json, songs=songs, slots=self.transfer.concurrency)
        songs.on_bad = run.reject
        try:
            records = await drop_unsent(self.journal)
            before = _placed(records)
            async with connect_with_journal(
                self.config, self.journal, transfer=self.transfer, on_event=run.receive, hint=OTHER_JOURNAL
            ) as client:
                catalogue = await client.catalogue()
                algorithm = self.choice.find(catalogue)
                run.rename(self._title(algorithm.name.partition(" (")[0]))
                new = NewSongs(
                    songs=songs,
                    run=run,
                    made=separated(records),
                    settings=self.choice.settings(catalogue, self.output_format, demo=self.publish),
                    libraries=await self._library_stems(client),
                    fetch=partial(self._fetch, client, run, partial(self._folder_of, songs, before)),
                )
                given = await self._given(algorithm, new)
                await prepare_folder(self.out)
                stream = client.map(
                    given,
                    directory=partial(self._folder_of, songs, before),
                    stems=self.choice.stems,
                    layout=self.output.layout,
                    overwrite=self.output.overwrite or self.force,
                    retry_failed=self.retry_failed,
                    separate_again=partial(self._separate_again, run, partial(self._folder_of, songs, before)),
                    algorithm=self.choice.algorithm,
                    options=self.choice.options,
                    output_format=self.output_format,
                    remote_type=self.remote_type,
                    demo=self.publish,
                    on_unknown=self.on_unknown,
                    anyway=self.anyway,
                )
                return await run.follow(client, run.outcomes_of(stream), songs.search)
        except BaseException as error:
            if was_stopped(error):
                print_resume_hint(run, journal=self.journal, out=self.out)
            raise

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
        if self.reference is not None:
            if not await anyio.Path(self.reference).is_file():
                raise InvalidRequestError(f"there is no file {str(self.reference)!r} to be the reference")
            given: AsyncIterable[Source] = _pairs(songs, self.reference)
        else:
            given = songs
        if self.choice.default:
            terminal().note(self.choice.note(algorithm))
        return given

    async def _fetch(
        self, client: MVSepClient, run: JobRun, folder_of: Callable[[Source], Path], song: str, found: Found
    ) -> bool:
        """Fetch the stems of a song from the job by which a library has some of them; `False` if it was deleted."""
        assert found.hash is not None
        folder, layout = folder_of(song), fill(self.output.layout, {"song": song_name(song)})
        fetch = Fetch(found.hash, folder, layout, self.choice.stems)
        if files := await fetched_before(self.config, fetch):
            run.skip(Outcome.of_stems(song, files))
            return True
        (job,) = run.attach(client, {found.hash: label(song)}, found.host)
        error: MVSepError | None = None
        try:
            files = tuple(
                await job.download(folder, stems=self.choice.stems, layout=layout, overwrite=self.output.overwrite)
            )
            await remember_fetched(self.config, fetch, files)
        except JobNotFoundError:
            return False
        except ClientClosedError:
            raise
        except MVSepError as failure:
            error = failure
        run.end(job, Outcome.of(job, error, given=song))
        return True

    def _folder_of(self, songs: Songs, before: Mapping[str, tuple[Path, ...]], source: Source) -> Path:
        """Return the folder for a song: the one with its stems of an earlier run, if it is one of those it may have."""
        given = source.target if isinstance(source, Pair) else source
        if not isinstance(given, str):
            return self.out
        folders = [self.out / folder for folder in songs.folders_of(given)]
        if len(folders) > 1 and (paths := before.get(_as_in_journal(given))):
            for folder in sorted(folders, key=lambda folder: -len(folder.parts)):
                if any(path.is_relative_to(folder.absolute()) for path in paths):
                    return folder
        return folders[0]

    def _separate_again(self, run: JobRun, folder_of: Callable[[Source], Path], source: Source, job: Job) -> bool:
        """Tell whether a job of an earlier run is to be paid once more; not one that was just rejected here."""
        given = source.target if isinstance(source, Pair) else source
        run.reading = False
        if isinstance(given, str):
            run.name(job, given, folder_of(source))
        return self.force and job.hash is not None


def _as_in_journal(song: str | os.PathLike[str]) -> str:
    return os.path.abspath(song)  # noqa: PTH100


def _placed(records: Sequence[Record]) -> dict[str, tuple[Path, ...]]:
    """Return the stems of the songs in a journal, by the songs' paths."""
    return {
        _as_in_journal(record.request.source): record.facts.paths
        for record in records
        if record.facts.paths and isinstance(record.request.source, str | os.PathLike)
    }


async def _pairs(songs: AsyncIterable[str], reference: Path) -> AsyncIterator[Source]:
    async for song in songs:
        yield Pair(song, reference)


def _by_recipe(
    recipe: Path,
    sources: tuple[str, ...],
    separation: SeparationOptions,
    output: OutputOptions,
    journal: JournalOptions,
    transfer: TransferOptions,
    common: CommonOptions,
    dry_run: bool,
    anyway: bool,
) -> Callable[[], Awaitable[int]]:
    """Return the work of `recipe run` for these songs."""
    from mvsep_async.cli.commands.recipe import run

    if separation != SEPARATION or output.stems or output.overwrite:
        raise UsageProblem("a recipe has its own algorithms, options and stems: leave out those of the command line")
    if dry_run:
        raise UsageProblem(
            "--dry-run does not work with a recipe: `mvsep-async recipe check FILE --minutes N` shows the price"
        )
    return partial(
        run,
        recipe,
        *sources,
        out=output.out,
        journal=journal,
        layout=None if output.layout == LAYOUT else output.layout,
        anyway=anyway,
        line=transfer,
        common=common,
    )
