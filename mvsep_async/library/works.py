"""The ways in which each song is separated, from what was asked for. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from mvsep_async.catalogue.algorithm import Algorithm
from mvsep_async.catalogue.catalogue import Catalogue
from mvsep_async.catalogue.presets import Preset
from mvsep_async.errors import InvalidRequestError
from mvsep_async.library.planner import ONLY, Work
from mvsep_async.models.output_format import OutputFormat
from mvsep_async.models.user import User
from mvsep_async.naming import distinct
from mvsep_async.recipes.keys import digest_of
from mvsep_async.recipes.recipe import Recipe, Step
from mvsep_async.recipes.resolve import resolve
from mvsep_async.recipes.run import algorithm_label

__all__ = ["Algorithms", "works_of"]


Algorithms: TypeAlias = "int | str | Algorithm | Preset | Recipe | Sequence[int | str | Algorithm | Preset | Recipe]"
"""What `separate_library` takes: one way to separate a song, or several."""


def works_of(
    asked: Algorithms,
    catalogue: Catalogue,
    user: User | None,
    *,
    options: Mapping[str, object] | None,
    output_format: OutputFormat,
    stems: Iterable[str] | None,
) -> list[Work]:
    """Return the ways asked for, checked against the catalogue and, with `user`, against the account.

    `options` belong to the one algorithm there is then; `stems` to every algorithm, not to recipes. Raises
    `InvalidRequestError` for what cannot be.
    """
    ways = [asked] if isinstance(asked, int | str | Algorithm | Preset | Recipe) else list(asked)
    if not ways:
        raise InvalidRequestError("how are the songs to be separated? Give an algorithm, a preset or a recipe")
    if options and (len(ways) > 1 or isinstance(ways[0], Recipe)):
        raise InvalidRequestError("options belong to one algorithm: for several, give presets that have their own")
    kept = None if stems is None else tuple(stems)
    recipes = [
        way if isinstance(way, Recipe) else _recipe(way, catalogue, options or {}, output_format, kept) for way in ways
    ]
    found: dict[str, Recipe] = {}
    for recipe in recipes:
        resolved = resolve(recipe, catalogue, user)
        found.setdefault(digest_of(resolved), resolved)
    labels = distinct([recipe.name for recipe in found.values()])
    return [
        _work(digest, recipe, label, catalogue, alone=len(found) == 1)
        for (digest, recipe), label in zip(found.items(), labels, strict=True)
    ]


def _recipe(
    way: int | str | Algorithm | Preset,
    catalogue: Catalogue,
    options: Mapping[str, object],
    output_format: OutputFormat,
    stems: tuple[str, ...] | None,
) -> Recipe:
    preset = way if isinstance(way, Preset) else None
    wanted = preset.algorithm if preset is not None else way
    assert not isinstance(wanted, Preset)
    algorithm = catalogue.find(wanted)
    step = Step(
        name=ONLY,
        algorithm=algorithm.sep_type,
        options={**(preset.options if preset else {}), **options},
        keep=stems if stems is not None or preset is None else preset.stems,
        output_format=output_format,
    )
    return Recipe(name=algorithm_label(algorithm.name), steps=[step])


def _work(digest: str, recipe: Recipe, label: str, catalogue: Catalogue, *, alone: bool) -> Work:
    algorithms = {step.name: catalogue.find(step.algorithm) for step in recipe.steps}
    options = {step.name: step.options for step in recipe.steps}
    single = [step.name for step in recipe.steps] == [ONLY]
    return Work(
        label=label,
        recipe=recipe,
        digest=digest,
        steps={name: label if single else name if alone else f"{label} {name}" for name in algorithms},
        algorithms={
            name: label if single else algorithm_label(algorithm.name) for name, algorithm in algorithms.items()
        },
        price=lambda step, seconds: catalogue.credits(algorithms[step], options[step], seconds),
    )
