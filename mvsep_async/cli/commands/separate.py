"""`separate`: songs in, stems out."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterable, AsyncIterator, Sequence
from pathlib import Path
from typing import Annotated, Final, Literal

import anyio
from anyio import to_thread
from attrs import frozen
from cyclopts import Parameter, validators

from mvsep_async.catalogue.algorithm import Needs
from mvsep_async.cli.config import COMMON, CommonOptions, connect, load_config
from mvsep_async.cli.exits import UsageProblem
from mvsep_async.cli.job_run import JobRun, outcomes_of
from mvsep_async.cli.resume_hint import how_to_go_on, was_stopped
from mvsep_async.cli.songs import Songs
from mvsep_async.client import MVSepClient
from mvsep_async.errors import InvalidRequestError
from mvsep_async.models.output_format import OutputFormat
from mvsep_async.naming import check_layout
from mvsep_async.sources import Pair, RemoteType, Source

__all__ = ["OUTPUT", "SEPARATION", "OutputOptions", "SeparationOptions", "parse_options", "prepare_folder", "separate"]

LAYOUT: Final = "{song}/{stem}"

_POSITIVE: Final = validators.Number(gte=1)


@Parameter(name="*")
@frozen(kw_only=True)
class SeparationOptions:
    """How songs are separated."""

    algorithm: Annotated[str | None, Parameter(alias="-a")] = None
    """Number (sep_type) or name, see `mvsep-async algorithms`; by default the service's own choice."""
    opt: Annotated[tuple[str, ...], Parameter(alias="-p")] = ()
    """An option of the algorithm as NAME=VALUE, by its label or `add_optN`; may be given several times."""
    format: Annotated[str | None, Parameter(alias="-f")] = None
    """mp3, wav16, flac16, m4a, wav32 or flac24; wav and flac mean 16 bit. By default mp3."""


@Parameter(name="*")
@frozen(kw_only=True)
class OutputOptions:
    """Where stems go."""

    out: Annotated[Path | None, Parameter(alias="-o")] = None
    """Folder for the stems, by default `stems`."""
    stems: tuple[str, ...] = ()
    """Fetch only this stem; may be given several times."""
    layout: str = LAYOUT
    """File names below the folder, made of {song} and {stem}."""
    overwrite: bool = False
    """Replace files that are there; else the new ones get a number."""


SEPARATION: Final = SeparationOptions()
OUTPUT: Final = OutputOptions()


async def separate(
    *sources: Annotated[str, Parameter(allow_leading_hyphen=False)],
    separation: SeparationOptions = SEPARATION,
    output: OutputOptions = OUTPUT,
    journal: Path | None = None,
    reference: Path | None = None,
    remote_type: RemoteType | None = None,
    publish: bool = False,
    concurrency: Annotated[int | None, Parameter(validator=_POSITIVE)] = None,
    on_unknown: Literal["raise", "resubmit"] = "raise",
    anyway: bool = False,
    poll_interval: float | None = None,
    common: CommonOptions = COMMON,
) -> int:
    """Separate songs and fetch their stems.

    What cannot be separated is reported by name, and the rest goes on. Ctrl-C stops it with everything resumable. With
    a journal, the same command again goes on where it stood, and nothing is paid twice.

    Parameters
    ----------
    sources
        Files, folders (all audio below them) and http(s) addresses. None for algorithms that generate.
    journal
        A file that makes the run survive: the same command again goes on where it stood.
    reference
        For matchering: the song that the others shall sound like.
    remote_type
        What kind of link an address is; by default recognised by its host.
    publish
        Show the results on the service's public demo page.
    concurrency
        Most jobs at the service at one time; by default what the account may have.
    on_unknown
        When it cannot be known whether an address was accepted: fail, or resubmit and perhaps pay twice.
    anyway
        Send what the account's plan does not allow, as far as is known.
    poll_interval
        Seconds, the fastest that one job is looked at.
    """
    config = load_config(common)
    output_format = OutputFormat.parse(separation.format or config.format.value or "mp3")
    algorithm = separation.algorithm or config.algorithm.value
    options = parse_options(separation.opt)
    check_layout(output.layout)
    out = output.out or Path(config.out.value or "stems")
    songs = Songs(sources, avoid=out)
    run = JobRun(
        title=" · ".join(part for part in (_titled(algorithm), output_format.label, str(out)) if part),
        json=common.json,
        songs=songs,
        slots=concurrency,
    )
    songs.on_bad = run.reject
    try:
        async with connect(
            config, needs_token=True, concurrency=concurrency, journal=journal, poll_interval=poll_interval
        ) as client:
            given = await _given(client, songs, algorithm, reference)
            await prepare_folder(out)
            stream = client.map(
                given,
                directory=out,
                stems=output.stems or None,
                layout=output.layout,
                overwrite=output.overwrite,
                algorithm=algorithm,
                options=options,
                output_format=output_format,
                remote_type=remote_type,
                demo=publish,
                on_unknown=on_unknown,
                anyway=anyway,
            )
            return await run.follow(client, outcomes_of(stream), songs.search)
    except BaseException as error:
        if was_stopped(error):
            how_to_go_on(run, journal=journal, out=out)
        raise


def parse_options(given: Sequence[str]) -> dict[str, str]:
    """Read `NAME=VALUE` pairs; raises `UsageProblem` for what is none."""
    options: dict[str, str] = {}
    for pair in given:
        name, equals, value = pair.partition("=")
        if not equals or not name.strip():
            raise UsageProblem(f"an option is given as NAME=VALUE, such as --opt add_opt1=81, not {pair!r}")
        if options.setdefault(name.strip(), value) != value:
            raise UsageProblem(f"the option {name.strip()!r} is given twice")
    return options


async def prepare_folder(folder: Path) -> None:
    """Make the folder for the stems and see that it can be written, before anything is paid.

    Raises `UsageProblem` where it cannot.
    """

    def prepare() -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except FileExistsError:
            raise UsageProblem(f"the folder {str(folder)!r} cannot be made: a file of that name is there") from None
        except OSError as error:
            raise UsageProblem(f"the folder {str(folder)!r} cannot be written: {error.strerror}") from None

    await to_thread.run_sync(prepare)


async def _given(
    client: MVSepClient, songs: Songs, algorithm: str | None, reference: Path | None
) -> AsyncIterable[Source] | list[Source]:
    """Return what the client shall separate; raises for nothing to separate."""
    if not songs.given:
        if algorithm is None:
            raise UsageProblem("nothing to separate: give files, folders or addresses")
        found = (await client.catalogue()).find(algorithm)
        if found.needs is not Needs.NOTHING:
            raise UsageProblem(f"nothing to separate: {found} takes songs, give files, folders or addresses")
        return [None]
    if reference is not None:
        if not await anyio.Path(reference).is_file():
            raise InvalidRequestError(f"there is no file {str(reference)!r} to be the reference")
        return _pairs(songs, reference)
    return songs


async def _pairs(songs: Songs, reference: Path) -> AsyncIterator[Source]:
    async for song in songs:
        yield Pair(song, reference)


def _titled(algorithm: str | None) -> str:
    if algorithm is None:
        return "the service's default algorithm"
    return f"algorithm {algorithm}" if algorithm.strip().isdecimal() else algorithm
