"""Read recipes from TOML files; errors name the file, the step and the key."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from attrs import frozen

from mvsep_async.catalogue.catalogue import Catalogue
from mvsep_async.catalogue.names import nearest
from mvsep_async.catalogue.presets import find_preset
from mvsep_async.errors import InvalidRequestError
from mvsep_async.models.output_format import OutputFormat
from mvsep_async.models.user import User
from mvsep_async.recipes.recipe import Input, Recipe, RecipeError, Step
from mvsep_async.recipes.resolve import resolve

__all__ = ["RecipeFile", "load_recipe", "read_recipe"]

_TOP: Final = ("name", "about", "output_format", "step")
_STEP: Final = ("name", "algorithm", "preset", "options", "input", "keep", "output_format")
_LARGEST: Final = 1 << 20
"""Bytes of the largest recipe."""


@frozen
class RecipeFile:
    """A recipe and its file."""

    recipe: Recipe
    path: str

    def resolve(self, catalogue: Catalogue, user: User | None = None) -> Recipe:
        """Return the recipe checked against the catalogue; a `RecipeError` names the file, the step and the key."""
        with _in_file(self.path):
            return resolve(self.recipe, catalogue, user)


def load_recipe(path: str | os.PathLike[str]) -> Recipe:
    """Read a recipe from a TOML file (this blocks); raises `RecipeError` naming the file, the step and the key.

    Algorithms, options and stems are checked later, against the catalogue: `run_recipe` does so before it sends
    anything.
    """
    return read_recipe(path).recipe


def read_recipe(path: str | os.PathLike[str]) -> RecipeFile:
    """Like `load_recipe`, with the path of the file, which errors of `resolve` name."""
    shown = os.fsencode(path).decode("utf-8", "replace")
    try:
        if Path(path).stat().st_size > _LARGEST:
            raise RecipeError(f"{shown} is too large for a recipe: more than {_LARGEST} bytes")
        document = tomllib.loads(Path(path).read_text("utf-8-sig"))  # Windows editors write a byte order mark
    except UnicodeDecodeError:
        raise RecipeError(f"{shown} is not text in UTF-8, as TOML files are") from None
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{shown} is not valid TOML: {error}") from None
    except OSError as error:
        raise RecipeError(f"the recipe {shown} cannot be read: {error.strerror or error}") from None
    with _in_file(shown):
        return RecipeFile(_recipe(document, Path(path).stem), shown)


def _recipe(document: Mapping[str, Any], fallback: str) -> Recipe:
    _only(document, _TOP, None)
    for key in ("name", "about"):
        _typed(document, key, str, "a text", None)
    usual = _format(document, None, OutputFormat.MP3)
    steps = document.get("step", [])
    if not isinstance(steps, list) or not all(isinstance(step, dict) for step in steps):
        raise _at("steps must be [[step]] tables", "step", None)
    parsed = [_step(table, index, usual) for index, table in enumerate(steps)]
    return Recipe(name=document.get("name") or fallback, about=document.get("about", ""), steps=tuple(parsed))


def _check_step(table: Mapping[str, Any], index: int) -> None:
    """Raise an error for an unknown key, or a value of the wrong type."""
    _only(table, _STEP, index)
    _typed(table, "name", str, "a text", index)
    _typed(table, "preset", str, "the name of a preset", index)
    _typed(table, "algorithm", int | str, "a number (sep_type) or a name", index)
    _typed(table, "options", dict, "a table such as { add_opt1 = 81 }", index)
    _typed(table, "input", str, "'step.stem'", index)
    keep = table.get("keep")
    if keep is not None and not (isinstance(keep, list) and all(isinstance(stem, str) for stem in keep)):
        raise _at("must be a list of stems, such as ['Vocals']; leave it out for all stems", "keep", index)
    for name, value in table.get("options", {}).items():
        if not isinstance(value, str | int | float):
            raise _at(f"the option {name!r} must be a text or a number, not {value!r:.60}", "options", index)


def _step(table: Mapping[str, Any], index: int, usual: OutputFormat) -> Step:
    _check_step(table, index)
    with _placed("preset", index):
        preset = find_preset(table["preset"]) if "preset" in table else None
    with _placed("input", index):
        source = Input.parse(table["input"]) if "input" in table else None
    algorithm, keep = table.get("algorithm", preset.algorithm if preset else None), table.get("keep")
    if algorithm is None or (preset is not None and "algorithm" in table):
        raise _at("a step needs either an algorithm or a preset", "preset" if preset else "", index)
    return Step(
        name=table.get("name") or (preset.name if preset else f"step {index + 1}"),
        algorithm=algorithm,
        options={**(preset.options if preset else {}), **table.get("options", {})},
        input=source,
        keep=preset.stems if keep is None and preset else keep,
        output_format=_format(table, index, usual),
    )


def _format(table: Mapping[str, Any], index: int | None, usual: OutputFormat) -> OutputFormat:
    with _placed("output_format", index):
        return OutputFormat.parse(table["output_format"]) if "output_format" in table else usual


def _only(table: Mapping[str, Any], known: Collection[str], index: int | None) -> None:
    for key in table:
        if key not in known:
            near = nearest(key, known)
            hint = f", did you mean {near[0]!r}?" if near else ""
            raise _at(f"unknown key{hint}; the keys are {', '.join(known)}", key, index, near)


def _typed(table: Mapping[str, Any], key: str, kind: Any, what: str, index: int | None) -> None:
    if key in table and (not isinstance(table[key], kind) or isinstance(table[key], bool)):
        raise _at(f"must be {what}, not {table[key]!r:.60}", key, index)


def _at(message: str, key: str, step: int | None, candidates: Collection[str] = ()) -> RecipeError:
    """Return an error at one key, of a step or of the recipe."""
    return RecipeError(message, step=step, aspect=key, candidates=tuple(candidates))


@contextmanager
def _placed(key: str, step: int | None) -> Iterator[None]:
    """Say of an error that the block raises at which key it is."""
    try:
        yield
    except InvalidRequestError as error:
        raise _at(error.message, key, step, error.candidates) from error


@contextmanager
def _in_file(path: str) -> Iterator[None]:
    """Name the file, the step and the key in an error that the block raises."""
    try:
        yield
    except RecipeError as error:
        parts = [path, *([] if error.step is None else [f"step {error.step + 1}"]), *filter(None, [error.aspect])]
        raise RecipeError(
            f"{', '.join(parts)}: {error.message}",
            step=error.step,
            aspect=error.aspect,
            fields=error.fields,
            candidates=error.candidates,
        ) from error
