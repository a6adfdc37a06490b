"""Algorithms as the service describes them, made for a test."""

from __future__ import annotations

import json

from mvsep_async.catalogue.algorithm import Algorithm
from mvsep_async.http.call import Json
from mvsep_async.models.decode import decode


def entry(sep_type: int = 1, name: str = "Test (vocals, other)", /, **changes: Json) -> dict[str, Json]:
    return {"id": sep_type + 1000, "render_id": sep_type, "name": name, "price_coefficient": 1, **changes}


def algorithm(*fields: Json, **changes: Json) -> Algorithm:
    return decode(entry(1, algorithm_fields=list(fields), **changes), Algorithm, what="app/algorithms")


def select(number: int, options: dict[str, str], default: str | None = None, **changes: Json) -> dict[str, Json]:
    """A field `add_optN` with the id N × 10, the label `Label N` and the server key `server_N`."""
    return {
        "id": number * 10,
        "name": f"add_opt{number}",
        "text": f"Label {number}",
        "options": json.dumps(options),
        "default_key": default,
        "server_key": f"server_{number}",
        "input_type": "select",
        "required": 0,
        "conditions": [],
        "price_rules": [],
        **changes,
    }


def when(number: int, *keys: str, action: str = "show", operator: str = "in") -> dict[str, Json]:
    return {"depends_on_field_id": number * 10, "operator": operator, "value_json": list(keys), "action": action}


def times(key: str, value: str) -> dict[str, Json]:
    return {"option_key": key, "mode": "multiplier", "value": value}
