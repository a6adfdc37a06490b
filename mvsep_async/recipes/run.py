"""One song through a whole recipe."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from os import PathLike
from pathlib import Path
from typing import Final

import anyio.to_thread
from attrs import frozen

from mvsep_async.client import MVSepClient
from mvsep_async.errors import InvalidRequestError, MVSepError
from mvsep_async.jobs.fingerprint import fingerprint_of
from mvsep_async.jobs.job import Job
from mvsep_async.jobs.progress import Progress
from mvsep_async.jobs.request import JobSettings
from mvsep_async.naming import check_layout, fill, placeholders, song_name
from mvsep_async.recipes.chain import Chain, MadeFile, Place, StepResult, Transfer
from mvsep_async.recipes.keys import keys_of
from mvsep_async.recipes.recipe import Recipe, Step
from mvsep_async.recipes.resolve import resolve
from mvsep_async.sources import Data, check, label

__all__ = ["HIDDEN", "RecipeResult", "algorithm_label", "run_recipe"]

HIDDEN: Final = ".mvsep"
"""The folder, below the target, for what is not the user's: stems on their way from step to step, journals."""

_PLACEHOLDERS: Final = ("song", "step", "algorithm", "stem")


@frozen
class RecipeResult:
    """What a recipe made of a song, step by step."""

    recipe: Recipe
    steps: tuple[StepResult, ...]

    @property
    def files(self) -> tuple[MadeFile, ...]:
        """All stems on disk, in the order of the steps."""
        return tuple(file for step in self.steps for file in step.files)

    @property
    def paths(self) -> tuple[Path, ...]:
        """Their paths."""
        return tuple(file.path for file in self.files)

    @property
    def error(self) -> MVSepError | None:
        """Why the first step that failed did so."""
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
    on_progress: Callable[[Step, Job, Progress], None] = lambda step, job, progress: None,
) -> RecipeResult:
    """Take a song through all steps of `recipe`; the stems to keep are below `directory` when this returns.

    - `source`: a path, an http(s) URL, or bytes with their `filename`.
    - `layout`: of the files, from `{song}`, `{step}`, `{algorithm}` and `{stem}`; by default `{song}/{stem}`, or
      `{song}/{step}/{stem}` where several steps keep stems.
    - `transfer`: `"url"` lets the service fetch a stem from itself for the next step, and goes by way of a file where
      it will not; `"file"` always does. A create by address whose answer is lost cannot be found again at the service:
      where that must never end in `SubmissionUnknownError`, choose `"file"`.

    Raises `RecipeError` for what cannot be, before anything is sent. Errors of steps are in the result: what does not
    need a failed step goes on. With a client that has a journal, the same call again pays for no step twice; only its
    own steps count, so a recipe may be changed from the first step that shall be different on.
    """
    recipe = resolve(recipe, await client.catalogue(), await client.account.user())
    layout = layout or ("{song}/{step}/{stem}" if len(recipe.keeping) > 1 else "{song}/{stem}")
    check_layout(layout, known=_PLACEHOLDERS)
    if len(recipe.keeping) > 1 and not placeholders(layout) & {"step", "algorithm"}:
        raise InvalidRequestError(f"the layout {layout!r} needs {{step}}: several steps of the recipe keep stems")
    root = await anyio.to_thread.run_sync(lambda: Path(directory).absolute())
    held = Data(source, filename or "") if isinstance(source, bytes) else source
    check(held)
    song = song_name(label(held, filename))
    names = {step.name: algorithm_label((await client.catalogue()).find(step.algorithm).name) for step in recipe.steps}
    identity = await _identity(source)

    def place(step: Step) -> Place:
        return Place(root, fill(layout, {"song": song, "step": step.name, "algorithm": names[step.name]}))

    chain = Chain(
        client,
        recipe,
        source,
        filename,
        None if identity is None else keys_of(recipe, identity),
        place,
        root / HIDDEN / "stems",
        transfer=transfer,
        group=group,
        priority=priority,
        on_progress=on_progress,
    )
    result = RecipeResult(recipe, await chain.run())
    await anyio.to_thread.run_sync(_tidy, chain.work)
    return result


def algorithm_label(name: str) -> str:
    """Return the name of an algorithm as folders have it: all before its parenthesis."""
    return name.partition("(")[0].strip() or name


def _tidy(work: Path) -> None:
    """Remove the hidden folders where nothing is in them."""
    with suppress(OSError):
        work.rmdir()
        work.parent.rmdir()


async def _identity(source: str | PathLike[str] | bytes) -> str | None:
    if isinstance(source, bytes):
        digest = await anyio.to_thread.run_sync(lambda: hashlib.blake2b(source, digest_size=15).hexdigest())
        return f"bytes {digest}"
    return await fingerprint_of(os.fspath(source), JobSettings())
