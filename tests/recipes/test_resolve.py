from __future__ import annotations

import pytest
from attrs import evolve

from mvsep_async import OutputFormat
from mvsep_async.catalogue.catalogue import Catalogue
from mvsep_async.catalogue.presets import PRESETS
from mvsep_async.models.user import User
from mvsep_async.recipes import Recipe, RecipeError, Step, credits_of, find_preset, resolve


def test_names_become_numbers(chain: Recipe, catalogue: Catalogue) -> None:
    resolved = resolve(chain, catalogue)
    assert [step.algorithm for step in resolved.steps] == [40, 49, 22]
    assert resolve(resolved, catalogue) == resolved


def test_options_become_what_the_service_takes(catalogue: Catalogue) -> None:
    recipe = Recipe(name="r", steps=[Step(name="a", algorithm=40, options={"Overlap": "87.5%"})])
    assert dict(resolve(recipe, catalogue).steps[0].options) == {"add_opt2": "8"}


def test_the_account_is_asked(catalogue: Catalogue) -> None:
    free, premium = User(), User(premium_minutes=5, premium_enabled=True)
    ensemble = Recipe(name="r", steps=[Step(name="a", algorithm=26)])
    resolve(ensemble, catalogue, premium)
    with pytest.raises(RecipeError) as caught:
        resolve(ensemble, catalogue, free)
    assert (caught.value.step, caught.value.aspect) == (0, "algorithm")
    wide = Recipe(name="r", steps=[Step(name="a", algorithm=40, output_format=OutputFormat.WAV_32)])
    with pytest.raises(RecipeError):
        resolve(wide, catalogue, free)


def test_every_step_costs(chain: Recipe, catalogue: Catalogue) -> None:
    assert credits_of(chain, catalogue, 150) == 2 + 2 + 2
    dear = evolve(chain, steps=[*chain.steps, Step(name="all", algorithm=26)])
    assert credits_of(dear, catalogue, 150) == 6 + 5


def test_stems_are_not_checked_where_none_are_known(catalogue: Catalogue) -> None:
    steps = [Step(name="a", algorithm=39), Step(name="b", algorithm=40, input="a.Whatever")]
    assert resolve(Recipe(name="r", steps=steps), catalogue)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_can_be_run(name: str, catalogue: Catalogue) -> None:
    preset = find_preset(f" {name.upper()}")
    step = Step(name=name, algorithm=preset.algorithm, options=preset.options, keep=preset.stems)
    assert resolve(Recipe(name=name, steps=[step]), catalogue)
    assert preset.about
