"""The price of a separation, by the documented formula in exact arithmetic."""

from __future__ import annotations

from fractions import Fraction
from typing import Final

from mvsep_async.catalogue.algorithm import Algorithm
from mvsep_async.catalogue.options import Options, in_effect, resolve
from mvsep_async.errors import InvalidRequestError

__all__ = ["credits_for", "credits_per_minute"]

_SECONDS_A_CREDIT: Final = 60
"""The service's formula: `floor(duration_seconds × price_coefficient / 60)`, at least 1 (its API page)."""


def credits_per_minute(algorithm: Algorithm, options: Options | None = None) -> Fraction:
    """Return the credits per minute: the coefficient times the multipliers of all choices in effect.

    That price rules multiply is inferred from their only known mode. Raises `InvalidRequestError` for invalid options.
    """
    rate = Fraction(algorithm.price_coefficient)
    values = in_effect(algorithm, resolve(algorithm, options))
    for field in algorithm.fields:
        for rule in field.price_rules:
            if rule.mode == "multiplier" and rule.option_key == values.get(field.name):
                rate *= Fraction(rule.value)
    return rate


def credits_for(algorithm: Algorithm, options: Options | None, duration_seconds: float) -> int:
    """Return the price of a premium job of this length in credits, at least 1.

    Raises `InvalidRequestError` for invalid options, and for a negative or invalid duration.
    """
    rate = credits_per_minute(algorithm, options)
    try:
        # From the text, so that 0.1 is a tenth: the binary value can be slightly less than a whole credit.
        duration = Fraction(str(duration_seconds))
    except ValueError:
        duration = Fraction(-1)
    if duration < 0:
        raise InvalidRequestError(
            f"duration_seconds must be a number of seconds, 0 or more, not {str(duration_seconds)[:40]!r}"
        )
    return max(1, duration * rate // _SECONDS_A_CREDIT)
