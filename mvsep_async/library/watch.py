"""Keep a target folder up to date with a source folder while songs come and go."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any, Final

import anyio
from anyio.lowlevel import checkpoint

from mvsep_async.audio.formats import is_never_audio
from mvsep_async.audio.walk import is_inside
from mvsep_async.client import MVSepClient
from mvsep_async.concurrency import in_thread
from mvsep_async.errors import ConfigurationError
from mvsep_async.library.earlier import EarlierResult
from mvsep_async.library.manifest import Manifest
from mvsep_async.library.outcome import EventKind, LibraryEvent, LibraryResult
from mvsep_async.library.run import MANIFEST, separate_library

__all__ = ["watch_library"]

_DEBOUNCE: Final = 1600
"""Milliseconds of changes that are collected into one run: the default of watchfiles."""

_STOP: Final = 500
"""Milliseconds within which a cancelled watch ends: watchfiles waits in a thread, by default for 5 s."""


async def watch_library(
    client: MVSepClient,
    source_folder: str | PathLike[str],
    target_folder: str | PathLike[str],
    *,
    earlier: Callable[[], Awaitable[Mapping[str, EarlierResult]]] | None = None,
    on_result: Callable[[LibraryResult], None] = lambda result: None,
    on_event: Callable[[LibraryEvent], None] = lambda event: None,
    **arguments: Any,
) -> None:
    """Separate a library now and after each change of its source folder, until this is cancelled.

    `earlier` is called before each run, for the argument of that name of `separate_library`, and `on_result` with the
    result of each run; `arguments` are the others of `separate_library`. Songs that are still being written are sent
    when they are complete. A separated song whose file is removed is reported by an event; its stems stay. Raises what
    `separate_library` does, and `ConfigurationError` without the extra `watch`.
    """
    watchfiles = _import_watchfiles()
    source, target = await in_thread(_real_paths, source_folder, target_folder)

    def is_relevant(change: object, path: str) -> bool:
        name = os.path.basename(path)  # noqa: PTH119
        return not (is_never_audio(name) or path == target or is_inside(path, target))

    changed = anyio.Event()
    removed: set[str] = set()

    async def watch() -> None:
        async for changes in watchfiles.awatch(
            source, watch_filter=is_relevant, debounce=_DEBOUNCE, rust_timeout=_STOP
        ):
            removed.update(path for change, path in changes if change is watchfiles.Change.deleted)
            changed.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watch)
        for _ in range(2):  # until that task has come to its first wait, on asyncio and on trio
            await checkpoint()
        while True:
            changed = anyio.Event()
            gone, removed = removed, set()
            arguments["earlier"] = None if earlier is None else await earlier()
            result = await separate_library(client, source_folder, target_folder, on_event=on_event, **arguments)
            # After the run: a song that was only moved has its new name in the manifest.
            for song in await in_thread(_removed_songs, gone, source, target):
                on_event(LibraryEvent(kind=EventKind.REMOVED, tally=result.tally, path=song))
            on_result(result)
            await changed.wait()


def _removed_songs(paths: Iterable[str], source: str, target: str) -> list[Path]:
    """Return the separated songs at these paths, or below them, whose files do not exist."""
    names = [os.path.relpath(path, source) for path in paths]
    if not names:
        return []
    manifest = Manifest.open_read_only(Path(target, MANIFEST))
    try:
        known = {song for name in names for song in manifest.sources_at(name.replace(os.sep, "/"))}
    finally:
        manifest.close()
    return [path for path in (Path(source, song) for song in sorted(known)) if not os.path.lexists(path)]


def _real_paths(source: str | PathLike[str], target: str | PathLike[str]) -> tuple[str, str]:
    return os.path.realpath(source), os.path.realpath(target)


def _import_watchfiles() -> Any:
    try:
        import watchfiles
    except ImportError as error:
        message = 'watching a folder needs watchfiles: run pip install "mvsep-async[watch]"'
        raise ConfigurationError(message) from error
    return watchfiles
