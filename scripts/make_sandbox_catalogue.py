"""Write `mvsep_async/sandbox/data/catalogue.json`, the separation types of the sandbox.

    python scripts/make_sandbox_catalogue.py catalogue.jsonl

Each line of the source is a JSON object about one separation type of the live service: `sep_type`, `id`, `name`,
`group`, `orientation`, `price_coefficient`, `is_active`, `audio_widget`, `allow_resample`, `output_stems`, `outputs`
and `fields` (each with `name`, `label`, `type`, `required`, `default`, `options`, `server_key`, and where there are
any `price_rules` and `conditions`). Usage figures and descriptions are not in it: the sandbox makes them up.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

TARGET = Path(__file__).resolve().parent.parent / "mvsep_async" / "sandbox" / "data" / "catalogue.json"
KEYS = (
    "sep_type", "id", "name", "group", "orientation", "price_coefficient", "is_active", "audio_widget",
    "allow_resample", "output_stems", "outputs", "fields",
)  # fmt: skip
FIELD_KEYS = (
    "name", "label", "type", "required", "default", "options", "server_key", "price_rules", "conditions",
)  # fmt: skip


def compact(lines: Iterable[str]) -> str:
    """Return the data file for those lines: one separation type a line, only with the keys that are used."""
    types = [_chosen(json.loads(line)) for line in lines if line.strip()]
    rows = [json.dumps(one, ensure_ascii=False, separators=(",", ":")) for one in types]
    return "[\n" + ",\n".join(rows) + "\n]\n"


def _chosen(row: dict[str, Any]) -> dict[str, Any]:
    fields = [{key: field[key] for key in FIELD_KEYS if key in field} for field in row["fields"]]
    return {key: row[key] for key in KEYS} | {"fields": fields}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    arguments = parser.parse_args()
    TARGET.write_text(compact(arguments.source.read_text(encoding="utf-8").splitlines()), encoding="utf-8")


if __name__ == "__main__":
    main()
