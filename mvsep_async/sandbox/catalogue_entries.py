"""The entries of `app/algorithms`: a few as the service answered them, the others built from their facts.

Names, prices, stems and options are those of the live service. Descriptions and usage figures are made up.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from mvsep_async.catalogue.sep_types import catalogue_facts

from .names import slug

_DATA = Path(__file__).parent / "data"
_WITHOUT_STEMS = frozenset({39, 64, 80, 103, 113, 114, 120, 127})
"""Types whose results are text, notes or speech."""
_DESCRIPTION_SENTENCES = 15
"""Makes the whole catalogue about a megabyte, like the real one."""
_DATE = "2026-07-07 01:57:45"


@cache
def entries() -> Sequence[Mapping[str, Any]]:
    """Return all entries, in the order of the catalogue."""
    recorded = {entry["render_id"]: entry for entry in _read("recorded_algorithms.json")}
    facts = catalogue_facts()
    groups = {name: number for number, name in enumerate(dict.fromkeys(one["group"] for one in facts), 13)}
    return [
        recorded.get(one["sep_type"]) or _entry(one, position, groups[one["group"]])
        for position, one in enumerate(facts)
    ]


def _read(name: str) -> Any:
    return json.loads((_DATA / name).read_text(encoding="utf-8"))


def _entry(facts: Mapping[str, Any], position: int, group_id: int) -> dict[str, Any]:
    sep_type, own_id, name = facts["sep_type"], facts["id"], facts["name"]
    chance = random.Random(sep_type)
    stems, outputs = facts["output_stems"], facts["outputs"]
    if outputs is None and sep_type not in _WITHOUT_STEMS:
        outputs = {slug(stem, 40): stem for stem in _stems(name)}
    created = f"{2022 + position % 4}-0{1 + position % 9}-1{position % 10} 0{position % 10}:2{position % 6}:30"
    return {
        "id": own_id,
        "name": name,
        "algorithm_group_id": group_id,
        "orientation": facts["orientation"],
        "render_id": sep_type,
        "order_id": 20 + position * 10,
        "created_at": None if position % 17 == 0 else created,
        "updated_at": _DATE,
        "additional_fields": None,
        "price_coefficient": facts["price_coefficient"],
        "is_active": facts["is_active"],
        "audio_upload_disabled": int(facts["audio_widget"] == "no_upload"),
        "audio_widget": facts["audio_widget"],
        "allow_resample": facts["allow_resample"],
        "output_stems": stems and json.dumps(stems),
        "outputs": outputs and json.dumps(outputs),
        "output_variants": None,
        "description": f"{name}: one of the separation types of the service.",
        "usage": chance.randrange(200, 190000),
        "rating": {"average": f"{chance.uniform(2.5, 4.9):.4f}", "total": chance.randrange(2, 700)},
        "algorithm_fields": list(_fields(facts["fields"], own_id)),
        "algorithm_descriptions": [_description(own_id, name, lang) for lang in ("en", "ru")],
        "algorithm_group": {
            "id": group_id, "name": facts["group"], "created_at": "2025-12-24 06:31:54",
            "updated_at": "2025-12-24 06:31:54",
        },
    }  # fmt: skip


def _fields(facts: Sequence[Mapping[str, Any]], own_id: int) -> Iterable[dict[str, Any]]:
    ids = {field["name"]: own_id * 4 + position for position, field in enumerate(facts)}
    stamps = {"created_at": "2024-11-24 22:38:30", "updated_at": "2024-11-24 22:38:30"}
    for field in facts:
        field_id = ids[field["name"]]
        owner = {"algorithm_id": own_id, "field_id": field_id}
        conditions = [
            {
                "id": field_id, **owner, "depends_on_field_id": ids[condition["depends_on"]],
                "operator": condition["operator"], "value_json": condition["value"], "action": condition["action"],
                **stamps,
            }
            for condition in field.get("conditions", ())
        ]  # fmt: skip
        rules = [
            {"id": field_id + number, **owner, **rule, **stamps}
            for number, rule in enumerate(field.get("price_rules", ()))
        ]
        yield {
            "id": field_id,
            "name": field["name"],
            "text": field["label"],
            "algorithm_id": own_id,
            "options": json.dumps(field["options"], indent=4, ensure_ascii=False) if field["options"] else "{}",
            "output_overrides": None,
            **stamps,
            "default_key": field["default"],
            "server_key": field["server_key"],
            "input_type": field["type"],
            "required": field["required"],
            "help_link": None,
            "registered_only_keys": None,
            "price_rules": rules,
            "conditions": conditions,
        }


def _description(own_id: int, name: str, lang: str) -> dict[str, Any]:
    sentence = {
        "en": f"<p>{name} is described on this page at some length, with a table of its quality on public data.</p>",
        "ru": f"<p>{name}: на этой странице модель описана подробно, с таблицей качества на открытых данных.</p>",
    }[lang]
    return {
        "id": own_id * 2 + (lang == "ru"),
        "short_description": sentence[3:-4],
        "long_description": "\r\n".join([sentence] * _DESCRIPTION_SENTENCES),
        "lang": lang,
        "algorithm_id": own_id,
        "created_at": "2024-11-25 09:50:56",
        "updated_at": "2024-11-27 16:52:37",
    }


def _stems(name: str) -> list[str]:
    """Return the stems of a type that does not list them, from its name: "(vocals, instrum)", or "MVSep Cowbell"."""
    inside = re.search(r"\(([^()]*,[^()]*)\)\s*$", name)
    if inside is None:
        return [name.removeprefix("MVSep ").capitalize(), "Other"]
    words = [word.strip() for word in inside[1].split(",")]
    return [{"instrum": "Instrumental"}.get(word, word.capitalize()) for word in words]
