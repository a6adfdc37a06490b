"""Prices in credits, in exact arithmetic."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mvsep_async.catalogue.price import credits_for, credits_per_minute
from mvsep_async.errors import InvalidRequestError
from tests.catalogue.samples import algorithm, select, times, when
from tests.catalogue.test_catalogue import CATALOGUE

FAST_SLOW = select(1, {"f": "fast", "s": "slow"}, "f", price_rules=[times("s", "1.5000")])


@pytest.mark.parametrize(
    ("coefficient", "seconds", "credits"),
    [
        (1, 0, 1),
        (1, 59.999, 1),
        (1, 119.999, 1),
        (1, 120, 2),
        ("1.5000", 80, 2),
        ("1.5000", 79.99, 1),
        ("0.1000", 1800, 3),
        (0.1, 1800, 3),
        ("0.7000", 600, 7),
        ("1.1000", 600, 11),
        (2, 3600, 120),
        (0, 3600, 1),
    ],
)
def test_the_documented_formula(coefficient: str | float, seconds: float, credits: int) -> None:
    assert credits_for(algorithm(price_coefficient=coefficient), None, seconds) == credits


def test_price_rules_multiply_for_the_choice_in_effect() -> None:
    made = algorithm(FAST_SLOW, select(2, {"2": "50%", "8": "87%"}, "8", price_rules=[times("8", "2.0000")]))
    assert credits_for(made, {}, 300) == 10
    assert credits_for(made, {"add_opt2": "2"}, 300) == 5
    assert credits_for(made, {"add_opt1": "slow"}, 300) == 15
    assert credits_for(made, {"Label 1": "s", "add_opt2": "50%"}, 300) == 7
    assert credits_per_minute(made, {"add_opt1": "s"}) == Fraction(3)


def test_the_rule_of_a_hidden_field_costs_nothing() -> None:
    made = algorithm(FAST_SLOW, select(2, {"1": "on"}, "1", price_rules=[times("1", "3")], conditions=[when(1, "s")]))
    assert credits_for(made, {}, 120) == 2
    assert credits_for(made, {"add_opt1": "s"}, 120) == 9


def test_a_rule_with_an_unknown_mode_is_ignored() -> None:
    made = algorithm(select(1, {"1": "on"}, "1", price_rules=[{**times("1", "3"), "mode": "addition"}]))
    assert credits_for(made, {}, 120) == 2


def test_the_recorded_sample_has_its_price() -> None:
    assert CATALOGUE.credits("BS Roformer", {"Overlap": "87.5%"}, 180) == 6
    assert CATALOGUE.credits(40, {"add_opt1": "171"}, 180) == 3
    assert CATALOGUE.credits(103, {}, 10) == 1


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf"), "long"])
def test_invalid_durations_are_refused(seconds: float) -> None:
    with pytest.raises(InvalidRequestError, match="duration_seconds must be"):
        credits_for(algorithm(), {}, seconds)


def test_invalid_options_have_no_price() -> None:
    with pytest.raises(InvalidRequestError, match="has no choice"):
        credits_for(algorithm(FAST_SLOW), {"add_opt1": "medium"}, 60)


@given(st.integers(1, 20_000), st.integers(0, 36_000_000))
def test_the_price_is_the_exact_floor(coefficient: int, milliseconds: int) -> None:
    # A coefficient in ten-thousandths and a duration in milliseconds, in whole numbers throughout.
    text = f"{coefficient // 10_000}.{coefficient % 10_000:04d}"
    expected = max(1, coefficient * milliseconds // (10_000 * 1000 * 60))
    assert credits_for(algorithm(price_coefficient=text), None, milliseconds / 1000) == expected
