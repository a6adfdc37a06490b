"""Bring the catalogue's facts in `mvsep_async/catalogue/data` up to date from answers of `app/algorithms`.

    curl https://mvsep.com/api/app/algorithms > algorithms.json
    python scripts/update_catalogue.py algorithms.json

Answers of the other scopes (`?scopes=no_upload`, `?scopes=matchering_upload`) may be given too.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from mvsep_async.catalogue.sep_types import DATA

_COPIED: Final = ("orientation", "price_coefficient", "is_active", "audio_widget", "allow_resample")


def facts_of(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts of one entry: no descriptions, dates or usage figures."""
    fields = entry.get("algorithm_fields") or []
    names = {field["id"]: field["name"] for field in fields}
    return {
        "sep_type": entry["render_id"],
        "id": entry["id"],
        "name": " ".join(entry["name"].split()),
        "group": (entry.get("algorithm_group") or {}).get("name"),
        **{key: entry.get(key) for key in _COPIED},
        "output_stems": _decoded(entry.get("output_stems")),
        "outputs": _decoded(entry.get("outputs")),
        "fields": [_field(field, names) for field in fields],
    }


def update(file: Path, entries: Iterable[Mapping[str, Any]]) -> None:
    """Replace the facts of these types in `file`, and append the types that it lacks."""
    facts = {fact["sep_type"]: fact for fact in json.loads(file.read_text("utf-8"))}
    facts |= {entry["render_id"]: facts_of(entry) for entry in entries}
    lines = (json.dumps(fact, ensure_ascii=False, separators=(",", ":")) for fact in facts.values())
    file.write_text("[\n" + ",\n".join(lines) + "\n]\n", "utf-8")


def main(arguments: Iterable[str] | None = None) -> None:
    """Update the data files from the answers named on the command line."""
    parser = argparse.ArgumentParser(description="Bring the catalogue's facts up to date.")
    parser.add_argument("answers", nargs="+", type=Path, help="JSON answers of app/algorithms")
    parser.add_argument("--data", type=Path, default=DATA, help="the folder of the data files")
    options = parser.parse_args(None if arguments is None else list(arguments))
    for path in options.answers:
        answer = json.loads(path.read_text("utf-8"))
        entries = answer["data"] if isinstance(answer, dict) else answer
        single = [entry for entry in entries if entry.get("audio_widget") in (None, "single_upload")]
        update(options.data / "catalogue.json", single)
        update(options.data / "other_scopes.json", [entry for entry in entries if entry not in single])


def _field(field: Mapping[str, Any], names: Mapping[int, str]) -> dict[str, Any]:
    conditions = [
        {
            "depends_on": names[condition["depends_on_field_id"]],
            "operator": condition["operator"],
            "value": condition["value_json"],
            "action": condition["action"],
        }
        for condition in field.get("conditions") or ()
    ]
    rules = [{key: rule[key] for key in ("option_key", "mode", "value")} for rule in field.get("price_rules") or ()]
    found = {
        "name": field["name"],
        "label": field["text"],
        "type": field["input_type"],
        "required": field["required"],
        "default": field["default_key"],
        "options": _decoded(field["options"]),
        "server_key": field["server_key"],
    }
    return found | ({"price_rules": rules} if rules else {}) | ({"conditions": conditions} if conditions else {})


def _decoded(text: Any) -> Any:
    return json.loads(text) if isinstance(text, str) else text


if __name__ == "__main__":
    main()
