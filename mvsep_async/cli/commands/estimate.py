"""`estimate`: the price of separating songs."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from mvsep_async.catalogue.estimate import Estimate, SongEstimate
from mvsep_async.catalogue.estimate import estimate as estimate_songs
from mvsep_async.cli.choice import SEPARATION, SeparationOptions, choose
from mvsep_async.cli.config import COMMON, CommonOptions, connect, load_config
from mvsep_async.cli.exits import DONE, FAILED, UsageProblem
from mvsep_async.cli.outcome import shown_path
from mvsep_async.cli.tables import Column, table
from mvsep_async.cli.terminal import terminal
from mvsep_async.cli.text import amount, seconds_text

__all__ = ["estimate"]

_SONGS: Final[tuple[Column[SongEstimate], ...]] = (
    Column("path", lambda one: str(one.path), lambda one: shown_path(one.path), wide="cut", title="song"),
    Column(
        "seconds", lambda one: round(one.seconds, 3), lambda one: seconds_text(one.seconds), "right", title="length"
    ),
    Column("credits", lambda one: one.credits, justify="right"),
)


async def estimate(
    *files: Path,
    separation: SeparationOptions = SEPARATION,
    stems: tuple[str, ...] = (),
    common: CommonOptions = COMMON,
) -> int:
    """Show how long songs are and what they would cost as premium jobs; nothing is sent.

    Parameters
    ----------
    files
        Files, and folders with audio.
    stems
        Check that the algorithm has this stem; repeatable.
    """
    config = load_config(common)
    if not files:
        raise UsageProblem("nothing to estimate: give files or folders")
    choice = choose(separation, config, stems)
    async with connect(config) as client:
        algorithm = choice.find(await client.catalogue())
        if choice.default:
            terminal().note(choice.note(algorithm))
        found = await estimate_songs(files, algorithm, choice.options)
        left = None if config.token is None else (await client.account.user()).premium_minutes
    _show(found, left)
    return FAILED if found.unreadable else DONE


def _show(found: Estimate, left: float | None) -> None:
    here = terminal()
    if not here.json:
        here.show(table(found.songs, _SONGS))
    here.answer(
        {
            "algorithm": found.algorithm.name,
            "sep_type": found.algorithm.sep_type,
            "seconds": round(found.seconds, 3),
            "credits": found.credits,
            "credits_left": left,
            "songs": [{column.name: column.value(song) for column in _SONGS} for song in found.songs],
            "unreadable": [{"path": str(path), "error": why} for path, why in found.unreadable],
        },
        f"{amount(len(found.songs), 'song')}, {seconds_text(found.seconds)} with {found.algorithm}: "
        f"{amount(found.credits, 'credit')}" + ("" if left is None else f", of {left:.0f} left"),
    )
    for path, why in () if here.json else found.unreadable:
        here.error(f"{path} {why}")
