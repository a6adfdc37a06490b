"""A whole music library: planned while it is walked, separated while it is planned."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from os import PathLike
from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread

from mvsep_async.audio.walk import is_inside
from mvsep_async.client import MVSepClient
from mvsep_async.concurrency import in_thread
from mvsep_async.errors import (
    InvalidRequestError,
    MVSepError,
)
from mvsep_async.library.decisions import CreditBudget
from mvsep_async.library.layout import Layout, mirror
from mvsep_async.library.manifest import Manifest
from mvsep_async.library.outcome import LibraryEvent, LibraryResult
from mvsep_async.library.planner import Planner
from mvsep_async.library.report import write_report
from mvsep_async.library.songs import Order, Run
from mvsep_async.library.works import Algorithms, works_of
from mvsep_async.models.output_format import OutputFormat
from mvsep_async.models.user import User
from mvsep_async.recipes.chain import Transfer
from mvsep_async.recipes.run import HIDDEN

__all__ = ["MANIFEST", "Order", "check_folders", "separate_library"]

MANIFEST: Final = f"{HIDDEN}/manifest.sqlite"
"""Where the manifest is, below the target folder."""


async def separate_library(
    client: MVSepClient,
    source_folder: str | PathLike[str],
    target_folder: str | PathLike[str],
    *,
    algorithms: Algorithms,
    options: Mapping[str, object] | None = None,
    output_format: OutputFormat = OutputFormat.MP3,
    stems: Iterable[str] | None = None,
    layout: str | None = None,
    order: Order = "as-found",
    max_credits: int | None = None,
    dry_run: bool = False,
    copy_tags: bool = False,
    repeat: int = 1,
    report: str | PathLike[str] | None = None,
    transfer: Transfer = "url",
    on_event: Callable[[LibraryEvent], None] = lambda event: None,
) -> LibraryResult:
    """Separate all songs below `source_folder`, and keep `target_folder` up to date with it.

    - `algorithms`: one or several of: a `sep_type`, a name, an `Algorithm`, a `Preset`, a `Recipe`.
    - `options`, `output_format`, `stems`: of algorithms, as `submit` and `job.download` take them; recipes have theirs.
    - `layout`: such as `{albumartist}/{album}/{track} {title}/{stem}.{ext}`, see `PLACEHOLDERS`; by default the folders
      of the source are mirrored.
    - `order`: `"as-found"`, or `"shortest-first"`, which reads all songs before the first is sent.
    - `max_credits`: what may be spent in this run, by estimate; the first song beyond it ends the submitting.
    - `dry_run`: only count songs, their length and their credits; nothing is sent or written.
    - `copy_tags`: write the song's tags and cover into its stems.
    - `repeat`: how often failed songs are tried again at the end.
    - `report`: write an HTML page about the run there.
    - `transfer`: how a recipe's stems go to the next step, see `run_recipe`.
    - `on_event`: told what happens, from within the run: it must not wait.

    What is done is kept in `.mvsep/manifest.sqlite` in the target: a song is separated again when it or the settings
    changed, and not when only the layout did. To survive being killed without paying twice, give the client a journal.
    Songs that cannot be read, or fail, are reported by name and the rest goes on. Raises `InvalidRequestError` for what
    cannot be, before anything is sent; `JournalError` for a manifest that cannot be used; and what makes going on
    senseless, such as a token that is no longer accepted.
    """
    source, target = await anyio.to_thread.run_sync(_absolute, source_folder, target_folder)
    await anyio.to_thread.run_sync(check_folders, source, target)
    if order not in ("as-found", "shortest-first"):
        raise InvalidRequestError(f"order must be 'as-found' or 'shortest-first', not {order!r}")
    user = await _user(client, needed=not dry_run)
    works = works_of(
        algorithms,
        await client.catalogue(),
        user,
        options=options,
        output_format=OutputFormat(output_format),
        stems=None if stems is None else [stems] if isinstance(stems, str) else list(stems),
    )
    several = len(works) > 1 or len(works[0].recipe.keeping) > 1
    plan = mirror(several=several) if layout is None else Layout.parse(layout, several=several)
    manifest = await in_thread(Manifest.look_into if dry_run else Manifest.open, target / MANIFEST)
    try:
        planner = Planner(source, target, works, plan, manifest)
        run = Run(
            client, source, target, planner, manifest, CreditBudget(max_credits), dry_run, copy_tags, transfer, on_event
        )
        await run.go(order, repeat)
        left = await _user(client, needed=False)
        written = None
        if report is not None and not dry_run:
            written = Path(report)
            about = (run.id, run.tally, run.failures, run.notices, left, run.unfinished)
            await in_thread(write_report, written, target, manifest, *about)
        return LibraryResult(
            tally=run.tally,
            dry_run=dry_run,
            failures=tuple(run.failures),
            notices=tuple(run.notices),
            credits_left=None if left is None else left.premium_minutes,
            stopped=run.stopped,
            report=written,
        )
    finally:
        await in_thread(manifest.close)


def check_folders(source: Path, target: Path) -> None:
    """Raise `InvalidRequestError` for folders between which a library cannot be separated."""
    if not source.is_dir():
        what = "is no folder" if source.exists() else "is not there"
        raise InvalidRequestError(f"the source folder {_shown(source)} {what}")
    if target.exists() and not target.is_dir():
        raise InvalidRequestError(f"the target folder {_shown(target)} is a file")
    real_source, real_target = os.path.realpath(source), os.path.realpath(target)
    if real_source == real_target or is_inside(real_source, real_target):
        raise InvalidRequestError(
            f"the source folder {_shown(source)} is the target folder {_shown(target)} or lies in it, so that stems "
            "would be taken for songs: choose another target, one inside the source is fine"
        )


def _absolute(*folders: str | PathLike[str]) -> tuple[Path, ...]:
    """Return the folders as they are from anywhere: the process may change its own while the run lasts."""
    return tuple(Path(os.path.abspath(folder)) for folder in folders)  # noqa: PTH100 -- `Path.absolute` keeps `..`


async def _user(client: MVSepClient, *, needed: bool) -> User | None:
    try:
        return await client.account.user()
    except MVSepError:
        if needed:
            raise
        return None


def _shown(path: Path) -> str:
    return os.fsencode(path).decode("utf-8", "replace")
