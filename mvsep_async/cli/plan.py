"""What a run would do and cost, found out before anything is sent: for `--dry-run` and the question about credits."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from typing import Final

from anyio import to_thread
from attrs import frozen

from mvsep_async.cli.choice import Choice
from mvsep_async.cli.config import CommandConfig
from mvsep_async.cli.exits import UsageProblem
from mvsep_async.cli.library_stems import LibraryStems
from mvsep_async.cli.records import read_journal
from mvsep_async.cli.songs import Songs
from mvsep_async.cli.terminal import terminal
from mvsep_async.cli.text import amount, seconds_text
from mvsep_async.client import MVSepClient
from mvsep_async.http.call import Json
from mvsep_async.jobs.fingerprint import fingerprint_of
from mvsep_async.jobs.journal import Record
from mvsep_async.jobs.lifecycle import JobState
from mvsep_async.models.output_format import OutputFormat
from mvsep_async.postgres_url import JournalAddress
from mvsep_async.sources import is_url

__all__ = ["Plan", "confirm", "interactive", "plan_songs", "print_plan", "separated"]

FREE_OF_QUESTIONS: Final = 20
"""Credits that a run may cost without a question."""

_SEPARATED: Final = (JobState.DONE, JobState.DOWNLOADING, JobState.FINISHED)


@frozen(kw_only=True)
class Plan:
    """What a run would do. `unknown`: songs, links among them, whose length and price are not known here."""

    algorithm: str
    songs: int
    separated_before: int
    unknown: int
    seconds: float
    credits: int
    credits_left: float | None
    rejected: tuple[tuple[str, str], ...] = ()

    def document(self) -> dict[str, Json]:
        """Return the plan for programs."""
        return {
            "algorithm": self.algorithm,
            "songs": self.songs,
            "separated_before": self.separated_before,
            "unknown_lengths": self.unknown,
            "seconds": round(self.seconds, 3),
            "credits": self.credits,
            "credits_left": self.credits_left,
            "rejected": [{"source": source, "error": error} for source, error in self.rejected],
        }

    def line(self) -> str:
        """Return the plan for people."""
        left = "" if self.credits_left is None else f" of {self.credits_left:.0f} left"
        parts = [f"{amount(self.songs, 'song')} to separate with {self.algorithm}"]
        parts += [f"{self.separated_before} already separated"] if self.separated_before else []
        parts += [f"{self.unknown} of unknown length"] if self.unknown else []
        return f"{', '.join(parts)}; {seconds_text(self.seconds)} of audio: {amount(self.credits, 'credit')}{left}"


async def plan_songs(
    client: MVSepClient,
    songs: Songs,
    choice: Choice,
    output_format: OutputFormat,
    *,
    demo: bool = False,
    journal: JournalAddress | None,
    stems: LibraryStems,
    config: CommandConfig,
) -> Plan:
    """Find the songs and return what separating them would do; nothing is sent.

    Songs that the journal has under their path, or a library in `stems`, count as separated before; a moved one of the
    journal is recognised only when it is sent.
    """
    catalogue = await client.catalogue()
    algorithm = choice.find(catalogue)
    rejected: list[tuple[str, str]] = []
    songs.on_bad = lambda source, error: rejected.append((source, str(error)))
    await songs.search()
    found = [source async for source in songs]
    before = separated(await read_journal(journal, config))
    settings = choice.settings(catalogue, output_format, demo=demo)
    new = [
        source
        for source in found
        if await fingerprint_of(source, settings) not in before and not (await stems.find(source)).paths
    ]
    files = [source for source in new if not is_url(source)]
    missing = set(await to_thread.run_sync(_missing, files))
    rejected += [(source, f"there is no file {source!r}") for source in files if source in missing]
    files = [source for source in files if source not in missing]
    estimated = await client.estimate(files, algorithm, choice.options) if files else None
    user = client.user or await client.account.user()
    return Plan(
        algorithm=algorithm.name,
        songs=len(new) - len(missing),
        separated_before=len(found) - len(new),
        unknown=len(new) - len(missing) - len(estimated.songs if estimated else ()),
        seconds=estimated.seconds if estimated else 0.0,
        credits=estimated.credits if estimated and user.is_premium else 0,
        credits_left=user.premium_minutes,
        rejected=tuple(rejected),
    )


def interactive(*, yes: bool, json: bool) -> bool:
    """Tell whether a question may be asked: never without a terminal."""
    return not yes and not json and sys.stdin is not None and sys.stdin.isatty() and terminal().err.is_terminal


def confirm(credits: int) -> None:
    """Ask before many credits are spent; raises `UsageProblem` if the answer is no."""
    if credits <= FREE_OF_QUESTIONS:
        return
    sys.stderr.write(f"This costs about {credits} credits. Continue? [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise UsageProblem("nothing was sent; --yes skips the question")


def separated(records: Iterable[Record]) -> set[str | None]:
    """Return the fingerprints of the songs that a journal has separated: of their paths, sizes, times and settings."""
    return {record.request.fingerprint for record in records if record.state in _SEPARATED} - {None}


def _missing(files: Sequence[str]) -> list[str]:
    return [file for file in files if not os.path.exists(file)]  # noqa: PTH110 -- many of them


def print_plan(plan: Plan, *, json: bool) -> None:
    """Print what a run would do."""
    here = terminal()
    if json:
        here.document(plan.document())
        return
    for source, error in plan.rejected:
        here.note(f"{source}: {error}")
    here.result(plan.line())
