"""What a run would do and cost, found out before anything is sent: for `--dry-run` and the question about credits."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Iterable
from typing import Final

from anyio import to_thread
from attrs import asdict, frozen

from mvsep_async.cli.choice import Choice
from mvsep_async.cli.exits import UsageProblem
from mvsep_async.cli.library_stems import LibraryStems
from mvsep_async.cli.songs import Songs
from mvsep_async.cli.terminal import terminal
from mvsep_async.cli.text import amount, seconds_text
from mvsep_async.client import MVSepClient
from mvsep_async.http.call import Json
from mvsep_async.jobs.fingerprint import fingerprint_of
from mvsep_async.jobs.journal import Record
from mvsep_async.jobs.lifecycle import JobState
from mvsep_async.jobs.request import JobSettings
from mvsep_async.sources import is_url

__all__ = ["Plan", "confirm", "interactive", "plan_songs", "print_plan", "separated"]

FREE_OF_QUESTIONS: Final = 20
"""Credits that a run may cost without a question."""

_SEPARATED: Final = (JobState.DONE, JobState.DOWNLOADING, JobState.FINISHED)


@frozen(kw_only=True)
class Plan:
    """What a run would do. `unknown_lengths`: songs whose length and price are not known here, links among them."""

    algorithm: str
    songs: int
    separated_before: int
    unknown_lengths: int
    seconds: float
    credits: int
    credits_left: float | None
    rejected: tuple[tuple[str, str], ...] = ()

    def document(self) -> dict[str, Json]:
        """Return the plan for programs."""
        rejected: list[Json] = [{"source": source, "error": error} for source, error in self.rejected]
        return asdict(self) | {"seconds": round(self.seconds, 3), "rejected": rejected}

    def line(self) -> str:
        """Return the plan for people."""
        left = "" if self.credits_left is None else f" of {self.credits_left:.0f} left"
        parts = [f"{amount(self.songs, 'song')} to separate with {self.algorithm}"]
        parts += [f"{self.separated_before} already separated"] if self.separated_before else []
        parts += [f"{self.unknown_lengths} of unknown length"] if self.unknown_lengths else []
        return f"{', '.join(parts)}; {seconds_text(self.seconds)} of audio: {amount(self.credits, 'credit')}{left}"


async def plan_songs(
    client: MVSepClient,
    songs: Songs,
    choice: Choice,
    settings: JobSettings,
    *,
    before: Collection[str | None],
    stems: LibraryStems,
) -> Plan:
    """Find the songs and return what separating them would do; nothing is sent.

    Songs with a fingerprint in `before`, or that a library in `stems` has, count as separated before. A moved one of
    the journal is recognised only when it is sent.
    """
    algorithm = choice.find(await client.catalogue())
    rejected: list[tuple[str, str]] = []
    songs.on_bad = lambda source, error: rejected.append((source, str(error)))
    await songs.search()
    found = [source async for source in songs]
    new = [
        source
        for source in found
        if await fingerprint_of(source, settings) not in before and not (await stems.find(source)).paths
    ]
    files = [source for source in new if not is_url(source)]
    missing = await to_thread.run_sync(lambda: {file for file in files if not os.path.exists(file)})  # noqa: PTH110 -- many of them
    rejected += [(source, f"there is no file {source!r}") for source in files if source in missing]
    files = [source for source in files if source not in missing]
    estimated = await client.estimate(files, algorithm, choice.options) if files else None
    user = client.user or await client.account.user()
    return Plan(
        algorithm=algorithm.name,
        songs=len(new) - len(missing),
        separated_before=len(found) - len(new),
        unknown_lengths=len(new) - len(missing) - len(estimated.songs if estimated else ()),
        seconds=estimated.seconds if estimated else 0.0,
        credits=estimated.credits if estimated and user.is_premium else 0,
        credits_left=user.premium_minutes,
        rejected=tuple(rejected),
    )


def interactive(*, yes: bool) -> bool:
    """Tell whether a question may be asked: never without a terminal."""
    here = terminal()
    return not yes and not here.json and sys.stdin is not None and sys.stdin.isatty() and here.err.is_terminal


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


def print_plan(plan: Plan) -> None:
    """Print what a run would do."""
    if not terminal().json:
        for source, error in plan.rejected:
            terminal().note(f"{source}: {error}")
    terminal().answer(plan.document(), plan.line())
