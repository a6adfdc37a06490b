"""Filling in a part of a layout, so that what is filled in is never taken for a placeholder. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from string import Formatter

from mvsep_async.naming import safe_name

__all__ = ["escaped", "fill", "placeholders"]


def fill(pattern: str, values: Mapping[str, str]) -> str:
    """Fill in, made safe for file names, what there is a value for; the other placeholders stay."""
    parts = []
    for text, name, _, _ in Formatter().parse(pattern):
        parts.append(escaped(text))
        if name is not None and name in values:
            parts.append(escaped(safe_name(values[name])) if values[name].strip() else "")
        elif name is not None:
            parts.append(f"{{{name}}}")
    return "".join(parts)


def escaped(text: str) -> str:
    """Return text as a layout has it: its braces doubled."""
    return text.replace("{", "{{").replace("}", "}}")


def placeholders(pattern: str) -> frozenset[str]:
    """Return the names of a layout's placeholders."""
    return frozenset(name for _, name, _, _ in Formatter().parse(pattern) if name is not None)
