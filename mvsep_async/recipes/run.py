"""Run a recipe on one song."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from os import PathLike
from pathlib import Path
from typing import Final

from attrs import frozen

from mvsep_async.audio.digest import read_content
from mvsep_async.client import MVSepClient
from mvsep_async.concurrency import in_thread
from mvsep_async.errors import InvalidRequestError, MVSepError, UploadError
from mvsep_async.jobs.job import Job
from mvsep_async.jobs.progress import Progress
from mvsep_async.naming import check_layout, fill, placeholders, song_name
from mvsep_async.recipes.keys import content_key, keys_of
from mvsep_async.recipes.recipe import Recipe, Step
from mvsep_async.recipes.resolve import resolve
from mvsep_async.recipes.runner import Destination, RecipeRunner, StemFile, StepResult, Transfer
from mvsep_async.sources import Data, check_source, is_url, label

__all__ = ["HIDDEN", "RecipeResult", "algorithm_label", "run_recipe"]

HIDDEN: Final = ".mvsep"
"""The folder, below the target, for internal files: stems on their way from step to step, journals, the manifest."""

_PLACEHOLDERS: Final = ("song", "step", "algorithm", "stem")


@frozen
class RecipeResult:
    """The result of a recipe for one song, step by step."""

    recipe: Recipe
    steps: tuple[StepResult, ...]

    @property
    def files(self) -> tuple[StemFile, ...]:
        """All stems on disk, in the order of the steps."""
        return tuple(file for step in self.steps for file in step.files)

    @property
    def paths(self) -> tuple[Path, ...]:
        """Their paths."""
        return tuple(file.path for file in self.files)

    @property
    def error(self) -> MVSepError | None:
        """The error of the first step that failed."""
        return next((step.error for step in self.steps if step.error is not None), None)


async def run_recipe(
    client: MVSepClient,
    recipe: Recipe,
    source: str | PathLike[str] | bytes,
    directory: str | PathLike[str],
    *,
    filename: str | None = None,
    layout: str | None = None,
    transfer: Transfer = "url",
    group: str | None = None,
    priority: int = 0,
    anyway: bool = False,
    on_progress: Callable[[Step, Job, Progress], None] = lambda step, job, progress: None,
) -> RecipeResult:
    """Take a song through all steps of `recipe`; the stems to keep are below `directory` when this returns.

    - `source`: a path, an http(s) URL, or bytes with their `filename`.
    - `layout`: of the files, from `{song}`, `{step}`, `{algorithm}` and `{stem}`; by default `{song}/{stem}`, or
      `{song}/{step}/{stem}` where several steps keep stems.
    - `transfer`: `"url"` lets the service fetch a stem from itself for the next step, and uploads it where the service
      does not; `"file"` always uploads it. A create by URL whose answer is lost cannot be found again at the service:
      where that must never end in `SubmissionUnknownError`, choose `"file"`.
    - `anyway`: also send what the account's plan does not seem to allow.

    Raises `RecipeError` for an invalid recipe, before anything is sent. Errors of steps are in the result; steps that
    do not depend on a failed one continue. With a client that has a journal, the same call again pays for no step
    twice; the song is known by its audio. A changed recipe pays only for the changed steps and those that follow.
    """
    recipe = resolve(recipe, await client.catalogue(), None if anyway else await client.account.user())
    layout = layout or ("{song}/{step}/{stem}" if len(recipe.keeping) > 1 else "{song}/{stem}")
    check_layout(layout, known=_PLACEHOLDERS)
    if len(recipe.keeping) > 1 and not placeholders(layout) & {"step", "algorithm"}:
        raise InvalidRequestError(f"the layout {layout!r} needs {{step}}: several steps of the recipe keep stems")
    root = await in_thread(lambda: Path(directory).absolute())
    held = Data(source, filename or "") if isinstance(source, bytes) else source
    check_source(held)
    song = song_name(label(held, filename))
    names = {step.name: algorithm_label((await client.catalogue()).find(step.algorithm).name) for step in recipe.steps}
    key = await _song_key(source)

    def destination(step: Step) -> Destination:
        return Destination(root, fill(layout, {"song": song, "step": step.name, "algorithm": names[step.name]}))

    runner = RecipeRunner(
        client,
        recipe,
        source,
        filename,
        keys_of(recipe, key),
        destination,
        root / HIDDEN / "stems",
        transfer=transfer,
        group=group,
        priority=priority,
        anyway=anyway,
        on_progress=on_progress,
    )
    result = RecipeResult(recipe, await runner.run())
    await in_thread(_remove_empty, runner.scratch)
    return result


def algorithm_label(name: str) -> str:
    """Return the name of an algorithm as folders have it: all before its parenthesis."""
    return name.partition("(")[0].strip() or name


def _remove_empty(scratch: Path) -> None:
    """Remove the hidden folders if they are empty."""
    with suppress(OSError):
        scratch.rmdir()
        scratch.parent.rmdir()


async def _song_key(source: str | PathLike[str] | bytes) -> str:
    """Return the identity of the song for the keys of its jobs: its audio, or its URL."""
    if isinstance(source, bytes):
        digest = await in_thread(lambda: hashlib.blake2b(source, digest_size=15).hexdigest())
        return f"bytes {digest}"
    if is_url(source):
        return f"url {source}"
    try:
        return content_key(await read_content(source))
    except OSError as error:
        raise UploadError(f"{os.fspath(source)!r} cannot be read: {error.strerror or error}") from error
