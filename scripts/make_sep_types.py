"""Write `mvsep_async/catalogue/sep_types.py`, the separation types that are known without asking the service.

    python scripts/make_sep_types.py                      from scripts/sep_types.csv, the list in the repository
    python scripts/make_sep_types.py algorithms.json …    the same, brought up to date by answers of app/algorithms

An answer is got with `curl https://mvsep.com/api/app/algorithms > algorithms.json`; those of the other scopes
(`?scopes=no_upload`, `?scopes=matchering_upload`) may be given too. The list in the repository is brought up to date
with it: its rows stay in their order, names are renewed, new types come at the end.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
LIST = ROOT / "scripts" / "sep_types.csv"
MODULE = ROOT / "mvsep_async" / "catalogue" / "sep_types.py"

_HEAD = '''"""Every separation type that is known without asking the service, by its number.

Written by `scripts/make_sep_types.py` from `scripts/sep_types.csv`: change that, not this. The live catalogue may have
more; `client.catalogue()` has them with their options.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

__all__ = ["SEP_TYPES"]

SEP_TYPES: Final[Mapping[int, str]] = MappingProxyType(
    {
'''
_TAIL = """    }
)
"""


def read_list(text: str) -> dict[int, tuple[str, str]]:
    """Return number → name and fields of a list such as `sep_types.csv`."""
    rows = csv.DictReader(io.StringIO(text))
    return {int(row["sep_type"]): (" ".join(row["name"].split()), row["fields"]) for row in rows}


def read_answer(answer: Any) -> dict[int, tuple[str, str]]:
    """Return number → name and fields of an answer of `app/algorithms`."""
    entries = answer["data"] if isinstance(answer, dict) else answer
    return {int(entry["render_id"]): (" ".join(entry["name"].split()), _fields(entry)) for entry in entries}


def write_list(types: Mapping[int, tuple[str, str]]) -> str:
    """Return the list as CSV."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("sep_type", "name", "fields"))
    writer.writerows((number, name, fields) for number, (name, fields) in types.items())
    return out.getvalue()


def write_module(types: Mapping[int, tuple[str, str]]) -> str:
    """Return the module's text, sorted by number."""
    lines = (f"        {number}: {_quoted(types[number][0])},\n" for number in sorted(types))
    return _HEAD + "".join(lines) + _TAIL


def main(arguments: Iterable[str] | None = None) -> None:
    """Write the module, and the list where an answer renews it."""
    parser = argparse.ArgumentParser(description="Write the separation types known offline.")
    parser.add_argument("answers", nargs="*", type=Path, help="JSON answers of app/algorithms")
    answers = parser.parse_args(None if arguments is None else list(arguments)).answers
    types = read_list(LIST.read_text("utf-8"))
    for path in answers:
        types |= read_answer(json.loads(path.read_text("utf-8")))
    if answers:
        LIST.write_text(write_list(types), "utf-8")
    MODULE.write_text(write_module(types), "utf-8")


def _fields(entry: Mapping[str, Any]) -> str:
    return "; ".join(f"{field['name']}={field['text']}" for field in entry.get("algorithm_fields") or ())


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


if __name__ == "__main__":
    main()
