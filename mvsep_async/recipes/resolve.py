"""Check a recipe against the catalogue, before anything is sent. Pure."""

from __future__ import annotations

from attrs import evolve

from mvsep_async.catalogue.algorithm import Algorithm, Needs
from mvsep_async.catalogue.catalogue import Catalogue
from mvsep_async.catalogue.plans import check_plan
from mvsep_async.errors import InvalidRequestError
from mvsep_async.models.user import User
from mvsep_async.recipes.recipe import Recipe, RecipeError

__all__ = ["credits_of", "resolve"]


def resolve(recipe: Recipe, catalogue: Catalogue, user: User | None = None) -> Recipe:
    """Return the recipe with its algorithms as numbers and its options as the service takes them.

    Raises `RecipeError`, naming step and aspect, for an algorithm, option or stem that does not exist, and, with
    `user`, for what the account may not use. Stems are checked where the catalogue tells of an algorithm's stems.
    """
    made: dict[str, frozenset[str]] = {}
    steps = []
    for index, step in enumerate(recipe.steps):
        aspect = "algorithm"
        try:
            algorithm = catalogue.find(step.algorithm)
            if algorithm.needs is not Needs.FILE:
                takes = "two songs" if algorithm.needs is Needs.PAIR else "no song"
                raise InvalidRequestError(f"{algorithm} does not separate one song: it takes {takes}")
            aspect = "options"
            options = catalogue.validate(algorithm, step.options)
            aspect = "algorithm"
            if user is not None:
                check_plan(algorithm, step.output_format, user)
            aspect = "input"
            if step.input is not None:
                _check_stem(step.input.stem, made[step.input.step], f"step {step.input.step!r}")
            aspect = "keep"
            made[step.name] = _stems(algorithm)
            for stem in step.keep or ():
                _check_stem(stem, made[step.name], str(algorithm))
        except InvalidRequestError as error:
            raise RecipeError(
                error.message, step=index, aspect=aspect, fields=error.fields, candidates=error.candidates
            ) from error
        steps.append(evolve(step, algorithm=algorithm.sep_type, options=options))
    return evolve(recipe, steps=tuple(steps))


def credits_of(recipe: Recipe, catalogue: Catalogue, seconds: float) -> int:
    """Return the credits that all steps cost for a song of this length: every stem is as long as the song."""
    return sum(catalogue.credits(step.algorithm, step.options, seconds) for step in recipe.steps)


def _stems(algorithm: Algorithm) -> frozenset[str]:
    """Return every stem that the algorithm is known to make with any options, empty where nothing is known.

    All of them, because the catalogue does not always say completely which options make which stems. A stem that is
    missing after all is an error of the job, which is paid, and not paid again when the recipe is corrected.
    """
    labels = {*algorithm.outputs.values(), *algorithm.output_stems}
    for variant in algorithm.output_variants.variants if algorithm.output_variants else ():
        labels |= {*variant.outputs.values()}
    for field in algorithm.fields:
        for override in field.output_overrides.values():
            labels |= {*override.outputs.values()}
    return frozenset(labels)


def _check_stem(stem: str, known: frozenset[str], of: str) -> None:
    spelled: dict[str, str] = {}
    for label in sorted(known):
        spelled.setdefault(label.casefold(), label)
    if known and stem.casefold() not in spelled:
        names = tuple(spelled.values())
        raise InvalidRequestError(f"{of} has no stem {stem!r}; it has {', '.join(names)}", candidates=names)
