from __future__ import annotations

from typing import Any

import pytest

from mvsep_async.errors import InvalidRequestError
from mvsep_async.recipes import Input, Recipe, RecipeError, Step


def test_a_recipe_is_a_value(chain: Recipe) -> None:
    assert [step.name for step in chain.keeping] == ["lead", "dry"]
    assert chain.step("lead").input == Input("voice", "Vocals")
    assert str(chain.step("dry").input) == "lead.Lead vocals"
    with pytest.raises(AttributeError):
        chain.name = "other"  # type: ignore[misc]
    assert Step(name="a", algorithm=1, options={"add_opt1": 81}).options == {"add_opt1": "81"}


@pytest.mark.parametrize(
    ("steps", "index", "aspect", "why"),
    [
        ([], None, "", "no steps"),
        ([{"name": "a/b"}], 0, "name", "letters"),
        ([{"name": "a"}, {"name": "A"}], 1, "name", "two steps"),
        ([{"name": "a", "input": "b.Vocals"}], 0, "input", "does not exist"),
        ([{"name": "a", "input": "a.Vocals"}], 0, "input", "this step"),
        ([{"name": "a", "input": "b.Vocals"}, {"name": "b"}], 0, "input", "comes later"),
        ([{"name": "a", "keep": ()}], None, "keep", "keeps no stem"),
    ],
)
def test_what_does_not_hold_together_is_refused(
    steps: list[dict[str, Any]], index: int | None, aspect: str, why: str
) -> None:
    with pytest.raises(RecipeError, match=why) as caught:
        Recipe(name="r", steps=[Step(algorithm=40, **step) for step in steps])
    assert (caught.value.step, caught.value.aspect) == (index, aspect)


@pytest.mark.parametrize("text", ["", "voice", ".Vocals", "voice.", " . "])
def test_an_input_names_step_and_stem(text: str) -> None:
    with pytest.raises(InvalidRequestError, match=r"step\.stem"):
        Input.parse(text)


def test_a_stem_may_have_dots() -> None:
    assert Input.parse("a.Vocals (v1.5)") == Input("a", "Vocals (v1.5)")
