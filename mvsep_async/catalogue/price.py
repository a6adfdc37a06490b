"""What a separation costs: the documented formula, in exact arithmetic."""

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
    """Return the credits of one minute: the coefficient times the multipliers of all the choices in effect.

    That price rules multiply is inferred from their only known mode. Raises `InvalidRequestError` for options that
    cannot be.
    """
    rate = Fraction(algorithm.price_coefficient)
    values = in_effect(algorithm, resolve(algorithm, options))
    for field in algorithm.fields:
        for rule in field.price_rules:
            if rule.mode == "multiplier" and rule.option_key == values.get(field.name):
                rate *= Fraction(rule.value)
    return rate


def credits_for(algorithm: Algorithm, options: Options | None, duration_seconds: float) -> int:
    """Return the credits that a premium job of this length costs, at least 1.

    Raises `InvalidRequestError` for options that cannot be, and for a duration that is none.
    """
    rate = credits_per_minute(algorithm, options)
    try:
        # By way of its text, so that 0.1 is a tenth; a float's own binary value can fall just short of a whole credit.
        duration = Fraction(str(duration_seconds))
    except ValueError:
        duration = Fraction(-1)
    if duration < 0:
        raise InvalidRequestError(f"a duration is a number of seconds from 0 on, not {str(duration_seconds)[:40]!r}")
    return max(1, duration * rate // _SECONDS_A_CREDIT)
