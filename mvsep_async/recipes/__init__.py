"""Recipes: chains of separations in which a stem of one is the input of the next, as values and in TOML files.

recipe = Recipe(name="dry lead", steps=[
    Step(name="voice", algorithm="BS Roformer", keep=()),
    Step(name="lead", algorithm=49, input="voice.Vocals", keep=["Back vocals"]),
    Step(name="dry", algorithm=22, input="lead.Lead vocals", keep=["Noreverb"]),
])
result = await run_recipe(client, recipe, "song.flac", "stems/")
"""

from __future__ import annotations

from mvsep_async.catalogue.presets import PRESETS, Preset, find_preset
from mvsep_async.recipes.recipe import Input, Recipe, RecipeError, Step
from mvsep_async.recipes.resolve import credits_of, resolve
from mvsep_async.recipes.run import RecipeResult, run_recipe
from mvsep_async.recipes.runner import StemFile, StepResult
from mvsep_async.recipes.toml import RecipeFile, load_recipe, read_recipe

__all__ = [
    "PRESETS",
    "Input",
    "Preset",
    "Recipe",
    "RecipeError",
    "RecipeFile",
    "RecipeResult",
    "StemFile",
    "Step",
    "StepResult",
    "credits_of",
    "find_preset",
    "load_recipe",
    "read_recipe",
    "resolve",
    "run_recipe",
]
