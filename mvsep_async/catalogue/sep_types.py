"""The separation types that are known without asking the service.

The facts are those of the live catalogue of July 2026; `scripts/update_catalogue.py` brings them up to date.
`client.catalogue()` has the current ones.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple

__all__ = ["DATA", "SepType", "catalogue_facts", "sep_types"]

DATA: Final = Path(__file__).parent / "data"


class SepType(NamedTuple):
    """One separation type. `orientation`: who may use it, 0 everyone, 1 registered users, 2 premium accounts."""

    name: str
    orientation: int


def catalogue_facts() -> Sequence[Mapping[str, Any]]:
    """Read the facts of every separation type from this package's data, in the order of the service's catalogue."""
    return [
        fact
        for file in ("catalogue.json", "other_scopes.json")
        for fact in json.loads((DATA / file).read_text("utf-8"))
    ]


@cache
def sep_types() -> Mapping[int, SepType]:
    """Return the known separation types by their number; the file is read once."""
    facts = catalogue_facts()
    return MappingProxyType({fact["sep_type"]: SepType(fact["name"], fact["orientation"]) for fact in facts})
