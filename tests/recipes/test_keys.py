from __future__ import annotations

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from mvsep_async import OutputFormat
from mvsep_async.recipes import Recipe, Step
from mvsep_async.recipes.keys import digest_of, keys_of

CHAIN = Recipe(
    name="r",
    steps=[
        Step(name="a", algorithm=40, options={"add_opt1": "81", "add_opt2": "2"}),
        Step(name="b", algorithm=49, input="a.Vocals"),
        Step(name="c", algorithm=22, input="b.Lead vocals"),
    ],
)


def changed(index: int, **changes: object) -> Recipe:
    steps = list(CHAIN.steps)
    steps[index] = evolve(steps[index], **changes)
    return evolve(CHAIN, steps=steps)


def same(other: Recipe, source: str = "song") -> list[bool]:
    before, after = keys_of(CHAIN, "song"), keys_of(other, source)
    return [mine == theirs for mine, theirs in zip(before.values(), after.values(), strict=True)]


def test_keys_are_the_same_in_every_process() -> None:
    assert keys_of(CHAIN, "song")["c"] == "recipe:4d9aa76850b62e967066ad03ab571b"


def test_a_key_covers_a_step_and_all_before_it() -> None:
    assert same(changed(0, algorithm=48)) == [False, False, False]
    assert same(changed(1, output_format=OutputFormat.FLAC_16)) == [True, False, False]
    assert same(changed(2, input="b.Back vocals")) == [True, True, False]
    assert same(CHAIN, "another song") == [False, False, False]


def test_a_key_covers_nothing_else() -> None:
    assert same(changed(1, keep=["Lead vocals"])) == [True, True, True]
    assert same(changed(0, options={"add_opt2": "2", "add_opt1": "81"})) == [True, True, True]
    assert same(changed(2, name="z")) == [True, True, True]
    assert same(evolve(CHAIN, name="other", about="x")) == [True, True, True]


def test_a_digest_is_of_what_comes_out_under_which_names() -> None:
    assert digest_of(changed(1, keep=["Lead vocals"])) == digest_of(CHAIN)
    assert digest_of(changed(2, name="z")) != digest_of(CHAIN)
    assert digest_of(changed(2, algorithm=23)) != digest_of(CHAIN)


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["x", "y"])), min_size=1, max_size=5), st.data())
def test_two_steps_share_a_key_only_if_they_make_the_same(made: list[tuple[int, str]], data: st.DataObject) -> None:
    steps: list[Step] = []
    for number, (algorithm, stem) in enumerate(made):
        before = data.draw(st.sampled_from([None, *(step.name for step in steps)]))
        steps.append(Step(name=f"s{number}", algorithm=algorithm, input=None if before is None else f"{before}.{stem}"))
    recipe = Recipe(name="r", steps=steps)
    keys = keys_of(recipe, "song")

    def course(step: Step) -> tuple[object, ...]:
        earlier = () if step.input is None else (*course(recipe.step(step.input.step)), step.input.stem)
        return (*earlier, step.algorithm)

    assert len(set(keys.values())) == len({course(step) for step in steps})
