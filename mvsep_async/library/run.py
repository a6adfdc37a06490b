"""Separate a whole music library."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from os import PathLike
from pathlib import Path
from typing import Final

from mvsep_async.audio.walk import is_inside
from mvsep_async.client import MVSepClient
from mvsep_async.concurrency import in_thread
from mvsep_async.errors import InvalidRequestError, MVSepError
from mvsep_async.jobs.request import new_id
from mvsep_async.library.decisions import CreditBudget
from mvsep_async.library.earlier import EarlierResult
from mvsep_async.library.executor import ActionExecutor
from mvsep_async.library.layout import Layout, mirror
from mvsep_async.library.manifest import Manifest
from mvsep_async.library.methods import Algorithms, resolve_methods
from mvsep_async.library.outcome import LibraryEvent, LibraryResult
from mvsep_async.library.planner import Planner
from mvsep_async.library.progress import RunProgress
from mvsep_async.library.report import write_report
from mvsep_async.library.scheduler import SongOrder, SongScheduler
from mvsep_async.library.spending import Spending
from mvsep_async.library.stems import StemStore
from mvsep_async.models.output_format import OutputFormat
from mvsep_async.models.user import User
from mvsep_async.recipes.run import HIDDEN
from mvsep_async.recipes.runner import Transfer

__all__ = ["MANIFEST", "SongOrder", "check_folders", "separate_library"]

MANIFEST: Final = f"{HIDDEN}/manifest.sqlite"
"""Path of the manifest below the target folder."""


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
    include: Iterable[str] = (),
    exclude: Iterable[str] = (),
    order: SongOrder = "as-found",
    max_credits: int | None = None,
    dry_run: bool = False,
    copy_tags: bool = False,
    repeat: int = 1,
    retry_failed: bool = False,
    report: str | PathLike[str] | None = None,
    transfer: Transfer = "url",
    anyway: bool = False,
    earlier: Mapping[str, EarlierResult] | None = None,
    on_event: Callable[[LibraryEvent], None] = lambda event: None,
) -> LibraryResult:
    """Separate all songs below `source_folder`, and keep `target_folder` up to date with it.

    - `algorithms`: one or several of: a `sep_type`, a name, an `Algorithm`, a `Preset`, a `Recipe`.
    - `options`, `output_format`, `stems`: of algorithms, as `submit` and `job.download` take them; recipes have theirs.
    - `layout`: such as `{albumartist}/{album}/{track} {title}/{stem}.{ext}`, see `PLACEHOLDERS`; by default the folders
      of the source are mirrored.
    - `include`, `exclude`: patterns such as `"*.flac"` or `"live/*"`, of file names or, with a `/`, of paths below the
      source folder; songs that match none of `include`, or any of `exclude`, are left alone.
    - `order`: `"as-found"`, or `"shortest-first"`, which reads all songs before the first is sent.
    - `max_credits`: the most credits to spend in this run, by estimate; it ends at the first song beyond them.
    - `dry_run`: only count songs, their length and their credits; nothing is sent or written.
    - `copy_tags`: write the song's tags and cover into its stems.
    - `repeat`: how often failed songs are retried at the end of the run.
    - `retry_failed`: also retry songs that failed in earlier runs, except those whose audio is damaged. Songs that
      failed because of an outage are always retried.
    - `report`: path of an HTML page about the run, to be written.
    - `transfer`: how a recipe's stems go to the next step, see `run_recipe`.
    - `anyway`: also send what the account's plan does not seem to allow.
    - `earlier`: jobs outside of the library, from `earlier_results`; their songs are not paid again, and skipped while
      their jobs are not over.
    - `on_event`: called with each event, on the event loop; it must return quickly.

    The target's `.mvsep/manifest.sqlite` records what is done. A song is known by its audio: one that is renamed,
    moved, copied or retagged is not paid again, and its stems follow it. It is separated again when its audio or the
    settings change, not when only the layout does. A file that is still being written is sent when it is complete. To
    survive being killed without paying twice, give the client a journal.

    Songs that cannot be read, or fail, are reported by name and the rest continues. Raises `InvalidRequestError` for
    invalid arguments, before anything is sent; `JournalError` for a manifest that cannot be used; and errors that every
    song would meet, such as `AuthenticationError` for a token that is no longer accepted.
    """
    source, target = await in_thread(_absolute, source_folder, target_folder)
    await in_thread(check_folders, source, target)
    if order not in ("as-found", "shortest-first"):
        raise InvalidRequestError(f"order must be 'as-found' or 'shortest-first', not {order!r}")
    user = await _user(client, needed=not dry_run)
    methods = resolve_methods(
        algorithms,
        await client.catalogue(),
        None if anyway else user,
        options=options,
        output_format=OutputFormat(output_format),
        stems=None if stems is None else _texts(stems),
    )
    several = len(methods) > 1 or len(methods[0].recipe.keeping) > 1
    plan = mirror(several=several) if layout is None else Layout.parse(layout, several=several)
    manifest = await in_thread(Manifest.open_read_only if dry_run else Manifest.open, target / MANIFEST)
    try:
        run, progress = new_id(), RunProgress(on_event)
        planner = Planner(source, target, methods, plan, manifest, run, retry_failed, _texts(include), _texts(exclude))
        stem_store = StemStore(planner)
        executor = ActionExecutor(client, planner, stem_store, progress, copy_tags, transfer, anyway)
        spending = Spending(client, CreditBudget(max_credits), progress)
        scheduler = SongScheduler(client, planner, stem_store, executor, spending, progress, dry_run, earlier or {})
        await scheduler.run(order, repeat)
        left = await _user(client, needed=False)
        written = None
        if report is not None and not dry_run:
            written = Path(report)
            await in_thread(write_report, written, target, manifest, run, progress, left)
        return LibraryResult(
            tally=progress.tally,
            dry_run=dry_run,
            failures=tuple(progress.failures),
            notices=tuple(progress.notices),
            credits_left=None if left is None else left.premium_minutes,
            stopped=scheduler.stopped,
            report=written,
        )
    finally:
        await in_thread(manifest.close)


def check_folders(source: Path, target: Path) -> None:
    """Raise `InvalidRequestError` for folders between which a library cannot be separated."""
    if not source.is_dir():
        what = "is not a folder" if source.exists() else "does not exist"
        raise InvalidRequestError(f"the source folder {_shown(source)} {what}")
    if target.exists() and not target.is_dir():
        raise InvalidRequestError(f"the target folder {_shown(target)} is a file")
    real_source, real_target = os.path.realpath(source), os.path.realpath(target)
    if real_source == real_target or is_inside(real_source, real_target):
        raise InvalidRequestError(
            f"the source folder {_shown(source)} is the target folder {_shown(target)} or lies in it, so that stems "
            "would be taken for songs: choose another target, for example a folder inside the source"
        )


def _absolute(*folders: str | PathLike[str]) -> tuple[Path, ...]:
    """Return absolute paths: the process may change its working directory while the run lasts."""
    return tuple(Path(os.path.abspath(folder)) for folder in folders)  # noqa: PTH100 -- `Path.absolute` keeps `..`


async def _user(client: MVSepClient, *, needed: bool) -> User | None:
    try:
        return await client.account.user()
    except MVSepError:
        if needed:
            raise
        return None


def _texts(given: Iterable[str]) -> list[str]:
    return [given] if isinstance(given, str) else list(given)


def _shown(path: Path) -> str:
    return os.fsencode(path).decode("utf-8", "replace")
