"""Errors as JSON and back: class, message, and what else they carry."""

from __future__ import annotations

from typing import Any, Final

from mvsep_async import errors
from mvsep_async.errors import MVSepError

__all__ = ["error_from_json", "error_to_json"]

_CARRIED: Final = ("job", "hash", "status", "retry_after", "fields", "candidates", "found", "reason", "stated")


def error_to_json(error: MVSepError) -> dict[str, Any]:
    """Return the error as a JSON object; of a class that is not ours, the nearest that is."""
    known: dict[str, Any] = {"type": _name(type(error)), "message": error.message}
    for name in _CARRIED:
        if hasattr(error, name):
            known[name] = getattr(error, name)
    return known


def error_from_json(known: dict[str, Any]) -> MVSepError:
    """Return the error that `error_to_json` was given; raises `KeyError` or `TypeError` for what is none."""
    carried = dict(known)
    name, message = carried.pop("type"), carried.pop("message")
    if name not in errors.__all__:
        raise KeyError(name)
    cls: type[MVSepError] = getattr(errors, name)
    return cls(message, **carried)


def _name(cls: type[MVSepError]) -> str:
    return next(name for base in cls.__mro__ if getattr(errors, name := base.__name__, None) is base)
