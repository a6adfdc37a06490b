"""Package attributes that are imported on first use."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

__all__ = ["lazy_attributes"]


def lazy_attributes(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """Return a `__getattr__` for `package` that imports each name of `homes` from its module, such as `.client`.

    A module that cannot be imported raises `ImportError` with its cause. Without this, Python reports an
    `AttributeError` inside a broken dependency as "cannot import name", and hides the cause.
    """

    def get(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        home = homes[name]
        try:
            value = getattr(import_module(home, package), name)
        except AttributeError as error:
            raise ImportError(f"{home} of {package} could not be imported: {error}") from error
        setattr(sys.modules[package], name, value)
        return value

    return get
