"""Convert errors to JSON and back."""

from __future__ import annotations

from typing import Any

import attrs

from mvsep_async import errors
from mvsep_async.errors import MVSepError

__all__ = ["error_from_json", "error_to_json"]


def error_to_json(error: MVSepError) -> dict[str, Any]:
    """Return the error as a JSON object, as its nearest base class in `mvsep_async.errors`."""
    cls = next(base for base in type(error).__mro__ if getattr(errors, base.__name__, None) is base)
    return {"type": cls.__name__, **{known.name: getattr(error, known.name) for known in attrs.fields(cls)}}


def error_from_json(known: dict[str, Any]) -> MVSepError:
    """Return the error of `error_to_json`. Raises `KeyError` or `TypeError` for anything else."""
    arguments = dict(known)
    name = arguments.pop("type")
    if name not in errors.__all__:
        raise KeyError(name)
    cls: type[MVSepError] = getattr(errors, name)
    return cls(**arguments)
