"""Options, conditions and required fields."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mvsep_async.catalogue.options import in_effect, resolve, validate
from mvsep_async.errors import InvalidRequestError
from mvsep_async.http.call import Json
from tests.catalogue.samples import algorithm, select, when
from tests.models.mutations import outcome

MODEL = select(1, {"3": "ver. 2024 (SDR 10)", "81": "ver 2025 (SDR 11)", "0.3": "124 bands"}, "81")
OVERLAP = select(2, {"2": "50%", "8": "87.5%"}, "2", text="Overlap", server_key="overlap")
PROMPT = select(3, {}, None, text="Text prompt", input_type="text", required=1)


@pytest.mark.parametrize(
    ("given_options", "taken"),
    [
        ({}, {}),
        (None, {}),
        ({"add_opt1": "3"}, {"add_opt1": "3"}),
        ({"ADD_OPT1": 3}, {"add_opt1": "3"}),
        ({"addOpt1": 81}, {"add_opt1": "81"}),
        ({"add_opt1": 0.3}, {"add_opt1": "0.3"}),
        ({"label 1": "VER 2025 (sdr 11)"}, {"add_opt1": "81"}),
        ({"Label  1": "ver 2025"}, {"add_opt1": "81"}),
        ({"overlap": "87.5%", "add_opt1": "3"}, {"add_opt1": "3", "add_opt2": "8"}),
        ({"server_1": "3"}, {"add_opt1": "3"}),
        ({"add_opt1": "3", "Label 1": "3"}, {"add_opt1": "3"}),
        ({"add_opt1": None}, {}),
    ],
)
def test_options_by_key_or_label(given_options: dict[str, str] | None, taken: dict[str, str]) -> None:
    assert validate(algorithm(MODEL, OVERLAP), given_options) == taken


def test_flags_are_ones_and_zeros() -> None:
    switch = select(1, {"0": "off", "1": "on"}, "0")
    assert validate(algorithm(switch), {"add_opt1": True}) == {"add_opt1": "1"}


def test_an_unknown_option_lists_the_options_and_the_nearest() -> None:
    with pytest.raises(
        InvalidRequestError, match=r"the options are 'Label 1' \(add_opt1\), 'Overlap' \(add_opt2\)"
    ) as caught:
        validate(algorithm(MODEL, OVERLAP), {"overlapp": "2"})
    assert caught.value.candidates == ("add_opt2",)
    assert list(caught.value.fields) == ["overlapp"]


def test_an_algorithm_without_options_says_so() -> None:
    with pytest.raises(InvalidRequestError, match="it has no options"):
        validate(algorithm(), {"add_opt1": "2"})


def test_an_unknown_choice_lists_the_choices_and_the_nearest() -> None:
    with pytest.raises(InvalidRequestError, match=r"use 3 \(ver. 2024 \(SDR 10\)\), 81") as caught:
        validate(algorithm(MODEL), {"add_opt1": "124 band"})
    assert caught.value.candidates == ("0.3",)


def test_all_problems_are_in_one_error() -> None:
    with pytest.raises(InvalidRequestError) as caught:
        validate(algorithm(MODEL, OVERLAP), {"add_opt1": "4", "Overlap": "3", "fish": "1"})
    assert list(caught.value.fields) == ["add_opt1", "Overlap", "fish"]


def test_an_option_with_two_values_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="given twice"):
        validate(algorithm(MODEL), {"add_opt1": "3", "Label 1": "81"})


def test_an_ambiguous_label_needs_the_name() -> None:
    twins = algorithm(select(1, {"a": "A"}, text="Model"), select(2, {"a": "A"}, text="model"))
    with pytest.raises(InvalidRequestError, match="add_opt1 or add_opt2") as caught:
        validate(twins, {"Model": "a"})
    assert caught.value.candidates == ("add_opt1", "add_opt2")


def test_an_ambiguous_choice_needs_the_key() -> None:
    twins = algorithm(select(1, {"a": "Big (1)", "b": "Big (2)"}))
    with pytest.raises(InvalidRequestError, match="is ambiguous"):
        validate(twins, {"add_opt1": "big"})
    assert validate(twins, {"add_opt1": "Big (2)"}) == {"add_opt1": "b"}


def test_free_text_is_unchanged_and_required_text_must_be_given() -> None:
    speaking = algorithm(PROMPT)
    assert validate(speaking, {"Text prompt": " Hello, World "}) == {"add_opt3": " Hello, World "}
    assert resolve(speaking) == {}
    for missing in ({}, {"add_opt3": ""}, {"add_opt3": "  "}):
        with pytest.raises(InvalidRequestError, match=r"is required|must") as caught:
            validate(speaking, missing)
        assert "add_opt3" in str(caught.value)


def test_a_required_choice_with_a_default_is_optional() -> None:
    assert validate(algorithm(select(1, {"a": "A"}, "a", required=1))) == {}
    with pytest.raises(InvalidRequestError, match=r"is required: give one of a \(A\)"):
        validate(algorithm(select(1, {"a": "A"}, None, required=1)))


STEMS = select(2, {"0": "Standard", "1": "More"}, "0", conditions=[when(1, "171", "172")])
SHOWN_BY_171 = algorithm(select(1, {"81": "old", "171": "new"}, "81"), STEMS)


def test_a_hidden_option_is_refused_with_the_reason() -> None:
    with pytest.raises(
        InvalidRequestError, match=r"only when 'Label 1' \(add_opt1\) is 171 \(new\) or '172', but it is"
    ):
        validate(SHOWN_BY_171, {"add_opt2": "1"})
    assert validate(SHOWN_BY_171, {"add_opt2": "1", "add_opt1": "new"}) == {"add_opt1": "171", "add_opt2": "1"}


def test_defaults_count_for_conditions() -> None:
    shown = algorithm(select(1, {"81": "old", "171": "new"}, "171"), STEMS)
    assert validate(shown, {"add_opt2": "1"}) == {"add_opt2": "1"}
    assert in_effect(shown, {}) == {"add_opt1": "171", "add_opt2": "0"}
    assert in_effect(SHOWN_BY_171, {}) == {"add_opt1": "81"}


def conditioned(*conditions: Json) -> list[str]:
    """Which of a, b, c of the first field (default a) show the second; the third is x, shown, with default x."""
    third = select(3, {"x": "X", "y": "Y"}, "x")
    made = algorithm(
        select(1, {key: key for key in "abc"}, "a"), select(2, {"1": "1"}, "1", conditions=list(conditions)), third
    )
    return [key for key in "abc" if "add_opt2" in in_effect(made, {"add_opt1": key})]


def test_conditions() -> None:
    assert conditioned() == ["a", "b", "c"]
    assert conditioned(when(1, "a", "c")) == ["a", "c"]
    assert conditioned(when(1, "a", action="hide")) == ["b", "c"]
    assert conditioned(when(1, "a", "b"), when(1, "b", "c")) == ["b"]
    assert conditioned(when(1, "a", "b"), when(1, "b", action="hide")) == ["a"]
    assert conditioned(when(1, "a", "b"), when(3, "x")) == ["a", "b"]
    assert conditioned(when(1, "a", "b"), when(3, "y")) == []
    assert conditioned(when(1, "a", operator="not_in")) == ["b", "c"]
    assert conditioned(when(1, "a", operator="!=", action="hide")) == ["a"]
    assert conditioned(when(1, "b", operator="=")) == ["b"]
    assert conditioned({**when(1), "value_json": '["b"]'}) == ["b"]
    assert conditioned({**when(1), "value_json": "b"}) == ["b"]


def test_an_unknown_condition_hides_nothing() -> None:
    assert conditioned(when(9, "a")) == ["a", "b", "c"]
    assert conditioned(when(1, "a", operator="resembles")) == ["a", "b", "c"]
    assert conditioned(when(1, "a", action="blink")) == ["a", "b", "c"]


def test_a_hidden_field_has_no_value_for_others() -> None:
    chain = algorithm(
        select(1, {"0": "no", "1": "yes"}, "0"),
        select(2, {"0": "no", "1": "yes"}, "1", conditions=[when(1, "1")]),
        select(3, {"0": "no", "1": "yes"}, "1", conditions=[when(2, "1")]),
    )
    assert in_effect(chain, {}) == {"add_opt1": "0"}
    assert in_effect(chain, {"add_opt1": "1"}) == {"add_opt1": "1", "add_opt2": "1", "add_opt3": "1"}
    with pytest.raises(InvalidRequestError, match="that one does not apply"):
        validate(chain, {"add_opt3": "1"})


def test_fields_that_depend_on_each_other_terminate() -> None:
    circle = algorithm(
        select(1, {"0": "no", "1": "yes"}, "1", conditions=[when(2, "1")]),
        select(2, {"0": "no", "1": "yes"}, "1", conditions=[when(1, "1")]),
    )
    assert in_effect(circle, {}) == {"add_opt1": "1", "add_opt2": "1"}


def test_a_hidden_required_field_is_not_required() -> None:
    asking = algorithm(select(1, {"0": "no", "1": "yes"}, "0"), {**PROMPT, "conditions": [when(1, "1")]})
    assert validate(asking) == {}
    with pytest.raises(InvalidRequestError, match="is required: give a text"):
        validate(asking, {"add_opt1": "1"})


@given(
    st.dictionaries(
        st.sampled_from(["add_opt1", "add_opt2", "Label 1", "overlap", "x"]) | st.text(max_size=5),
        st.sampled_from(["3", "81", "2", "8", "50%", "9"])
        | st.text(max_size=5)
        | st.integers()
        | st.floats()
        | st.none(),
        max_size=3,
    )
)
def test_validate_returns_offered_keys_or_refuses(options: dict[str, str]) -> None:
    made = algorithm(MODEL, OVERLAP)
    taken = outcome(lambda: validate(made, options))
    if isinstance(taken, InvalidRequestError):
        assert taken.fields
        return
    assert isinstance(taken, dict)
    fields = {field.name: field for field in made.fields}
    assert all(key in fields[name].options for name, key in taken.items())
    assert validate(made, taken) == taken
