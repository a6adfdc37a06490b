"""Separation types by number and name, without asking the service."""

from __future__ import annotations

from functools import cache

from mvsep_async.catalogue.names import NameIndex, numeric
from mvsep_async.catalogue.sep_types import SEP_TYPES
from mvsep_async.errors import InvalidRequestError

__all__ = ["SEP_TYPES", "sep_type_of"]


def sep_type_of(wanted: int | str) -> int:
    """Return the number of a separation type that is known offline, by its number or name.

    The names are matched like the catalogue's. Raises `InvalidRequestError` for what is not known, with the nearest
    names; the live catalogue may have it all the same.
    """
    number = numeric(wanted)
    if number is None:
        return _names().find(str(wanted))
    if number not in SEP_TYPES:
        raise InvalidRequestError(f"sep_type {number} is none of the {len(SEP_TYPES)} that are known offline")
    return number


@cache
def _names() -> NameIndex:
    return NameIndex(SEP_TYPES)
