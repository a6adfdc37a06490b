"""Resolve the methods by which each song is separated. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from mvsep_async.catalogue.algorithm import Algorithm
from mvsep_async.catalogue.catalogue import Catalogue
from mvsep_async.catalogue.presets import Preset
from mvsep_async.errors import InvalidRequestError
from mvsep_async.library.planner import SINGLE_STEP, Method
from mvsep_async.models.output_format import OutputFormat
from mvsep_async.models.user import User
from mvsep_async.naming import distinct
from mvsep_async.recipes.keys import digest_of
from mvsep_async.recipes.recipe import Recipe, Step
from mvsep_async.recipes.resolve import resolve
from mvsep_async.recipes.run import algorithm_label

__all__ = ["Algorithms", "resolve_methods"]


Algorithms: TypeAlias = "int | str | Algorithm | Preset | Recipe | Sequence[int | str | Algorithm | Preset | Recipe]"
"""What `separate_library` accepts: one method, or several."""


def resolve_methods(
    asked: Algorithms,
    catalogue: Catalogue,
    user: User | None,
    *,
    options: Mapping[str, object] | None,
    output_format: OutputFormat,
    stems: Iterable[str] | None,
) -> list[Method]:
    """Return the methods, checked against the catalogue and, with `user`, against the account.

    `options` are for a single algorithm; `stems` for every algorithm, not for recipes. Raises `InvalidRequestError` for
    an unknown algorithm, an invalid option, and what the account may not use.
    """
    wanted = [asked] if isinstance(asked, int | str | Algorithm | Preset | Recipe) else list(asked)
    if not wanted:
        raise InvalidRequestError("no method is given: give an algorithm, a preset or a recipe")
    if options and (len(wanted) > 1 or isinstance(wanted[0], Recipe)):
        raise InvalidRequestError(
            "options are for one algorithm: for several algorithms, give presets with options of their own"
        )
    kept = None if stems is None else tuple(stems)
    recipes = [
        one if isinstance(one, Recipe) else _recipe(one, catalogue, options or {}, output_format, kept)
        for one in wanted
    ]
    found: dict[str, Recipe] = {}
    for recipe in recipes:
        resolved = resolve(recipe, catalogue, user)
        found.setdefault(digest_of(resolved), resolved)
    labels = distinct([recipe.name for recipe in found.values()])
    return [
        _method(digest, recipe, label, catalogue, alone=len(found) == 1)
        for (digest, recipe), label in zip(found.items(), labels, strict=True)
    ]


def _recipe(
    one: int | str | Algorithm | Preset,
    catalogue: Catalogue,
    options: Mapping[str, object],
    output_format: OutputFormat,
    stems: tuple[str, ...] | None,
) -> Recipe:
    preset = one if isinstance(one, Preset) else None
    name = preset.algorithm if preset is not None else one
    assert not isinstance(name, Preset)
    algorithm = catalogue.find(name)
    step = Step(
        name=SINGLE_STEP,
        algorithm=algorithm.sep_type,
        options={**(preset.options if preset else {}), **options},
        keep=stems if stems is not None or preset is None else preset.stems,
        output_format=output_format,
    )
    return Recipe(name=algorithm_label(algorithm.name), steps=[step])


def _method(digest: str, recipe: Recipe, label: str, catalogue: Catalogue, *, alone: bool) -> Method:
    algorithms = {step.name: catalogue.find(step.algorithm) for step in recipe.steps}
    options = {step.name: step.options for step in recipe.steps}
    single = [step.name for step in recipe.steps] == [SINGLE_STEP]
    return Method(
        label=label,
        recipe=recipe,
        digest=digest,
        steps={name: label if single else name if alone else f"{label} {name}" for name in algorithms},
        algorithms={
            name: label if single else algorithm_label(algorithm.name) for name, algorithm in algorithms.items()
        },
        price=lambda step, seconds: catalogue.credits(algorithms[step], options[step], seconds),
    )
