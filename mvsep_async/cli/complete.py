"""Candidates for shell completion, worked out each time Tab is pressed: nothing here asks the service."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from math import inf
from typing import TYPE_CHECKING, Annotated, Any, Final

from cyclopts import Parameter

if TYPE_CHECKING:
    from cyclopts.completion import CompletionContext

__all__ = ["AlgorithmName", "FormatName", "GivenJournal", "GivenSource", "JobName", "PresetName"]

_FORMATS: Final = {
    "mp3": "320 kbit/s",
    "wav16": "16 bit",
    "flac16": "16 bit",
    "m4a": "",
    "wav32": "32 bit, premium",
    "flac24": "24 bit, premium",
}

_JOBS: Final = 50
"""Newest jobs of the journal that are offered."""


def _algorithms(context: CompletionContext) -> Iterator[tuple[str, str]]:
    """Offer the algorithms of the stored catalogue, else those that are known without it."""
    from mvsep_async.catalogue.cache import DiskCache
    from mvsep_async.catalogue.sep_types import sep_types
    from mvsep_async.cli.config import COMMON, load_config
    from mvsep_async.cli.config_file import cache_folder

    stored = asyncio.run(DiskCache(cache_folder(), str(load_config(COMMON).host)).load(now=0.0, max_age=inf))
    names = {number: one.name for number, one in sep_types().items()} if stored is None else stored.names
    if context.incomplete[:1].isdigit():
        yield from ((str(number), name) for number, name in sorted(names.items()))
    else:
        # A name up to its parenthesis names the algorithm where no other begins so.
        short = [name.split(" (")[0] for name in names.values()]
        for number, name in sorted(names.items()):
            brief = name.split(" (")[0]
            yield (brief if short.count(brief) == 1 else name), f"{number} {name}"


def _presets(context: CompletionContext) -> dict[str, str]:
    from mvsep_async.catalogue.presets import PRESETS

    return {preset.name: preset.about for preset in PRESETS.values()}


def _jobs(context: CompletionContext) -> Iterator[tuple[str, str]]:
    """Offer the newest jobs of the account's journal by their short ids."""
    from mvsep_async.cli.config import COMMON, load_config
    from mvsep_async.cli.known_jobs import KnownJob, short_ids
    from mvsep_async.cli.state import read_journal

    config = load_config(COMMON)
    jobs = [KnownJob.of_record(record) for record in asyncio.run(read_journal(config.journal_path, config))]
    for id, job in list(zip(short_ids(jobs), jobs, strict=True))[-_JOBS:]:
        yield id, job.song


def _as_typed(type: Any, tokens: Any) -> str:
    return str(tokens[0].value)


AlgorithmName = Annotated[str, Parameter(completer=_algorithms)]
FormatName = Annotated[str, Parameter(completer=lambda context: _FORMATS)]
PresetName = Annotated[str, Parameter(completer=_presets)]
JobName = Annotated[
    str,
    Parameter(allow_leading_hyphen=False, completer=_jobs, help="Ids or hashes of jobs; an id may be shortened."),
]
if TYPE_CHECKING:
    from mvsep_async.postgres_url import JournalAddress

    GivenSource = str
    GivenJournal = JournalAddress
else:
    from pathlib import Path

    from mvsep_async.postgres_url import PostgresURL, journal_address

    def _as_journal(type: Any, tokens: Any) -> Any:
        return journal_address(tokens[0].value)

    # The two slashes of a URL would not survive becoming a path. Both types are named, since cyclopts validates the
    # result where the program has imported pydantic.
    GivenJournal = Annotated[Path | PostgresURL, Parameter(converter=_as_journal, accepts_keys=False, metavar="PATH")]

    # Shells complete what is declared as a path; a link would not survive becoming one.
    GivenSource = Annotated[Path, Parameter(converter=_as_typed, allow_leading_hyphen=False)]
