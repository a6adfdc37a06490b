"""Convert errors to JSON and back."""

from __future__ import annotations

import inspect
from functools import cache
from typing import Any

from mvsep_async import errors
from mvsep_async.errors import MVSepError

__all__ = ["error_from_json", "error_to_json"]


def error_to_json(error: MVSepError) -> dict[str, Any]:
    """Return the error as a JSON object, as its nearest base class in `mvsep_async.errors`."""
    bases = (base.__name__ for base in type(error).__mro__ if getattr(errors, base.__name__, None) is base)
    name = next(bases)
    return {"type": name, **{argument: getattr(error, argument) for argument in _arguments(name)}}


def error_from_json(known: dict[str, Any]) -> MVSepError:
    """Return the error of `error_to_json`. Raises `KeyError` or `TypeError` for anything else."""
    arguments = dict(known)
    name, message = arguments.pop("type"), arguments.pop("message")
    if name not in errors.__all__:
        raise KeyError(name)
    cls: type[MVSepError] = getattr(errors, name)
    return cls(message, **arguments)


@cache
def _arguments(name: str) -> tuple[str, ...]:
    """Return the argument names of an error's constructor; its attributes have the same names."""
    return tuple(inspect.signature(getattr(errors, name)).parameters)
